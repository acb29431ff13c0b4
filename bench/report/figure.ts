/** From results to what is drawn: figures, their panels, rows and series. No library here. */
import type { BenchChanges } from './compare';
import { type Form, GROUPINGS, type Grouping, WITH_PEERS } from './grouping';
import type { SavedReport, SavedResult } from './saved';

export interface Mark {
  readonly series: string;
  readonly result: SavedResult;
  /** Null: there is no earlier run that has it. */
  readonly earlier: SavedResult | null;
}

export interface Row {
  readonly label: string;
  readonly isOurs: boolean;
  readonly marks: readonly Mark[];
}

export interface Panel {
  /** Empty: there is only one. */
  readonly title: string;
  readonly rows: readonly Row[];
}

export interface Figure {
  readonly title: string;
  readonly unit: string;
  readonly form: Form;
  /** What a line's x axis is. */
  readonly x: string;
  readonly series: readonly string[];
  /** Are others in it, beside whom xvs stands out? */
  readonly hasPeers: boolean;
  readonly panels: readonly Panel[];
  readonly ownAxis: boolean;
}

type Key = string;

/** A result's value of a key. */
type Read = (result: SavedResult, key: Key) => string;

const readPlain: Read = (result, key) =>
  key === 'name' ? result.name : String(result.parameters[key] ?? '');

function readSplit(split: RegExp): Read {
  return (result, key) => {
    const parts = split.exec(result.name)?.groups;
    if (key === 'group') return parts?.['group'] ?? '';
    return key === 'name' && parts ? parts['name']! : readPlain(result, key);
  };
}

/** Names and parameters that are not the same for all of them. */
export function varyingKeys(results: readonly SavedResult[], read: Read = readPlain): Key[] {
  const keys = new Set([
    'name',
    'group',
    ...results.flatMap(({ parameters }) => Object.keys(parameters)),
  ]);
  return [...keys].filter((key) => new Set(results.map((result) => read(result, key))).size > 1);
}

/** A word says what it is; a number needs its name. */
export function describeValue(key: Key, value: string): string {
  if (value === '') return '';
  if (key === 'name' || Number.isNaN(Number(value))) return value;
  return `${key} ${Number(value).toLocaleString('en-US')}`;
}

function labelOf(result: SavedResult, keys: readonly Key[], read: Read): string {
  const words = keys.map((key) => describeValue(key, read(result, key)));
  return words.filter((word) => word !== '').join(', ');
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** Keys that tell results apart: not a number that follows from the values of the others. */
function telling(
  results: readonly SavedResult[],
  varying: readonly Key[],
  panelKeys: readonly Key[],
  read: Read,
): Key[] {
  const count = (keys: readonly Key[]) =>
    new Set(results.map((result) => labelOf(result, keys, read))).size;
  const isNumber = (key: Key) => results.every(({ parameters }) => Number(parameters[key]) >= 0);
  let kept = varying.filter((key) => !panelKeys.includes(key));
  for (const key of kept.filter(isNumber)) {
    const others = kept.filter((other) => other !== key);
    if (count([...panelKeys, ...others]) === count([...panelKeys, ...kept])) kept = others;
  }
  return kept;
}

/** What a result is called by, in each part of a plot. */
interface Naming {
  readonly form: Form;
  readonly panelOf: (result: SavedResult) => string;
  readonly rowOf: (result: SavedResult) => string;
  readonly seriesOf: (result: SavedResult) => string;
}

function nameParts(grouping: Grouping, results: readonly SavedResult[]): Naming {
  const { split, panel = [], series = [], x = '' } = grouping;
  const read = split === undefined ? readPlain : readSplit(split);
  const by = (keys: readonly Key[]) => (result: SavedResult) => labelOf(result, keys, read);
  const varying = varyingKeys(results, read);
  // A line of one point is none.
  const isFlat = grouping.form === 'line' && !varying.includes(x);
  const form = isFlat ? 'range' : (grouping.form ?? 'range');
  const panelKeys = panel.filter((key) => varying.includes(key));
  const rest = telling(results, varying, panelKeys, read);
  const seriesKeys = isFlat ? [] : series.filter((key) => rest.includes(key));
  const rowKeys = form === 'line' ? [x] : rest.filter((key) => !seriesKeys.includes(key));
  // Series that leave a row one mark each say nothing that its label could not.
  const rows = new Set(results.map(by([...panelKeys, ...rowKeys])));
  const isNeeded = form !== 'range' || rows.size < results.length;
  const rowOf = by(isNeeded ? rowKeys : rest);
  return {
    form,
    panelOf: by(panelKeys),
    rowOf: (result) => rowOf(result) || read(result, 'name'),
    seriesOf: isNeeded ? (grouping.nameSeries ?? by(seriesKeys)) : () => '',
  };
}

type EarlierOf = (result: SavedResult) => SavedResult | null;

function rowsOf(
  results: readonly SavedResult[],
  { rowOf, seriesOf }: Naming,
  earlierOf: EarlierOf,
): Row[] {
  return [...groupBy(results, rowOf)].map(([label, group]) => ({
    label,
    isOurs: group.every(({ name }) => name.startsWith('xvs ')),
    marks: group.map((result) => ({
      series: seriesOf(result),
      result,
      earlier: earlierOf(result),
    })),
  }));
}

function makeFigure(
  grouping: Grouping,
  results: readonly SavedResult[],
  earlierOf: EarlierOf,
  hasPeers: boolean,
): Figure {
  const { title, unit, x = '', ownAxis = false } = grouping;
  const naming = nameParts(grouping, results);
  const panels = [...groupBy(results, naming.panelOf)].map(([panel, group]) => ({
    title: panel,
    rows: rowsOf(group, naming, earlierOf),
  }));
  const series = [...new Set(results.map(naming.seriesOf))];
  return { title, unit, form: naming.form, x, series, hasPeers, panels, ownAxis };
}

/** Where nobody gave one: what is measured, or else its unit. */
function titleOf(results: readonly SavedResult[], unit: string): string {
  const names = new Set(results.filter((each) => each.unit === unit).map(({ name }) => name));
  const [only = ''] = names;
  return names.size === 1 ? only : `Results in ${unit}`;
}

/** Every result is in one of them. */
export function figuresOf(report: SavedReport, changes: BenchChanges | null): Figure[] {
  const earlierOf = (result: SavedResult) => changes?.changes.get(result)?.then ?? null;
  const hasPeers = WITH_PEERS.has(report.bench);
  let left: readonly SavedResult[] = report.results;
  const figures: Figure[] = [];
  const take = (grouping: Grouping) => {
    const { unit, takes = () => true } = grouping;
    const isTaken = (result: SavedResult) => result.unit === unit && takes(result);
    const taken = left.filter(isTaken);
    left = left.filter((result) => !isTaken(result));
    if (taken.length > 0) figures.push(makeFigure(grouping, taken, earlierOf, hasPeers));
  };
  for (const grouping of GROUPINGS[report.bench] ?? []) take(grouping);
  for (const unit of new Set(left.map((result) => result.unit)))
    take({ unit, title: titleOf(left, unit) });
  return figures;
}
