/**
 * One frame of `xvs top`: the lines of a terminal of so many rows and columns. Pure; characters
 * are ASCII, so that any terminal and any locale shows them.
 */
import type { Picture, Row, Totals } from '../../control/overview/picture';
import {
  type Column,
  cellText,
  filterRows,
  rowsOf,
  SECTION_NAMES,
  SECTIONS,
  sortRows,
} from '../../control/overview/sections';
import { scaled, share, whole } from '../../control/overview/text';
import { KEYS, type Listed, type View } from './view';

export type Style = 'plain' | 'bold' | 'dim' | 'bar' | 'title' | 'warning';
export interface Span {
  readonly text: string;
  readonly style: Style;
}
/** Spans from left to right; what is not filled is blank. */
export type Line = readonly Span[];

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Frame extends Listed {
  readonly lines: readonly Line[];
}

const HEAD_LINES = 4;
const GAP = 2;
const NUMBER_WIDTH: Readonly<Record<string, number>> = { whole: 7, scaled: 6, share: 5 };
/** Texts get as much as the longest that is shown needs, within these. */
const TEXT_WIDTH_MIN = 24;
/** Of what a row is named by. */
const NAME_WIDTH_MIN = 28;
const TEXT_WIDTH_MAX = 60;
const CUT = '~';
/** Of the order, behind a title. */
const MARK_WIDTH = 2;

const span = (text: string, style: Style = 'plain'): Span => ({ text, style });

/** `trouble`: why the picture is not renewed, '' when it is; all there is without a picture. */
export function makeFrame(picture: Picture | null, view: View, size: Size, trouble: string): Frame {
  const height = Math.max(0, size.rows - HEAD_LINES - 1);
  const { columns, name } = SECTIONS[view.section];
  const found = picture === null ? [] : selectRows(picture, view);
  const rows = sortRows(found, view.orders[name]);
  const ids = rows.map(({ id }) => id);
  const at = view.selected === null ? 0 : Math.max(0, ids.indexOf(view.selected));
  const first = Math.max(0, Math.min(at - (height >> 1), rows.length - height));
  const shown = rows.slice(first, first + height);
  const body = view.help ? helpLines() : rowLines(columns, shown, view, size.columns);
  const lines = [
    ...headLines(picture, view, rows.length, trouble),
    ...(view.help ? [[span('Keys', 'title')]] : []),
    ...body,
  ].slice(0, Math.max(0, size.rows - 1));
  while (lines.length < size.rows - 1) lines.push([]);
  lines.push(footLine(view));
  return {
    lines: lines.slice(0, size.rows).map((line) => cutLine(line, size.columns)),
    ids,
    height,
  };
}

function selectRows(picture: Picture, view: View): readonly Row[] {
  const { columns, name } = SECTIONS[view.section];
  const all = rowsOf(picture, name);
  const own =
    name === 'servers' && view.service !== null
      ? all.filter((row) => row['service'] === view.service)
      : all;
  return filterRows(own, columns, view.draft ?? view.filter);
}

function headLines(picture: Picture | null, view: View, rows: number, trouble: string): Line[] {
  const state = view.paused ? 'paused' : `every ${view.intervalMs / 1000} s`;
  if (picture === null) {
    return [[span('xvs top  ', 'bold'), span(trouble || 'asking ...', 'warning')], [], []];
  }
  const { totals, tables, interfaces } = picture;
  const time = new Date(picture.unixMs).toISOString().slice(11, 19);
  const down = interfaces.filter(({ up }) => !up).map(({ name }) => name);
  const used = tables[0] ?? { name: '', used: 0, capacity: 1 };
  const first: Span[] = [span('xvs top  ', 'bold')];
  if (trouble !== '') first.push(span(`${trouble}, as of `, 'warning'));
  first.push(span(`${time} UTC, ${state}  `));
  if (down.length > 0) first.push(span(`down: ${down.join(' ')}  `, 'warning'));
  first.push(span(`${used.name} ${whole(used.used)} of ${whole(used.capacity)}  `));
  first.push(span(`load ${share(totals.load)}`));
  return [first, totalsLine(totals), tabsLine(view, rows)];
}

function totalsLine(totals: Totals): Line {
  const dropping = totals.drops > 0;
  return [
    span(`in ${scaled(totals.inPackets)} pkt/s ${scaled(totals.inBits)} bit/s  `),
    span(`out ${scaled(totals.outPackets)} pkt/s ${scaled(totals.outBits)} bit/s  `),
    span(`new ${scaled(totals.connections)}/s  `),
    span(`drops ${scaled(totals.drops)}/s`, dropping ? 'warning' : 'plain'),
    span(`  host ${scaled(totals.host)}/s`),
  ];
}

