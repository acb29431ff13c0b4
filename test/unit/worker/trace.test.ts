/**
 * What a trace shows is what happened, and a traced director does what one does that is not: both
 * sides of it, worker and control plane, on memory ports.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TracedFrame } from '#xvs/control/trace/protocol';
import { TRACE_SLOTS } from '#xvs/table/trace';
import { cut } from '../../support/cut';
import { decode } from '../../support/decode';
import { ethernet, SYN_OPTIONS } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  serverAddress,
  serverMac,
  VIP6,
  withServers,
} from '../../support/simulation';
import { TraceStand, traceRequest } from '../../support/traceStand';

const bytesOf = (frame: TracedFrame): Uint8Array => Buffer.from(frame.bytes, 'base64');
const plain = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes);

function syn(source = 40001, destination = 80): Uint8Array {
  return ethernet().ipv4().tcp({ source, destination, options: SYN_OPTIONS }).build();
}
function datagram(bytes: number, source = 40001): Uint8Array {
  return ethernet().ipv4().udp({ source, destination: 80 }).payload('x'.repeat(bytes)).build();
}

test('a packet that is forwarded: both sides, connection, counters', async () => {
  const stand = new TraceStand();
  withServers(stand.simulation, 2);
  let sent: Uint8Array[] = [];
  const { packets, lost } = await stand.packetsOf({ filter: 'tcp dst port 80' }, () => {
    sent = stand.receive(CLIENT_SIDE, [datagram(9), syn(), syn(40002, 81)]).sent[SERVER_SIDE];
  });
  assert.equal(lost, 0);
  assert.equal(packets.length, 1);
  const [packet] = packets;
  assert.equal(packet!.verdict, 'forwarded');
  assert.deepEqual(packet!.counters, ['connections_created']);
  assert.equal(packet!.arrived.interface, 'd0');
  assert.deepEqual(plain(bytesOf(packet!.arrived)), syn());
  assert.deepEqual(
    packet!.left.map((frame) => [frame.interface, plain(bytesOf(frame))]),
    sent.map((bytes) => ['d1', plain(bytes)]),
  );
  const { real, method, state, client } = packet!.connection!;
  assert.deepEqual([method, state, client], ['nat', 'SYN_RECV', '10.0.1.100:40001']);
  assert.equal(real.split(':')[0], decode(sent[0]!)['ipv4.destination']);
});

test('what is dropped is shown with the answer that its sender gets', async () => {
  const stand = new TraceStand();
  stand.simulation.addService();
  const { packets } = await stand.packetsOf({}, () => stand.receive(CLIENT_SIDE, syn()));
  const [packet] = packets;
  assert.equal(packet!.verdict, 'dropped');
  assert.deepEqual(packet!.counters, ['no_real_server', 'icmp_sent']);
  assert.equal(packet!.left.length, 1);
  assert.equal(packet!.left[0]!.interface, 'd0');
  assert.equal(decode(bytesOf(packet!.left[0]!))['icmp.type'], 3);
  assert.equal(packet!.connection, null);
});

test('what the host is given, what waits for a neighbour, and for a first fragment', async () => {
  const stand = new TraceStand({ neighbours: false });
  withServers(stand.simulation, 1);
  withServers(stand.simulation, 1, { protocol: 'udp' });
  const [first, later] = cut(datagram(1000), 600);
  const { packets } = await stand.packetsOf({}, () => {
    stand.receive(CLIENT_SIDE, ethernet().ipv4().tcp({ flags: 'A' }).build());
    stand.receive(CLIENT_SIDE, syn());
    stand.simulation.resolveAll();
    stand.receive(CLIENT_SIDE, later!);
    stand.receive(CLIENT_SIDE, first!);
  });
  const said = packets.map(({ verdict, counters, left }) => [verdict, ...counters, left.length]);
  assert.deepEqual(said, [
    ['host', 'not_scheduled', 0],
    ['waiting', 'connections_created', 'neighbour_waited', 0],
    ['waiting', 'fragments_held', 0],
    // The one that was held leaves with it.
    ['forwarded', 'connections_created', 'fragments_rejoined', 2],
  ]);
});

test('IPv6, both directions', async () => {
  const stand = new TraceStand();
  const service = stand.simulation.addService({ family: 6, address: VIP6 });
  stand.simulation.addServer(service, 'fd00:2::11');
  const request = ethernet().ipv6().tcp({ source: 40001, options: SYN_OPTIONS }).build();
  const answer = ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' })
    .ipv6({ source: 'fd00:2::11', destination: 'fd00:1::100' })
    .tcp({ source: 8000, destination: 40001, flags: 'SA' })
    .build();
  const { packets } = await stand.packetsOf({ filter: 'ip6 host fd00:1::100' }, () => {
    stand.receive(CLIENT_SIDE, request);
    stand.receive(SERVER_SIDE, answer);
  });
  const said = packets.map(({ arrived, left, connection }) => [
    arrived.interface,
    left[0]!.interface,
    connection!.real,
  ]);
  assert.deepEqual(said, [
    ['d0', 'd1', '[fd00:2::11]:8000'],
    ['d1', 'd0', '[fd00:2::11]:8000'],
  ]);
});

test('no more of a frame is kept than asked for, and its length is said', async () => {
  const stand = new TraceStand();
  withServers(stand.simulation, 1, { protocol: 'udp' });
  const frame = datagram(1000);
  const { packets } = await stand.packetsOf({ snapBytes: 65 }, () => {
    stand.receive(CLIENT_SIDE, frame);
  });
  const { arrived, left, connection } = packets[0]!;
  assert.deepEqual(plain(bytesOf(arrived)), frame.slice(0, 65));
  assert.deepEqual([arrived.lengthBytes, left[0]!.lengthBytes], [frame.length, frame.length]);
  assert.equal(bytesOf(left[0]!).length, 65);
  assert.equal(connection!.real, `${serverAddress(1)}:8000`);
});

test('what finds no room is counted, and forwarded all the same', async () => {
  const stand = new TraceStand();
  withServers(stand.simulation, 1, { protocol: 'udp' });
  const count = TRACE_SLOTS;
  let forwarded = 0;
  const { packets, lost } = await stand.packetsOf({}, () => {
    for (let packet = 0; packet < count; packet++) {
      forwarded += stand.receive(CLIENT_SIDE, datagram(8)).sent[SERVER_SIDE].length;
    }
  });
  assert.equal(forwarded, count);
  assert.equal(packets.length, TRACE_SLOTS / 2);
  assert.equal(lost, count - packets.length);
  stand.simulation.assertNoLeak();
});

test('the last slot: what left is told to be missing', async () => {
  const stand = new TraceStand();
  withServers(stand.simulation, 1, { protocol: 'udp' });
  const { packets } = await stand.packetsOf({}, () => {
    // One of them takes a single slot.
    stand.receive(CLIENT_SIDE, ethernet().ipv4().tcp({ flags: 'A', destination: 99 }).build());
    for (let packet = 0; packet < TRACE_SLOTS / 2; packet++) {
      stand.receive(CLIENT_SIDE, datagram(8));
    }
  });
  const last = packets.at(-1)!;
  assert.deepEqual([last.verdict, last.left.length, last.leftUnseen], ['forwarded', 0, 1]);
});

test('a session ends with its reader; another begins with an empty ring', async () => {
  const stand = new TraceStand();
  withServers(stand.simulation, 1, { protocol: 'udp' });
  const session = await stand.start();
  assert.equal(stand.isOff, false);
  assert.throws(() => stand.trace.start(traceRequest()), { code: 'ERR_BUSY', errno: 'EBUSY' });
  stand.receive(CLIENT_SIDE, datagram(8));
  await session.return(undefined);
  assert.equal(stand.isOff, true);
  const { packets } = await stand.packetsOf({}, () => stand.receive(CLIENT_SIDE, datagram(9)));
  assert.deepEqual(
    packets.map(({ arrived }) => arrived.lengthBytes),
    [datagram(9).length],
  );
});

test('one that was asked for and never read has no effect', async () => {
  const stand = new TraceStand();
  const session = stand.trace.start(traceRequest());
  assert.equal(stand.isOff, true);
  await session.return(undefined);
  assert.equal((await (await stand.start()).return(undefined)).done, true);
});

test('it ends after so many packets, or so long', async () => {
  const stand = new TraceStand();
  withServers(stand.simulation, 1, { protocol: 'udp' });
  const session = await stand.start({ count: 2 });
  stand.receive(CLIENT_SIDE, [datagram(8), datagram(9), datagram(10)]);
  const kinds: string[] = [];
  for await (const { kind } of session) kinds.push(kind);
  assert.deepEqual(kinds, ['packet', 'packet', 'lost', 'ended']);
  const timed = await stand.start({ seconds: 0.01 });
  const messages: unknown[] = [];
  for await (const message of timed) messages.push(message);
  assert.deepEqual(messages.at(-1), { kind: 'ended', packets: 0, lost: 0, cause: 'seconds' });
  assert.equal(stand.isOff, true);
});

test('a filter that makes no sense is refused before anything begins', () => {
  const stand = new TraceStand();
  assert.throws(() => stand.trace.start(traceRequest({ filter: 'host web1' })), {
    code: 'ERR_VALUE',
    message: /character 6: "web1"/,
  });
});

const anyTraffic = fc.array(
  fc.oneof(
    fc.integer({ min: 40000, max: 40004 }).map((source) => syn(source)),
    fc
      .tuple(fc.nat(300), fc.integer({ min: 40000, max: 40004 }))
      .map(([bytes, source]) => datagram(bytes, source)),
    fc.constant(ethernet().ipv4().tcp({ flags: 'A', destination: 99 }).build()),
    fc.constant(ethernet().ipv4().icmp().build()),
    fc.constant(ethernet().payload('no packet').build()),
    fc.uint8Array({ minLength: 1, maxLength: 80 }),
  ),
  { minLength: 1, maxLength: 150 },
);
const anyFilter = fc.constantFrom(
  '',
  'udp',
  'tcp',
  'src port 40001',
  'greater 100',
  'not udp',
  'port 9',
);

test('a traced director sends what it sends untraced, in the same order', async () => {
  await fc.assert(
    fc.asyncProperty(anyTraffic, anyFilter, async (frames, filter) => {
      const stands = [new TraceStand(), new TraceStand()] as const;
      for (const { simulation } of stands) {
        withServers(simulation, 3);
        withServers(simulation, 2, { protocol: 'udp' });
      }
      const [traced, untraced] = stands;
      const session = await traced.start({ filter });
      const seen = traced.receive(CLIENT_SIDE, frames);
      await session.return(undefined);
      assert.deepEqual(seen, untraced.receive(CLIENT_SIDE, frames));
      assert.deepEqual(traced.simulation.counters(), untraced.simulation.counters());
      traced.simulation.assertNoLeak();
    }),
    { numRuns: 50 },
  );
});
