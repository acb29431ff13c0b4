/**
 * What a bench with rounds collects: for each measure one value a round. Ratios are taken within a
 * round, between neighbours in time, so that a machine that changes its speed from round to round
 * (they do, under a hypervisor) does not show in them.
 */
import { type Result, summarize } from './report';

/** With fewer values their range says as much. */
const INTERVAL_COUNT_MIN = 20;
/** What is left on each side of an interval that holds with 95 %. */
const TAIL = 0.025;

export interface Measure {
  readonly name: string;
  readonly parameters: Result['parameters'];
  readonly unit: string;
}

function keyOf({ name, parameters, unit }: Measure): string {
  return JSON.stringify([name, unit, Object.entries(parameters).sort()]);
}

export class Samples {
  readonly #values = new Map<string, { measure: Measure; byRound: Map<number, number> }>();

  add(round: number, measure: Measure, value: number): void {
    const key = keyOf(measure);
    const kept = this.#values.get(key) ?? { measure, byRound: new Map<number, number>() };
    kept.byRound.set(round, value);
    this.#values.set(key, kept);
  }

  /** Of the rounds that have it; undefined when none has. */
  median(measure: Measure): number | undefined {
    const kept = this.#values.get(keyOf(measure));
    if (kept === undefined) return undefined;
    return summarize(measure.name, {}, measure.unit, [...kept.byRound.values()]).median;
  }

  /** In the order in which they were first measured. */
  get results(): Result[] {
    return [...this.#values.values()].map(({ measure, byRound }) =>
      summarize(measure.name, measure.parameters, measure.unit, [...byRound.values()]),
    );
  }

  /** `one` divided by `other`, round by round; null when there is no round that has both. */
  ratio(one: Measure, other: Measure): Ratio | null {
    const [ours, theirs] = [one, other].map((measure) => this.#values.get(keyOf(measure))?.byRound);
    if (ours === undefined || theirs === undefined) return null;
    const ratios = [...ours].flatMap(([round, value]) => {
      const base = theirs.get(round);
      return base === undefined || base === 0 ? [] : [value / base];
    });
    if (ratios.length === 0) return null;
    const result = summarize(`${one.name} / ${other.name}`, {}, 'ratio', ratios);
    return { ...result, interval: medianInterval(ratios) };
  }
}

export interface Ratio extends Result {
  /** See medianInterval. */
  readonly interval: readonly [low: number, high: number] | null;
}

/**
 * Between which values the median of endlessly many rounds lies, with 95 %, whatever the values'
 * distribution: each of them is as likely above it as below (the sign test's interval). Null for
 * fewer than 20 values.
 */
export function medianInterval(values: readonly number[]): readonly [number, number] | null {
  const count = values.length;
  if (count < INTERVAL_COUNT_MIN) return null;
  const sorted = [...values].sort((one, other) => one - other);
  // Probability of so many heads of `count` coins, and of fewer than `rank`.
  let [exactly, fewer, rank] = [0.5 ** count, 0, 0];
  while (fewer + exactly <= TAIL) {
    fewer += exactly;
    exactly *= (count - rank) / (rank + 1);
    rank++;
  }
  return [sorted[rank - 1]!, sorted[count - rank]!];
}

/** `median 0.97 (0.90 to 1.02)`; of many rounds `median 0.97 (0.90 to 1.02; 0.96 to 0.98)`. */
export function formatRatio(ratio: Result & Partial<Ratio>): string {
  const { min, median, max, interval = null } = ratio;
  const range = (low: number, high: number) => `${low.toFixed(2)} to ${high.toFixed(2)}`;
  const sure = interval === null ? '' : `; ${range(...interval)}`;
  return `median ${median.toFixed(2)} (${range(min, max)}${sure})`;
}
