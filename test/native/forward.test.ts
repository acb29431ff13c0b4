/**
 * Two sockets on one UMEM, each on its own veth pair: frames that arrive on one are sent on the
 * other without a copy, as a worker does, between two hosts with their default offloads. Their
 * frames carry unfinished checksums, finished by tx metadata or, without it, by the addon.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { addon, type XdpProgram } from '#xvs/port/addon';
import {
  counter,
  endpointKey,
  giveChunk,
  ip,
  Lab,
  type Memory,
  makeMemory,
  type Opened,
  openQueue,
  RX_WORDS,
  scriptIn,
  TCP,
  TX_WORDS,
  takeChunk,
  thrownBy,
  UDP,
  word,
} from './support';

const CLIENT = '10.99.7.1';
const SERVER = '10.99.7.2';
const PORT = 9000;
const LEFT = 'xvsn0';
const RIGHT = 'xvsn1';
const CHUNKS = 1024;
const SECOND_MS = 1000;
/** Nanoseconds by which a time may differ from the kernel's. */
const TIME_ERROR = 5000n;
const IPV4_AT = 14;
const CHECKSUM_OFFSET: Readonly<Record<number, number>> = { [TCP]: 16, [UDP]: 6 };

const lab = new Lab();
let clientHost = '';
let serverHost = '';
let program: XdpProgram;

before(() => {
  clientHost = lab.namespace('client');
  serverHost = lab.namespace('server');
  const clientMac = lab.cable(LEFT, clientHost, `${CLIENT}/24`);
  const serverMac = lab.cable(RIGHT, serverHost, `${SERVER}/24`);
  // Only what matches the program's maps is forwarded, so ARP is settled beforehand.
  ip('-n', clientHost, 'neighbour', 'add', SERVER, 'lladdr', serverMac, 'dev', 'eth0');
  ip('-n', serverHost, 'neighbour', 'add', CLIENT, 'lladdr', clientMac, 'dev', 'eth0');
  program = addon.loadProgram();
  for (const protocol of [TCP, UDP]) {
    program.mapUpdate('services', endpointKey(SERVER, PORT, protocol), word(0));
    program.mapUpdate('real_servers', endpointKey(SERVER, PORT, protocol), word(1));
  }
  assert.equal(program.attach(LEFT, 'native'), 'native');
  assert.equal(program.attach(RIGHT, 'native'), 'native');
});

after(() => {
  program?.close();
  lab.remove();
});

