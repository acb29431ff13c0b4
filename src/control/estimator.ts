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
  readonly #last: Float64Array;
  /** Fixed point; a double, since a byte rate * 2^5 may pass 2^32. */
  readonly #average = new Float64Array(COUNTERS);

  /** `totals`: counters now, in the order of TRAFFIC_*. */
  constructor(totals: Float64Array) {
    this.#last = totals.slice(0, COUNTERS);
  }

  sample(totals: Float64Array): void {
    for (let at = TRAFFIC_CONNECTIONS; at < COUNTERS; at++) {
      const increase = totals[at]! - this.#last[at]!;
      this.#last[at] = totals[at]!;
      const rate = (increase * scale(at)) / ESTIMATION_SECONDS;
      this.#average[at]! += Math.floor((rate - this.#average[at]!) / 4);
    }
  }

  /** Zeroing a service's counters zeroes its rates too. */
  reset(): void {
    this.#average.fill(0);
  }

  /** Per second. */
  get rates(): Statistics {
    const shown = (at: number): number =>
      Math.floor((this.#average[at]! + scale(at) / 2 - 1) / scale(at));
    return {
      connections: shown(0),
      inPackets: shown(1),
      outPackets: shown(2),
      inBytes: shown(3),
      outBytes: shown(4),
    };
  }
}

function scale(at: number): number {
  return at < TRAFFIC_IN_BYTES ? 1024 : 32;
}
