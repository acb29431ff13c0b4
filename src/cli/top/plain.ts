/** `xvs top` without a terminal: pictures as text tables, or as JSON, one after another. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Picture, Row } from '../../control/overview/picture';
import {
  type Column,
  cellText,
  filterRows,
  rowsOf,
  SECTION_NAMES,
  SECTIONS,
  type SectionName,
  sortRows,
} from '../../control/overview/sections';
import { scaled, whole } from '../../control/overview/text';
import type { ToolIo } from '../io';
import { PictureSource } from './source';
import type { View } from './view';

const GAP = '  ';

export interface PlainOptions {
  readonly socketPath: string;
  readonly view: View;
  /** null: all of them. */
  readonly section: SectionName | null;
  readonly json: boolean;
  /** 0: without end. */
  readonly count: number;
  /** Most rows of a section; 0: all. */
  readonly limit: number;
}

function rowsShown(picture: Picture, name: SectionName, options: PlainOptions): readonly Row[] {
  const { filter, orders } = options.view;
  const found = filterRows(rowsOf(picture, name), SECTIONS[name].columns, filter);
  return sortRows(found, orders[name]);
}

function sectionText(picture: Picture, name: SectionName, options: PlainOptions): string {
  const { columns, title } = SECTIONS[name];
  const rows = rowsShown(picture, name, options);
  const shown = options.limit === 0 ? rows : rows.slice(0, options.limit);
  const lines = tableLines(columns, shown);
  const more = rows.length - shown.length;
  if (more > 0) lines.push(`... and ${whole(more)} more`);
  return `${title}\n${lines.join('\n')}\n`;
}

function tableLines(columns: readonly Column[], rows: readonly Row[]): string[] {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ key, kind }) => cellText(row[key], kind))),
  ];
  const widths = columns.map((_column, at) =>
    cells.reduce((most, line) => Math.max(most, line[at]!.length), 0),
  );
  return cells.map((line) =>
    line
      .map((text, at) =>
        columns[at]!.kind === 'text' ? text.padEnd(widths[at]!) : text.padStart(widths[at]!),
      )
      .join(GAP)
      .trimEnd(),
  );
}

function headText({ unixMs, seconds, totals, tables, interfaces }: Picture): string {
  const used = tables.map(
    ({ name, used: now, capacity }) => `${name} ${whole(now)} of ${whole(capacity)}`,
  );
  const links = interfaces.map(({ name, up }) => `${name} ${up ? 'up' : 'DOWN'}`);
  return `${new Date(unixMs).toISOString()}  over ${seconds.toFixed(1)} s  ${links.join(' ')}
in ${scaled(totals.inPackets)} pkt/s ${scaled(totals.inBits)} bit/s, out ${scaled(
    totals.outPackets,
  )} pkt/s ${scaled(totals.outBits)} bit/s, new ${scaled(totals.connections)}/s, drops ${scaled(
    totals.drops,
  )}/s, to the host ${scaled(totals.host)}/s
${used.join(', ')}
`;
}

function pictureText(picture: Picture, options: PlainOptions): string {
  const names = options.section === null ? SECTION_NAMES : [options.section];
  const sections = names.map((name) => sectionText(picture, name, options));
  return [headText(picture), ...sections].join('\n');
}

/** One line. Rates that are not known are null. */
function pictureJson(picture: Picture, options: PlainOptions): string {
  const names = options.section === null ? SECTION_NAMES : [options.section];
  const sections = names.map((name) => {
    const rows = rowsShown(picture, name, options);
    return [name, options.limit === 0 ? rows : rows.slice(0, options.limit)];
  });
  const { unixMs, seconds, totals, tables, interfaces } = picture;
  const head = { unixMs, seconds, totals, tables, interfaces };
  return `${JSON.stringify({ ...head, ...Object.fromEntries(sections) })}\n`;
}

/** Two overviews make the first picture: it comes after one interval. */
export async function runPlain(options: PlainOptions, io: ToolIo): Promise<number> {
  const { section, count, view } = options;
  const servers = section === null || section === 'servers' ? 'all' : 'none';
  const source = new PictureSource(options.socketPath);
  try {
    await source.next(servers);
    for (let shown = 0; count === 0 || shown < count; shown++) {
      await sleep(view.intervalMs);
      const picture = await source.next(servers);
      if (shown > 0 && !options.json) io.stdout('\n');
      io.stdout(options.json ? pictureJson(picture, options) : pictureText(picture, options));
    }
  } finally {
    source.close();
  }
  return 0;
}
