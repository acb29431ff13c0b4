/**
 * A trace's end, whatever its reader does: on time, when nothing is read for long, after as many
 * packets as were asked for; and that one reading is bounded.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AdminSocket } from '#xvs/control/socket';
import type { TraceEnded, TraceMessage } from '#xvs/control/trace/protocol';
import { traceRoutes } from '#xvs/control/trace/routes';
import { eventually } from '#xvs/lab/process';
import { TRACE_SLOTS } from '#xvs/table/trace';
import { ethernet } from '../../../support/packet';
import { CLIENT_SIDE, withServers } from '../../../support/simulation';
import { TraceStand, traceRequest } from '../../../support/traceStand';

/** Of a packet that takes one slot: nothing leaves for it. */
const unwanted = ethernet().ipv4().tcp({ flags: 'A', destination: 99 }).build();
const WAIT_MS = 30_000;

function datagrams(count: number): Uint8Array[] {
  const frame = ethernet().ipv4().udp({ source: 40001, destination: 80 }).payload('x').build();
  return new Array<Uint8Array>(count).fill(frame);
}

function createStand(patienceMs?: number): TraceStand {
  const stand = new TraceStand({}, patienceMs);
  withServers(stand.simulation, 1, { protocol: 'udp' });
  return stand;
}

async function readAll(session: AsyncGenerator<TraceMessage>): Promise<TraceMessage[]> {
  const messages: TraceMessage[] = [];
  for await (const message of session) messages.push(message);
  return messages;
}

function endOf(messages: readonly TraceMessage[]): TraceEnded {
  const last = messages.at(-1)!;
  assert.equal(last.kind, 'ended');
  return last as TraceEnded;
}

/** Packets that were shown, and those that were said to be lost. */
function sums(messages: readonly TraceMessage[]): { shown: number; lost: number } {
  let [shown, lost] = [0, 0];
  for (const message of messages) {
    if (message.kind === 'packet') shown++;
    else if (message.kind === 'lost') lost += message.packets;
  }
  return { shown, lost };
}

test('it is off when its seconds are over, though its reader does not read', async () => {
  const stand = createStand();
  const session = await stand.start({ seconds: 0.05 });
  stand.receive(CLIENT_SIDE, datagrams(3));
  assert.equal((await session.next()).value.kind, 'packet');
  assert.ok(await eventually(() => stand.isOff, WAIT_MS, 10), 'it stays on');
  stand.receive(CLIENT_SIDE, datagrams(3));
  const messages = await readAll(session);
  assert.deepEqual(sums(messages), { shown: 2, lost: 0 });
  assert.deepEqual(endOf(messages), { kind: 'ended', packets: 3, lost: 0, cause: 'seconds' });
});

test('it is over when nothing is read for long; what was kept is counted as lost', async () => {
  const stand = createStand(50);
  const session = await stand.start();
  stand.receive(CLIENT_SIDE, datagrams(200));
  assert.equal((await session.next()).value.kind, 'packet');
  assert.ok(await eventually(() => stand.isOff, WAIT_MS, 10), 'it stays on');
  const other = await stand.start();
  stand.receive(CLIENT_SIDE, datagrams(2));
  const messages = await readAll(session);
  const { shown, lost } = sums(messages);
  assert.deepEqual([1 + shown + lost, lost > 0], [200, true]);
  const ended = { kind: 'ended', packets: 1 + shown, lost, cause: 'unread' };
  assert.deepEqual(endOf(messages), ended);
  assert.equal(stand.isOff, false, 'the first one has ended the other');
  assert.equal((await other.next()).value.kind, 'packet');
  await other.return(undefined);
});

test('it is over when its reader does not even take the first message', async () => {
  const stand = createStand(50);
  await stand.start();
  assert.equal(stand.isOff, false);
  assert.ok(await eventually(() => stand.isOff, WAIT_MS, 10), 'it stays on');
  await (await stand.start()).return(undefined);
});

test('one that is read goes on for longer than a reader may be away', async () => {
  const stand = createStand(500);
  const session = await stand.start();
  const end = performance.now() + 1500;
  while (performance.now() < end) assert.equal((await session.next()).value.kind, 'lost');
  assert.equal(stand.isOff, false);
  await session.return(undefined);
});

test('a full ring is read in pieces, with turns of the event loop in between', async () => {
  const stand = createStand();
  const session = await stand.start({ count: TRACE_SLOTS });
  stand.receive(CLIENT_SIDE, new Array<Uint8Array>(TRACE_SLOTS).fill(unwanted));
  let turns = 0;
  const count = (): void => {
    turns++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  let run = 0;
  let longest = 0;
  let turnsBefore = turns;
  let packets = 0;
  for await (const { kind } of session) {
    if (kind === 'packet') packets++;
    if (turns !== turnsBefore) run = 0;
    turnsBefore = turns;
    longest = Math.max(longest, ++run);
  }
  clearImmediate(immediate);
  assert.equal(packets, TRACE_SLOTS);
  assert.ok(longest <= 70, `${longest} messages in one turn of the event loop`);
});

test('after as many packets as were asked for, no more are read', async () => {
  const stand = createStand();
  const session = await stand.start({ count: 70 });
  stand.receive(CLIENT_SIDE, datagrams(100));
  const messages: TraceMessage[] = [];
  while (messages.length < 66) messages.push((await session.next()).value);
  assert.equal(stand.isOff, true, 'it stays on for what is not shown');
  messages.push(...(await readAll(session)));
  assert.deepEqual(sums(messages), { shown: 70, lost: 0 });
  assert.deepEqual(endOf(messages), { kind: 'ended', packets: 70, lost: 0, cause: 'count' });
});

test('what came before the seconds were over is shown', async () => {
  const stand = createStand();
  const session = await stand.start({ seconds: 0.2 });
  let received = 0;
  const frames = setInterval(() => {
    if (stand.isOff) return;
    stand.receive(CLIENT_SIDE, datagrams(1));
    received++;
  }, 5);
  const messages = await readAll(session);
  clearInterval(frames);
  assert.ok(received > 0);
  assert.deepEqual(sums(messages), { shown: received, lost: 0 });
});

test('over the admin socket: a client that stops reading does not keep it on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-trace-'));
  const stand = createStand(200);
  const administration = {
    services: () => assert.fail(),
    connections: () => assert.fail(),
    timeouts: () => assert.fail(),
    execute: () => assert.fail(),
  };
  const path = join(folder, 'xvs.sock');
  const admin = new AdminSocket(
    path,
    administration,
    traceRoutes(stand.simulation.tables, [], stand.trace),
  );
  await admin.open();
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const asked = request({ socketPath: path, path: '/v1/trace', method: 'POST' }, resolve);
      asked.once('error', reject);
      asked.end(JSON.stringify(traceRequest()));
    });
    // Nobody listens for data: it stays in the socket's buffers, until they are full.
    response.pause();
    assert.ok(await eventually(() => !stand.isOff, WAIT_MS, 10));
    const isOver = (): boolean => {
      stand.receive(CLIENT_SIDE, datagrams(400));
      return stand.isOff;
    };
    assert.ok(await eventually(isOver, WAIT_MS, 20), 'it stays on');
    let text = '';
    for await (const part of response) text += part;
    const messages = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as TraceMessage);
    const { shown, lost } = sums(messages);
    const ended = { kind: 'ended', packets: shown, lost, cause: 'unread' };
    assert.deepEqual(endOf(messages), ended);
    assert.ok(lost > 0);
  } finally {
    await admin.close();
    rmSync(folder, { recursive: true });
  }
});
