/**
 * A loop of integer arithmetic that touches no memory: two CPUs that are two cores do it twice as
 * fast as one. Timed as the pipeline is, by the median of many short pieces, so that one during
 * which something else had the CPU does not count.
 */
const PIECE_STEPS = 1 << 16;

/** xorshift32, so many times: each step needs the one before. */
function turn(state: number, steps: number): number {
  for (let step = 0; step < steps; step++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  return state;
}

/** Nanoseconds of one step. */
export function timeArithmetic(steps: number): number {
  const times = new Float64Array(Math.ceil(steps / PIECE_STEPS));
  let state = 0x2545f491;
  for (let piece = 0; piece < times.length; piece++) {
    const start = performance.now();
    state = turn(state, PIECE_STEPS);
    times[piece] = performance.now() - start;
  }
  // A use of the result: without one the engine might leave the loop out.
  if (state === 0) throw new Error('xorshift32 came to 0, which it cannot');
  times.sort();
  return (times[times.length >> 1]! * 1e6) / PIECE_STEPS;
}
