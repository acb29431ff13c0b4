/**
 * Fragments between real hosts, over two queues and two workers, IPv4 and IPv6: large datagrams
 * there and back, fragments in any order, fragments that are the director's own, floods of
 * fragments without a first one; and that nothing is held when all is over.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '#xvs/lab/process';
import { samplesOf, sumOf } from '../support/director';
import {
  ECHO_PORT,
  FAMILIES,
  type Family,
  type Matrix,
  METHODS,
  type Method,
  startMatrices,
} from '../support/matrix';
import { whyNoNetwork } from '../support/probe';
import { mustRun } from '../support/process';

const QUEUES = 2;
const DATAGRAMS = 2000;
/** One for each server, the buffers of whose sockets hold no more than two of the largest. */
const OUTSTANDING = 2;
const DATAGRAMS_SHORT = 500;
const DATAGRAM_BYTES_MAX = 60_000;
const OUT_OF_ORDER = 200;
const FLOOD = 3000;
const SETTLED_MS = 5000;
/** Of a route, narrower than what the hosts send; IPv6 has no routers that cut. */
const NARROW_MTU = 1300;
/** Twice the fragments take more of the servers' buffers. */
const NARROW_BYTES_MAX = 20_000;

const script = (name: string) => [process.execPath, join(__dirname, name)];

/** Datagrams of many lengths, a few at a time; all have to be answered in time and unchanged. */
async function echo(matrix: Matrix, count: number, bytesMax: number): Promise<void> {
  const words = [matrix.addresses.vip, ECHO_PORT, count, OUTSTANDING, bytesMax];
  const command = [...script('udpEchoClient.js'), ...words.map(String)];
  const expected = { sent: count, answered: count, late: 0, wrong: 0 };
  const before = await drops(matrix);
  const answers = JSON.parse(await mustRun(matrix.client, command));
  const lost = (await drops(matrix)).filter((line) => !before.includes(line));
  assert.deepEqual(answers, expected, `${JSON.stringify(answers)}; drops meanwhile: ${lost}`);
}

/** The director's drops so far, for who asks why one was lost. */
async function drops(matrix: Matrix): Promise<string[]> {
  const lines = (await matrix.director.metrics()).split('\n');
  return lines.filter((line) =>
    /^xvs_\w*(drop|full|starved|fail|lost)\w*(\{.*\})? [1-9]/.test(line),
  );
}

/** Fragments of the client's, which its kernel forwards from a device of their own. */
async function sendFragments(matrix: Matrix, kind: string, count: number): Promise<unknown> {
  const { client, vip } = matrix.addresses;
  matrix.client.sysctl({
    'net.ipv4.ip_forward': 1,
    'net.ipv6.conf.all.forwarding': 1,
    'net.ipv4.conf.all.accept_local': 1,
  });
  const words = [client, '02:00:00:00:00:08', vip, ECHO_PORT, kind, count].map(String);
  return JSON.parse(await mustRun(matrix.client, [...script('fragmentSender.js'), ...words]));
}

function counter(matrix: Matrix, name: string): Promise<number> {
  return matrix.director.metrics().then((text) => sumOf(text, `xvs_worker_${name}_total`));
}

async function framesOfWorkers(matrix: Matrix): Promise<number[]> {
  const frames = new Array<number>(QUEUES).fill(0);
  const metrics = await matrix.director.metrics();
  for (const { labels, value } of samplesOf(metrics, 'xvs_socket_rx_frames_total')) {
    frames[Number(labels['worker'])]! += value;
  }
  return frames;
}

function testPing(matrix: () => Matrix): void {
  test('the director answers large echo requests to its own address and to the VIP', async () => {
    const { directorClientSide, vip } = matrix().addresses;
    for (const own of [directorClientSide, vip]) {
      const said = await mustRun(matrix().client, ['ping', '-c3', '-i0.2', '-s4000', '-w5', own]);
      assert.match(said, / 0% packet loss/, said);
      const slowest = Number(/= [\d.]+\/[\d.]+\/([\d.]+)\//.exec(said)?.[1]);
      assert.ok(slowest < 500, `nothing waits for a first fragment: ${said}`);
    }
  });
}

function testNarrow(matrix: () => Matrix): void {
  test('a narrow way to the servers: datagrams are cut for it', async () => {
    const { servers } = matrix().addresses;
    const { host } = matrix().director;
    // Datagrams that fit the hosts' own links are to have no "don't fragment" either.
    matrix().client.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 1 });
    const before = await counter(matrix(), 'packets_split');
    for (const server of servers) {
      host.ip('route', 'add', `${server}/32`, 'dev', 'eth1', 'mtu', `${NARROW_MTU}`);
    }
    await eventually(async () => {
      await echo(matrix(), 20, NARROW_BYTES_MAX);
      return (await counter(matrix(), 'packets_split')) > before;
    }, SETTLED_MS);
    await echo(matrix(), 200, NARROW_BYTES_MAX);
    assert.ok((await counter(matrix(), 'packets_split')) > before);
    for (const server of servers) host.ip('route', 'delete', `${server}/32`, 'dev', 'eth1');
  });
}

