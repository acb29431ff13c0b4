/**
 * What a bench with rounds collects: for each measure one value a round. Ratios are taken within a
 * round, between neighbours in time, so that a machine that changes its speed from round to round
 * (they do, under a hypervisor) does not show in them.
 */
import { type Result, summarize } from './report';

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
  ratio(one: Measure, other: Measure): Result | null {
    const [ours, theirs] = [one, other].map((measure) => this.#values.get(keyOf(measure))?.byRound);
    if (ours === undefined || theirs === undefined) return null;
    const ratios = [...ours].flatMap(([round, value]) => {
      const base = theirs.get(round);
      return base === undefined || base === 0 ? [] : [value / base];
    });
    if (ratios.length === 0) return null;
    return summarize(`${one.name} / ${other.name}`, {}, 'ratio', ratios);
  }
}

/** `median 0.97 (0.90 to 1.02)`. */
export function formatRatio({ min, median, max }: Result): string {
  const [low, middle, high] = [min, median, max].map((value) => value.toFixed(2));
  return `median ${middle} (${low} to ${high})`;
}