/** Ones' complement sum of the pseudo header, as an offloading sender leaves it in the field. */
function pseudoHeaderSum(view: DataView, at: number): number {
  let sum = view.getUint8(at + 9) + view.getUint16(at + 2) - 20;
  for (let word = 12; word < 20; word += 2) sum += view.getUint16(at + word);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function moveFrames(memory: Memory, from: Opened, to: Opened): number {
  const count = from.socket.rxBurst(64);
  let unfinished = 0;
  for (let index = 0; index < count; index++) {
    const offset = from.rx[index * RX_WORDS]!;
    const protocol = memory.view.getUint8(offset + IPV4_AT + 9);
    const field = CHECKSUM_OFFSET[protocol]!;
    const stored = memory.view.getUint16(offset + IPV4_AT + 20 + field);
    const isUnfinished = stored === pseudoHeaderSum(memory.view, offset + IPV4_AT);
    if (isUnfinished) unfinished++;
    to.tx[index * TX_WORDS] = offset;
    to.tx[index * TX_WORDS + 1] = from.rx[index * RX_WORDS + 1]!;
    to.tx[index * TX_WORDS + 2] = isUnfinished ? ((IPV4_AT + 20) << 16) | field : 0;
  }
  if (count > 0) to.socket.txBurst(count);
  return unfinished;
}

/** Forwards both ways until `done`. Returns how many frames had an unfinished checksum. */
async function forwardUntil(memory: Memory, left: Opened, right: Opened, done: Promise<unknown>) {
  let running = true;
  let unfinished = 0;
  done.finally(() => {
    running = false;
  });
  while (running) {
    unfinished += moveFrames(memory, left, right) + moveFrames(memory, right, left);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return unfinished;
}

async function exchange(txMetadata: boolean, datagrams: number, bytes: number) {
  const memory = makeMemory(CHUNKS, txMetadata);
  const server = scriptIn(serverHost, 'echoHost', 'server', SERVER, String(PORT));
  try {
    const left = openQueue(memory, LEFT);
    const right = openQueue(memory, RIGHT);
    program.setSocket(LEFT, 0, left.socket.fd);
    program.setSocket(RIGHT, 0, right.socket.fd);
    await server.started;
    const words = ['client', SERVER, String(PORT), String(datagrams), String(bytes)];
    const client = scriptIn(clientHost, 'echoHost', ...words);
    const ended = client.ended;
    const unfinished = await forwardUntil(
      memory,
      left,
      right,
      ended.catch(() => undefined),
    );
    left.socket.statistics();
    right.socket.statistics();
    return { ...JSON.parse(await ended), unfinished, left, right, memory };
  } finally {
    server.child.kill('SIGTERM');
    await server.ended.catch(() => undefined);
    memory.umem.close();
  }
}

describe('two sockets on one UMEM', { timeout: 60_000 }, () => {
  it('forward UDP and TCP of hosts with checksum offload, by tx metadata', async () => {
    const result = await exchange(true, 200, 2_000_000);
    assert.equal(result.memory.umem.txMetadata, true, 'kernel lacks AF_XDP tx metadata (6.8)');
    assert.equal(result.answered, 200);
    assert.equal(result.fetched, 'same');
    assert.ok(result.unfinished > 400, `${result.unfinished} frames had an unfinished checksum`);
    assert.ok(counter(result.left, 'rxFrames') >= 200);
    assert.ok(counter(result.right, 'rxBytes') > 2_000_000);
    assert.equal(counter(result.left, 'txFrames'), counter(result.right, 'rxFrames'));
    assert.equal(counter(result.left, 'kernelTxInvalid'), 0);
    assert.equal(counter(result.right, 'kernelTxInvalid'), 0);
    assert.equal(counter(result.right, 'txWakeupFailures'), 0);
  });

  it('forward them without tx metadata: the addon finishes the checksum', async () => {
    const result = await exchange(false, 100, 500_000);
    assert.equal(result.memory.umem.txMetadata, false);
    assert.equal(result.answered, 100);
    assert.equal(result.fetched, 'same');
    assert.ok(result.unfinished > 200);
  });

  it('get every chunk back when they are closed', async () => {
    const { memory } = await exchange(true, 20, 100_000);
    assert.equal(memory.free[0], CHUNKS);
    const chunks = new Set(memory.free.subarray(1));
    assert.equal(chunks.size, CHUNKS);
  });

  it('write the clock', () => {
    const memory = makeMemory(CHUNKS);
    const left = openQueue(memory, LEFT);
    const expected = Number(process.hrtime.bigint() / 1000n);
    left.socket.rxBurst(1);
    const microseconds = (memory.clock[1]! - (expected | 0)) | 0;
    assert.ok(microseconds >= 0 && microseconds < 1_000_000, `${microseconds} us later`);
    assert.ok(Math.abs(memory.clock[0]! - Math.floor(expected / 100_000)) <= 10);
    memory.umem.close();
  });

  it('say when a transmit began and ended, and how full the rings are', () => {
    const memory = makeMemory(CHUNKS);
    const left = openQueue(memory, LEFT);
    const levels = new Int32Array(4).fill(-1);
    left.socket.rxBurst(1);
    const [, , received = 0] = memory.clock;
    left.socket.txBurst(0);
    const [, , ended = 0, began = 0] = memory.clock;
    assert.ok(((began - received) | 0) >= 0 && ((ended - began) | 0) >= 0);
    left.socket.levels(levels);
    const [rx, tx, fill, completion] = levels;
    assert.deepEqual([rx, tx, completion], [0, 0, 0]);
    assert.ok(fill! > 0 && fill! <= CHUNKS, `${fill} entries in the fill ring`);
    assert.throws(() => left.socket.levels(new Int32Array(3)), /at least 4 elements/);
    memory.umem.close();
  });
});

describe('the times of bursts', () => {
  const isBetween = (time: number, from: bigint, to: bigint): boolean => {
    const since = BigInt.asIntN(32, BigInt(time) - from);
    return since >= -TIME_ERROR && since <= to - from + TIME_ERROR;
  };

  /** Of a receive and a transmit of nothing, which are right by the kernel's clock. */
  function burst({ socket }: Opened, { clock }: Memory): number[] {
    const from = process.hrtime.bigint();
    socket.rxBurst(1);
    const [, , received = 0] = clock;
    const before = process.hrtime.bigint();
    socket.txBurst(0);
    const after = process.hrtime.bigint();
    const [, , ended = 0, began = 0] = clock;
    assert.ok(isBetween(received, from, before), `received ${received}, asked at ${from}`);
    assert.ok(isBetween(began, before, after), `began ${began}, asked at ${before}`);
    assert.ok(isBetween(ended, before, after), `ended ${ended}, was back at ${after}`);
    return [received, began, ended];
  }

  // The CPU's counter is used once its speed is known, which takes a second.
  it('are in order and the kernel’s, for longer than the counter’s speed is found in', async () => {
    const memory = makeMemory(CHUNKS);
    try {
      const opened = openQueue(memory, LEFT);
      let last: number[] = [];
      for (const end = Date.now() + 3 * SECOND_MS; Date.now() < end; await sleep(5)) {
        const times = [...last, ...burst(opened, memory)];
        const isInOrder = times.every((time, at) => at === 0 || ((time - times[at - 1]!) | 0) >= 0);
        assert.ok(isInOrder, `back in time: ${times}`);
        last = times.slice(-1);
      }
    } finally {
      memory.umem.close();
    }
  });
});

describe('a socket that cannot be had, or is used wrongly', () => {
  it('names interface, queue and cause when the queue is taken', () => {
    const first = makeMemory(CHUNKS);
    const second = makeMemory(CHUNKS);
    const holder = openQueue(first, LEFT);
    const error = thrownBy(() => openQueue(second, LEFT));
    assert.equal(
      error.message,
      `bind: ${LEFT} queue 0: EBUSY: another socket already serves this queue`,
    );
    assert.equal(error.code, 'EBUSY');
    assert.equal(error.errno, 16);
    assert.equal(error.syscall, 'bind');
    assert.equal(error.interface, LEFT);
    assert.equal(error.queue, 0);
    assert.match(thrownBy(() => openQueue(first, LEFT)).message, /this UMEM already has a socket/);
    holder.socket.close();
    openQueue(second, LEFT).socket.close();
    first.umem.close();
    second.umem.close();
  });

  it('refuses zero copy where the driver has none, and takes the queue afterwards', () => {
    const memory = makeMemory(CHUNKS);
    const arrays = {
      rx: new Int32Array(128),
      tx: new Int32Array(192),
      counters: new Float64Array(addon.SOCKET_COUNTERS.length),
    };
    const options = { interface: LEFT, queue: 0, ringSize: 64, busyPollBudget: 0, ...arrays };
    const error = thrownBy(() => addon.openSocket(memory.umem, { ...options, zeroCopy: 'on' }));
    assert.equal(error.code, 'EOPNOTSUPP');
    assert.match(error.message, /the driver has no zero copy/);
    const socket = addon.openSocket(memory.umem, { ...options, zeroCopy: 'auto' });
    assert.equal(socket.zeroCopy, false);
    assert.equal(socket.needWakeup, true);
    memory.umem.close();
  });

  it('names an unknown interface and a queue that is not there', () => {
    const memory = makeMemory(CHUNKS);
    assert.equal(thrownBy(() => openQueue(memory, 'xvs-none')).code, 'ENODEV');
    assert.match(
      thrownBy(() => openQueue(memory, LEFT, 7)).message,
      /^bind: xvsn0 queue 7: EINVAL: the interface has no such queue/,
    );
    assert.match(
      thrownBy(() => openQueue(memory, LEFT, 0, 100)).message,
      /ringSize 100: must be a power of two/,
    );
    memory.umem.close();
  });

  it('refuses frames that do not lie in their chunk, and calls after close', () => {
    const memory = makeMemory(CHUNKS);
    const left = openQueue(memory, LEFT);
    const offset = takeChunk(memory);
    const cases: [number, number, number, RegExp][] = [
      [CHUNKS * 2048, 60, 0, /outside of the UMEM/],
      [-2048, 60, 0, /outside of the UMEM/],
      [offset - 250, 60, 0, /24 bytes after its chunk/],
      [offset, 0, 0, /must have a byte/],
      [offset, 1793, 0, /end within its chunk/],
      [offset, 60, (34 << 16) | 25, /checksum field must lie within/],
    ];
    for (const [at, length, checksum, message] of cases) {
      left.tx.set([at, length, checksum]);
      assert.match(thrownBy(() => left.socket.txBurst(1)).message, message);
    }
    assert.match(thrownBy(() => left.socket.txBurst(65)).message, /tx holds 64 frames/);
    giveChunk(memory, offset);
    left.socket.close();
    left.socket.close();
    const closed = thrownBy(() => left.socket.rxBurst(1));
    assert.equal(closed.code, 'EBADF');
    assert.equal(memory.free[0], CHUNKS);
    memory.umem.close();
    assert.throws(() => openQueue(memory, LEFT), /needs an open UMEM/);
  });
});