function testFamily(family: Family, matrices: () => readonly Matrix[]): void {
  let matrix: Matrix;
  let framesBefore: readonly number[];
  before(async () => {
    matrix = matrices()[FAMILIES.indexOf(family)]!;
    framesBefore = await framesOfWorkers(matrix);
  });

  const count = (name: string) => counter(matrix, name);

  const send = (kind: string, count: number) => sendFragments(matrix, kind, count);

  test(`${DATAGRAMS} datagrams of up to ${DATAGRAM_BYTES_MAX} bytes are answered`, async () => {
    await echo(matrix, DATAGRAMS, DATAGRAM_BYTES_MAX);
  });

  test('the last fragment first: all are answered', async () => {
    const held = await count('fragments_held');
    const expected = { sent: OUT_OF_ORDER, answered: OUT_OF_ORDER, wrong: 0 };
    assert.deepEqual(await send('reversed', OUT_OF_ORDER), expected);
    assert.ok((await count('fragments_held')) >= held + OUT_OF_ORDER);
  });

  test('eight datagrams’ fragments in any order: all are answered', async () => {
    const expected = { sent: OUT_OF_ORDER, answered: OUT_OF_ORDER, wrong: 0 };
    assert.deepEqual(await send('shuffled', OUT_OF_ORDER), expected);
  });

  testPing(() => matrix);

  test('a flood without first fragments is bounded, counted, and harms nobody', async () => {
    const before = await count('fragments_held');
    const crowdedOut = await count('fragments_crowded_out');
    const expected = { sent: FLOOD, answered: 0, wrong: 0 };
    assert.deepEqual(await send('headless', FLOOD), expected);
    await echo(matrix, 50, DATAGRAM_BYTES_MAX);
    const held = (await count('fragments_held')) - before;
    assert.ok(held >= FLOOD, `${held} were held`);
    assert.ok((await count('fragments_crowded_out')) > crowdedOut);
  });

  if (family === 4) testNarrow(() => matrix);

  test('in the end both workers had frames, and nothing is held', async () => {
    const frames = await framesOfWorkers(matrix);
    for (const [worker, before] of framesBefore.entries()) {
      assert.ok(frames[worker]! > before, `worker ${worker} had no frames`);
    }
    const names = ['rejoined', 'timed_out', 'crowded_out'];
    const isSettled = async (): Promise<boolean> => {
      const held = await count('fragments_held');
      const counts = await Promise.all(names.map((name) => count(`fragments_${name}`)));
      return held === counts.reduce((sum, count) => sum + count, 0);
    };
    const end = Date.now() + SETTLED_MS;
    while (!(await isSettled())) {
      assert.ok(Date.now() < end, 'fragments are still held');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
}

/** Both families on the same hosts, with the same daemon. */
function startFamilies(method: Method): () => readonly Matrix[] {
  let matrices: readonly Matrix[] = [];
  before(async () => {
    matrices = await startMatrices({
      method,
      families: FAMILIES,
      queues: QUEUES,
      isWarmedUp: true,
    });
  });
  after(() => matrices[0]?.close());
  return () => matrices;
}

/** What differs by method: how first and later fragments are rewritten. */
function testMethod(matrix: () => Matrix): void {
  test('large datagrams, and the last fragment first', async () => {
    await echo(matrix(), DATAGRAMS_SHORT, DATAGRAM_BYTES_MAX);
    const expected = { sent: OUT_OF_ORDER, answered: OUT_OF_ORDER, wrong: 0 };
    assert.deepEqual(await sendFragments(matrix(), 'reversed', OUT_OF_ORDER), expected);
  });
}

for (const method of METHODS) {
  describe(`fragments, ${method}`, { skip: whyNoNetwork() }, () => {
    const matrices = startFamilies(method);
    for (const [at, family] of FAMILIES.entries()) {
      describe(`IPv${family}`, () => {
        if (method === 'nat') testFamily(family, matrices);
        else testMethod(() => matrices()[at]!);
      });
    }

    test('no code of a worker fell back to slower code', () => {
      assert.deepEqual(matrices()[0]!.deoptimisations.take(), []);
    });
  });
}
