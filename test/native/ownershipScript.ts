/** Uses chunks rightly, then in each wrong way; prints what the debug build said to it. */
import { addon } from '#xvs/port/addon';
import {
  giveChunk,
  type Memory,
  makeMemory,
  type Opened,
  openQueue,
  takeChunk,
  word,
} from './support';

const NEAR = 'xvsno0';
const FAR = 'xvsno1';
const FRAME_BYTES = 60;
/** Fragments, and those of any address. */
const REDIRECT_FRAGMENTS = (1 << 3) | (1 << 5);

const program = addon.loadProgram();
program.attach(NEAR, 'native');
program.mapUpdate('settings', word(0), word(REDIRECT_FRAGMENTS));

interface Case {
  readonly memory: Memory;
  readonly near: Opened;
  readonly far: Opened;
}

function stage(to: Opened, index: number, offset: number): void {
  to.tx.set([offset, FRAME_BYTES, 0], index * 3);
}

/** An IPv4 fragment, which the program redirects. */
function makeFrame(memory: Memory): number {
  const offset = takeChunk(memory);
  memory.bytes.fill(0, offset, offset + FRAME_BYTES);
  memory.bytes.set([8, 0, 0x45, 0, 0, 46, 0, 0, 0x20, 0], offset + 12);
  return offset;
}

function correctUse({ memory, near, far }: Case): void {
  for (let round = 0; round < 200; round++) {
    stage(far, 0, makeFrame(memory));
    far.socket.txBurst(1);
    const count = near.socket.rxBurst(64);
    for (let index = 0; index < count; index++) giveChunk(memory, near.rx[index * 2]!);
    far.socket.rxBurst(64);
  }
}

function txOfFree({ memory, far }: Case): void {
  stage(far, 0, memory.free[memory.free[0]!]! + memory.umem.headroom);
  far.socket.txBurst(1);
}

function txTwice({ memory, far }: Case): void {
  const offset = makeFrame(memory);
  stage(far, 0, offset);
  stage(far, 1, offset);
  far.socket.txBurst(2);
}

function freeOfFilled({ memory, near, far }: Case): void {
  // The chunk that refilling will take next is pushed twice: its second turn finds it filled.
  const top = memory.free[memory.free[0]!]!;
  for (let count = 0; count < 2; count++) giveChunk(memory, top);
  near.socket.rxBurst(64);
  far.socket.rxBurst(64);
}

function freeOfSent({ memory, far }: Case): void {
  const offset = makeFrame(memory);
  stage(far, 0, offset);
  far.socket.txBurst(1);
  giveChunk(memory, offset);
  far.socket.rxBurst(0);
}

function txOfReceived({ memory, near, far }: Case): void {
  // Refilled first, so that the guess below is about a chunk in the rx ring.
  near.socket.rxBurst(64);
  const filled = new Set(Array.from({ length: memory.chunkCount }, (_, chunk) => chunk * 2048));
  stage(far, 0, makeFrame(memory));
  far.socket.txBurst(1);
  for (let index = 1; index <= memory.free[0]!; index++) filled.delete(memory.free[index]!);
  let message = '';
  for (const base of filled) {
    stage(far, 0, base + memory.umem.headroom);
    try {
      far.socket.txBurst(1);
    } catch (error) {
      message = (error as Error).message;
    }
    if (message.includes('rx ring')) throw new Error(message);
  }
}

function run(use: (given: Case) => void): string {
  const memory = makeMemory(1024);
  // Opening fills 64 slots, so that the first rxBurst refills the rest.
  const near = openQueue(memory, NEAR, 0, 128);
  const far = openQueue(memory, FAR, 0, 64);
  program.setSocket(NEAR, 0, near.socket.fd);
  try {
    use({ memory, near, far });
    return 'no complaint';
  } catch (error) {
    return (error as Error).message;
  } finally {
    memory.umem.close();
  }
}

const cases = { correctUse, txOfFree, txTwice, freeOfFilled, freeOfSent, txOfReceived };
const said = Object.entries(cases).map(([name, use]) => [name, run(use)]);
program.close();
process.stdout.write(JSON.stringify(Object.fromEntries(said)));
