/**
 * The worker's speed while something else runs, as a share of its speed while nothing does: round
 * by round, so that a machine whose speed wanders does not count; and how sure that is.
 */

/** Frames forwarded, and the worker's own run time meanwhile. */
export class Tally {
  frames = 0;
  ranMs = 0;

  add(frames: number, ranMs: number): void {
    this.frames += frames;
    this.ranMs += ranMs;
  }
  /** Frames a second of run time; NaN when the worker did not run. */
  get rate(): number {
    return (this.frames / this.ranMs) * 1000;
  }
}

/** What the worker did in one round beside each of three. */
export class Round {
  readonly beside = { idle: new Tally(), busy: new Tally(), steps: new Tally() };
  isDisturbed = false;

  share(of: 'idle' | 'busy'): number {
    return this.beside.steps.rate / this.beside[of].rate;
  }
}

export interface Interval {
  readonly low: number;
  readonly median: number;
  readonly high: number;
  /** Of the interval from low to high for the true median; below `wanted` with too few values. */
  readonly confidence: number;
}

function binomial(count: number, chosen: number): number {
  let ways = 1;
  for (let at = 1; at <= chosen; at++) ways = (ways * (count - at + 1)) / at;
  return ways;
}

/**
 * The narrowest pair of ordered values, as far from one end as from the other, between which the
 * true median lies with at least the `wanted` probability: the sign test turned round, which takes
 * nothing for granted about how values scatter.
 */
export function medianInterval(values: readonly number[], wanted: number): Interval {
  const sorted = [...values].sort((left, right) => left - right);
  const count = sorted.length;
  if (count === 0) throw new Error('no values');
  let outside = 2 * 0.5 ** count;
  let at = 0;
  for (;;) {
    const more = outside + 2 * binomial(count, at + 1) * 0.5 ** count;
    if (1 - more < wanted || (at + 1) * 2 >= count) break;
    outside = more;
    at++;
  }
  const median = (sorted[(count - 1) >> 1]! + sorted[count >> 1]!) / 2;
  return { low: sorted[at]!, median, high: sorted[count - 1 - at]!, confidence: 1 - outside };
}
