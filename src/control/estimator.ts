/**
 * Rates as IPVS estimates them (ip_vs_est): every two seconds the increase of a counter, smoothed
 * by a quarter, in fixed point: connections and packets * 2^10, bytes * 2^5.
 */
import { TRAFFIC_CONNECTIONS, TRAFFIC_IN_BYTES } from '../table/counter';
import type { Statistics } from './protocol';

/** Seconds between two samples; the caller keeps to it. */
export const ESTIMATION_SECONDS = 2;
const COUNTERS = 5;

export class Estimator {
  /** Whose they are they may be others' as well: never written. */
  #last: Float64Array;
  /** Fixed point; a double, since a byte rate * 2^5 may pass 2^32. Null: all are 0. */
  #average: Float64Array | null = null;

  /** `totals`: counters now, in the order of TRAFFIC_*; kept, and not to change. */
  constructor(totals: Float64Array) {
    this.#last = totals;
  }

  /** `totals`: as in the constructor. */
  sample(totals: Float64Array): void {
    const last = this.#last;
    this.#last = totals;
    if (this.#average === null) {
      if (!hasIncreased(last, totals)) return;
      this.#average = new Float64Array(COUNTERS);
    }
    const average = this.#average;
    for (let at = TRAFFIC_CONNECTIONS; at < COUNTERS; at++) {
      const rate = ((totals[at]! - last[at]!) * scale(at)) / ESTIMATION_SECONDS;
      average[at]! += Math.floor((rate - average[at]!) / 4);
    }
  }

  /** Zeroing a service's counters zeroes its rates too. */
  reset(): void {
    this.#average = null;
  }

  /** Per second. */
  get rates(): Statistics {
    const average = this.#average;
    const shown = (at: number): number =>
      average === null ? 0 : Math.floor((average[at]! + scale(at) / 2 - 1) / scale(at));
    return {
      connections: shown(0),
      inPackets: shown(1),
      outPackets: shown(2),
      inBytes: shown(3),
      outBytes: shown(4),
    };
  }
}

function hasIncreased(before: Float64Array, after: Float64Array): boolean {
  for (let at = TRAFFIC_CONNECTIONS; at < COUNTERS; at++) {
    if (after[at] !== before[at]) return true;
  }
  return false;
}

function scale(at: number): number {
  return at < TRAFFIC_IN_BYTES ? 1024 : 32;
}
