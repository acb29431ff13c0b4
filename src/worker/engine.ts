/**
 * What V8 is told before a worker starts. Its budget for inlining (920 bytes of bytecode in one
 * function) ends in the middle of the pipeline: half of a packet's steps would be calls. With room
 * for all of them a packet takes about a quarter less time (docs/bench.md). The flags hold for the
 * whole process and for code that is not optimised yet, so this comes first.
 */
import { Session } from 'node:inspector';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext, runInThisContext } from 'node:vm';
import type { Lockstep } from './lockstep';

/** Bytes of bytecode that go into one function. */
export const INLINED_BYTES = 5200;
/** In a function with more of it V8 looks at no further call: its own choice. */
const INLINED_ABSOLUTE_BYTES = 4600;
/** Bytes of bytecode of a function that goes into another. */
const INLINED_EACH_BYTES = 1000;

export function tuneEngine(): void {
  setUsualInliningRoom();
  setFlagsFromString(`--max-inlined-bytecode-size=${INLINED_EACH_BYTES}`);
}

/** What is compiled meanwhile may take so much of what it calls into itself. */
export function withInliningRoom(bytes: number, absolute: number, work: () => void): void {
  inStep(() => setInliningRoom(bytes, absolute), work, setUsualInliningRoom);
}

function setUsualInliningRoom(): void {
  setInliningRoom(INLINED_BYTES, INLINED_ABSOLUTE_BYTES);
}

function setInliningRoom(bytes: number, absolute: number): void {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${bytes}`);
  setFlagsFromString(`--max-inlined-bytecode-size-absolute=${absolute}`);
}

/** What was left behind goes now: the next collection is far. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

/**
 * Of this thread; what V8 has learnt stays. Counting calls is why V8 does so (its coverage.cc,
 * Coverage::SelectMode): optimised code does not count.
 */
export function discardOptimizedCode(): void {
  awaitHelpers(); // Else what they are at would come after it.
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  session.post('Profiler.stopPreciseCoverage');
  session.disconnect();
}

export function withoutOptimizing(work: () => void): void {
  withFlag('--no-opt', '--opt', work);
}

/**
 * What V8 begins to compile meanwhile does not fail at a branch that was never taken. The flag was
 * made for something else, which is why it has the name that it has.
 */
export function compileForGood(work: () => void): void {
  withFlag('--always-turbofan', '--no-always-turbofan', () => {
    work();
    awaitHelpers();
  });
}

/** What was handed to V8's helpers is compiled and in place then. */
function awaitHelpers(): void {
  engineFunction<() => void>('() => %FinalizeOptimization()')();
}

/** One of V8's own functions, in a function around it: runtime-test.cc has them. */
export function engineFunction<F>(text: string): F {
  // Stays on: V8 may parse the text again when it is first called.
  setFlagsFromString('--allow-natives-syntax');
  return runInThisContext(`(${text})`) as F;
}

/** Waits for other threads that set the same flags. */
let meet = (): void => {};

/** From now on this thread sets flags for a time only when all of `lockstep` do. */
export function keepStep(lockstep: Lockstep): void {
  meet = () => lockstep.meet();
}

function withFlag(on: string, off: string, work: () => void): void {
  inStep(
    () => setFlagsFromString(on),
    work,
    () => setFlagsFromString(off),
  );
}

function inStep(begin: () => void, work: () => void, end: () => void): void {
  meet();
  begin();
  try {
    work();
    meet();
  } finally {
    end();
  }
}