function tabsLine(view: View, rows: number): Line {
  const tabs = SECTION_NAMES.flatMap((name, at) => [
    span(`${at + 1} ${SECTIONS[name].title}`, name === view.section ? 'bar' : 'plain'),
    span('  '),
  ]);
  const about = [`${whole(rows)} rows`];
  if (view.service !== null) about.push(`of ${view.service}`);
  if (view.filter !== '') about.push(`with "${view.filter}"`);
  return [...tabs, span(about.join(' '), 'dim')];
}

function footLine(view: View): Line {
  if (view.draft !== null) return [span('filter: ', 'bold'), span(`${view.draft}_`)];
  return [
    span('1-4 section  s sort  r turn  / filter  Space pause  +- pace  ? help  q end', 'dim'),
  ];
}

function helpLines(): Line[] {
  return KEYS.map(([key, what]) => [span(key.padEnd(10), 'bold'), span(what)]);
}

interface Fitted {
  readonly column: Column;
  readonly width: number;
}

function rowLines(
  columns: readonly Column[],
  rows: readonly Row[],
  view: View,
  width: number,
): Line[] {
  const { key, descending } = view.orders[view.section];
  const fitted = fitColumns(columns, rows, width, key);
  const head = fitted.flatMap(({ column, width: own }, at): Span[] => {
    const sorted = column.key === key;
    const mark = sorted ? (descending ? ' v' : ' ^') : '';
    const style = sorted ? 'bar' : 'title';
    return [span(at === 0 ? '' : ' '.repeat(GAP)), cell(column, column.title + mark, own, style)];
  });
  const lines = rows.map((row): Line => {
    const style = styleOf(row, row.id === view.selected);
    const text = fitted
      .map(({ column, width: own }) => cell(column, textOf(row, column), own, 'plain').text)
      .join(' '.repeat(GAP));
    return [span(style === 'bar' ? text.padEnd(width) : text, style)];
  });
  return [head, ...lines];
}

function styleOf(row: Row, selected: boolean): Style {
  if (selected) return 'bar';
  if (row['state'] === 'overload') return 'warning';
  return row['total'] === 0 || row['state'] === 'quiet' ? 'dim' : 'plain';
}

function textOf(row: Row, { key, kind }: Column): string {
  return cellText(row[key], kind);
}

function cell({ kind }: Column, text: string, width: number, style: Style): Span {
  const fitting = cut(text, width);
  return span(kind === 'text' ? fitting.padEnd(width) : fitting.padStart(width), style);
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : text.slice(0, Math.max(0, width - 1)) + CUT.slice(0, width);
}

/**
 * The columns that fit `width`, those of the highest rank left out first, and of one rank the last;
 * the texts of what stays share the room that is missing.
 */
export function fitColumns(
  columns: readonly Column[],
  rows: readonly Row[],
  width: number,
  sortedKey: string,
): readonly Fitted[] {
  let fitted = columns.map((column) => ({
    column,
    width: wantedWidth(column, rows, column.key === sortedKey),
  }));
  const least = ({ column, width: own }: Fitted): number =>
    column.kind === 'text' ? Math.min(own, narrowest(column)) : own;
  const sum = (of: (one: Fitted) => number): number =>
    fitted.reduce((total, one) => total + of(one), GAP * (fitted.length - 1));
  while (fitted.length > 1 && sum(least) > width) {
    const highest = Math.max(...fitted.map(({ column }) => column.rank));
    const gone = fitted.findLastIndex(({ column }) => column.rank === highest);
    fitted = fitted.filter((_one, at) => at !== gone);
  }
  for (let missing = sum(({ width: own }) => own) - width; missing > 0; ) {
    const widest = fitted
      .filter(({ column, width: own }) => column.kind === 'text' && own > narrowest(column))
      .reduce((most, one) => (one.width > most.width ? one : most), { width: 0 } as Fitted);
    if (widest.width === 0) break;
    fitted = fitted.map((one) => (one === widest ? { ...one, width: one.width - 1 } : one));
    missing--;
  }
  return fitted;
}

function narrowest({ rank }: Column): number {
  return rank === 0 ? NAME_WIDTH_MIN : TEXT_WIDTH_MIN;
}

function wantedWidth(column: Column, rows: readonly Row[], sorted: boolean): number {
  const title = column.title.length + (sorted ? MARK_WIDTH : 0);
  if (column.kind !== 'text') {
    const longest = rows.reduce((most, row) => Math.max(most, textOf(row, column).length), 0);
    return Math.max(title, NUMBER_WIDTH[column.kind]!, longest);
  }
  const longest = rows.reduce((most, row) => Math.max(most, String(row[column.key]).length), 0);
  return Math.max(title, Math.min(longest, TEXT_WIDTH_MAX));
}

function cutLine(line: Line, width: number): Line {
  const spans: Span[] = [];
  let left = width;
  for (const { text, style } of line) {
    if (left <= 0) break;
    spans.push(span(text.slice(0, left), style));
    left -= text.length;
  }
  return spans;
}

/** A frame's text without styles. */
export function lineText(line: Line): string {
  return line
    .map(({ text }) => text)
    .join('')
    .trimEnd();
}
