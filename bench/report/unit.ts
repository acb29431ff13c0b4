/** Units of results: whether more of it is better, and how a figure is written. */

/** rate: more is faster. time: less is faster. cost: less is better. plain: neither is better. */
export type Kind = 'rate' | 'time' | 'cost' | 'plain';

const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [/^(Mpps|Gbit\/s|Mbit\/s)$/, 'rate'],
  [/\/((CPU-|thread-)?second|s)$/, 'rate'],
  [/^of worker$/, 'rate'],
  [/^(ns|us|ms|s|seconds)$/, 'time'],
  [/^(ns|us|ms)\//, 'time'],
  [/^(bytes|CPUs busy|lost %|of a round)/, 'cost'],
  [/^bytes\//, 'cost'],
];

export function kindOf(unit: string): Kind {
  return KINDS.find(([pattern]) => pattern.test(unit))?.[1] ?? 'plain';
}

/** Three digits that count; whole numbers above a thousand. */
export function formatValue(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  if (size === 0) return '0';
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(size))));
  return value.toFixed(digits);
}

/** For the ends of an axis: 1.2 M, 350 k. */
export function formatShort(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return Number(value.toPrecision(3)).toLocaleString('en-US');
}
