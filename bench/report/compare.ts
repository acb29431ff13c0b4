/**
 * Two runs, result by result. A machine's figures move by themselves, so a difference counts as a
 * change only where the two ranges, least to most of the rounds, do not meet, or where the medians
 * are further apart than the wider of the two ranges. A single value has no range and proves
 * nothing: its ratio is shown without a verdict.
 */
import type { SavedReport, SavedResult, SavedRun } from './saved';
import { type Kind, kindOf } from './unit';

export type Verdict =
  | 'faster'
  | 'slower'
  | 'better'
  | 'worse'
  | 'more'
  | 'less'
  | 'same'
  | 'single values';

export interface Change {
  readonly now: SavedResult;
  readonly then: SavedResult;
  /** Median now over median then; null: there was nothing then. */
  readonly ratio: number | null;
  /** Most that the spread of both leaves open; null without a ratio. */
  readonly between: readonly [least: number, most: number] | null;
  readonly verdict: Verdict;
}

export interface BenchChanges {
  /** By result of now; a result without an earlier one is not there. */
  readonly changes: ReadonlyMap<SavedResult, Change>;
  readonly added: readonly SavedResult[];
  readonly gone: readonly SavedResult[];
}

/** How much of a result was measured, not what. */
const EFFORT = new Set(['rounds', 'seconds']);

function keyOf({ name, unit, parameters }: SavedResult): string {
  const kept = Object.entries(parameters).filter(([key]) => !EFFORT.has(key));
  return JSON.stringify([name, unit, kept.sort()]);
}

type Range = Pick<SavedResult, 'min' | 'median' | 'max'>;

export function differs(now: Range, then: Range): boolean {
  if (now.min > then.max || now.max < then.min) return true;
  const spread = Math.max(now.max - now.min, then.max - then.min);
  return Math.abs(now.median - then.median) > spread;
}

const WORDS: Readonly<Record<Kind, readonly [more: Verdict, less: Verdict]>> = {
  rate: ['faster', 'slower'],
  time: ['slower', 'faster'],
  cost: ['worse', 'better'],
  plain: ['more', 'less'],
};

function judge(now: SavedResult, then: SavedResult): Verdict {
  if (now.median === then.median) return 'same';
  if (now.count === 1 || then.count === 1) return 'single values';
  if (!differs(now, then)) return 'same';
  const [more, less] = WORDS[kindOf(now.unit)];
  return now.median > then.median ? more : less;
}

export function compareResults(now: SavedResult, then: SavedResult): Change {
  const divide = (one: number, other: number) => (other > 0 ? one / other : null);
  const ratio = divide(now.median, then.median);
  const [least, most] = [divide(now.min, then.max), divide(now.max, then.min)];
  const between = least === null || most === null ? null : ([least, most] as const);
  return { now, then, ratio, between, verdict: judge(now, then) };
}

export function compareReports(now: SavedReport, then: SavedReport): BenchChanges {
  const earlier = new Map(then.results.map((result) => [keyOf(result), result]));
  const changes = new Map<SavedResult, Change>();
  const added: SavedResult[] = [];
  for (const result of now.results) {
    const before = earlier.get(keyOf(result));
    if (before === undefined) added.push(result);
    else changes.set(result, compareResults(result, before));
    earlier.delete(keyOf(result));
  }
  return { changes, added, gone: [...earlier.values()] };
}

export interface Comparison {
  readonly earlier: SavedRun;
  readonly benches: ReadonlyMap<string, BenchChanges>;
  /** What makes the two runs hard to compare, a line each. */
  readonly warnings: readonly string[];
}

export function compareRuns(now: SavedRun, earlier: SavedRun): Comparison {
  const benches = new Map<string, BenchChanges>();
  const warnings = new Set<string>();
  if (now.isQuick !== earlier.isQuick) warnings.add('one of the two is a quick run');
  for (const [name, report] of now.reports) {
    const before = earlier.reports.get(name);
    if (before === undefined) continue;
    benches.set(name, compareReports(report, before));
    for (const warning of compareMachines(report, before)) warnings.add(warning);
  }
  return { earlier, benches, warnings: [...warnings] };
}

function compareMachines(now: SavedReport, then: SavedReport): string[] {
  const parts = ['cpu', 'cores', 'kernel', 'node', 'driver', 'xdpMode'] as const;
  return parts
    .filter((part) => now.machine[part] !== then.machine[part])
    .map((part) => `${part}: ${then.machine[part]} then, ${now.machine[part]} now`);
}
