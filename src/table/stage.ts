/**
 * Where a worker's time goes, how full its bursts and rings are: histograms in shared memory, a set
 * for each worker, written by that worker only, read by the control plane at any time.
 *
 * A histogram is 40 doubles (whole numbers, exact to 2^53): how many values fell into each bucket,
 * then the sum of the values. Bucket 0 is for 0, bucket n for values above 2^(n-2) up to 2^(n-1).
 */

/**
 * Every moment of a worker belongs to one stage. A value is the nanoseconds of one call or one
 * piece of work.
 *
 *   receive    asking a port for a burst, when one came: reaping, refilling, the frames themselves
 *   pipeline   the packets of a burst, from their first header to their last rewritten one
 *   transmit   handing frames to a port and waking the kernel
 *   timers     connections that ended, frames that waited, the ports' statistics
 *   poll       asking a port for a burst when none came
 *   sleep      waiting in poll()
 */
export const STAGES = ['receive', 'pipeline', 'transmit', 'timers', 'poll', 'sleep'] as const;
export type Stage = (typeof STAGES)[number];
/** Of the stages, those in which there is nothing to do. */
export const IDLE_STAGES: readonly Stage[] = ['poll', 'sleep'];

/** As XskSocket.levels() of the addon orders them. */
export const RINGS = ['rx', 'tx', 'fill', 'completion'] as const;
export type Ring = (typeof RINGS)[number];

/** For values below 2^31. */
export const BUCKETS = 33;
const SUM = BUCKETS;
const STRIDE = 40;

/** Numbers of histograms; of stages in the order of STAGES, of rings in that of RINGS. */
const RECEIVE = 0;
export const BURST_FRAMES = STAGES.length;
export const RING_LEVELS = BURST_FRAMES + 1;
const HISTOGRAMS = RING_LEVELS + RINGS.length;
export const STAGE = {
  receive: RECEIVE,
  pipeline: RECEIVE + 1,
  transmit: RECEIVE + 2,
  timers: RECEIVE + 3,
  poll: RECEIVE + 4,
  sleep: RECEIVE + 5,
} as const satisfies Readonly<Record<Stage, number>>;

/** The bucket of a whole number from 0 to 2^31 - 1. */
export function bucketOf(value: number): number {
  return value === 0 ? 0 : 33 - Math.clz32(value - 1);
}

/** The greatest value of a bucket. */
export function bucketBound(bucket: number): number {
  return bucket === 0 ? 0 : 2 ** (bucket - 1);
}

export class StageHistograms {
  private readonly words: Float64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Float64Array(buffer);
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(HISTOGRAMS * STRIDE * Float64Array.BYTES_PER_ELEMENT);
  }

  /** Adds a whole number from 0 to 2^31 - 1 to a histogram. */
  add(histogram: number, value: number): void {
    const at = histogram * STRIDE;
    this.words[at + bucketOf(value)]! += 1;
    this.words[at + SUM]! += value;
  }

  /** How many values fell into a bucket. */
  count(histogram: number, bucket: number): number {
    return this.words[histogram * STRIDE + bucket]!;
  }

  sum(histogram: number): number {
    return this.words[histogram * STRIDE + SUM]!;
  }

  /** How many values there were. */
  total(histogram: number): number {
    let total = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) total += this.count(histogram, bucket);
    return total;
  }
}
