/**
 * The sections of `xvs top` and of the web page: their columns, and how rows are sorted and
 * filtered. Runs in the browser too.
 */
import type { Picture, Row } from './picture';
import { scaled, share, whole } from './text';

export type SectionName = 'services' | 'servers' | 'workers' | 'drops';
export const SECTION_NAMES: readonly SectionName[] = ['services', 'servers', 'workers', 'drops'];

/** text, or how a number is written: see text.ts. */
export type ColumnKind = 'text' | 'whole' | 'scaled' | 'share';

export interface Column {
  readonly key: string;
  readonly title: string;
  readonly kind: ColumnKind;
  /** Where there is no room, columns of a higher rank go first. */
  readonly rank: number;
}

export interface Section {
  readonly name: SectionName;
  readonly title: string;
  readonly columns: readonly Column[];
  readonly order: Order;
}

export interface Order {
  readonly key: string;
  readonly descending: boolean;
}

const column = (key: string, title: string, kind: ColumnKind, rank: number): Column => ({
  ...{ key, title, kind, rank },
});

/** Of each second. */
const TRAFFIC = [
  column('connections', 'NEW', 'scaled', 2),
  column('inPackets', 'IN PKT', 'scaled', 3),
  column('outPackets', 'OUT PKT', 'scaled', 4),
  column('inBits', 'IN BIT', 'scaled', 1),
  column('outBits', 'OUT BIT', 'scaled', 1),
] as const;

export const SECTIONS: Readonly<Record<SectionName, Section>> = {
  services: {
    name: 'services',
    title: 'Services',
    order: { key: 'inPackets', descending: true },
    columns: [
      column('service', 'SERVICE', 'text', 0),
      column('scheduler', 'SCHED', 'text', 5),
      column('servers', 'SERVERS', 'whole', 5),
      column('active', 'ACTIVE', 'whole', 2),
      column('inactive', 'INACT', 'whole', 4),
      ...TRAFFIC,
      column('connectionsTotal', 'CONNS', 'scaled', 6),
    ],
  },
  servers: {
    name: 'servers',
    title: 'Servers',
    order: { key: 'inPackets', descending: true },
    columns: [
      column('server', 'SERVER', 'text', 0),
      column('service', 'SERVICE', 'text', 2),
      column('method', 'METHOD', 'text', 4),
      column('weight', 'WEIGHT', 'whole', 3),
      column('state', 'STATE', 'text', 3),
      column('active', 'ACTIVE', 'whole', 2),
      column('inactive', 'INACT', 'whole', 4),
      ...TRAFFIC,
      column('connectionsTotal', 'CONNS', 'scaled', 6),
    ],
  },
  workers: {
    name: 'workers',
    title: 'Workers',
    order: { key: 'worker', descending: false },
    columns: [
      column('worker', 'WORKER', 'whole', 0),
      column('load', 'LOAD', 'share', 0),
      ...TRAFFIC,
      column('burst', 'BURST', 'scaled', 2),
      column('sleeps', 'SLEEPS', 'scaled', 4),
      column('ended', 'ENDED', 'scaled', 5),
      column('freeChunks', 'FREE', 'whole', 3),
      column('chunks', 'CHUNKS', 'whole', 5),
      column('waiting', 'WAITING', 'whole', 4),
    ],
  },
  drops: {
    name: 'drops',
    title: 'Drops',
    order: { key: 'total', descending: true },
    columns: [
      column('kind', 'KIND', 'text', 1),
      column('reason', 'REASON', 'text', 0),
      column('rate', 'RATE', 'scaled', 0),
      column('total', 'TOTAL', 'whole', 0),
      column('meaning', 'MEANING', 'text', 2),
    ],
  },
};

export function rowsOf(picture: Picture, section: SectionName): readonly Row[] {
  return picture[section];
}

/** A value as its column writes it. */
export function cellText(value: string | number | undefined, kind: ColumnKind): string {
  if (typeof value === 'string') return value;
  const number = value ?? Number.NaN;
  if (kind === 'whole') return whole(number);
  return kind === 'share' ? share(number) : scaled(number);
}

const byName = new Intl.Collator('en', { numeric: true }).compare;

/** Unknown values last, whichever way it goes; equal ones by their id, so that rows stand still. */
export function sortRows(rows: readonly Row[], { key, descending }: Order): Row[] {
  const direction = descending ? -1 : 1;
  return rows.toSorted((one, other) => {
    const a = one[key];
    const b = other[key];
    if (a === b) return one.id < other.id ? -1 : 1;
    if (typeof a === 'string' || typeof b === 'string') {
      return direction * byName(String(a), String(b)) || (one.id < other.id ? -1 : 1);
    }
    const [left, right] = [a ?? Number.NaN, b ?? Number.NaN];
    if (Number.isNaN(left) || Number.isNaN(right)) {
      if (Number.isNaN(left) === Number.isNaN(right)) return one.id < other.id ? -1 : 1;
      return Number.isNaN(left) ? 1 : -1;
    }
    return direction * (left - right);
  });
}

/** Rows that have every word of `text` in one of their texts, in letters of either case. */
export function filterRows(
  rows: readonly Row[],
  columns: readonly Column[],
  text: string,
): readonly Row[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  if (words.length === 0) return rows;
  const keys = columns.filter(({ kind }) => kind === 'text').map(({ key }) => key);
  return rows.filter((row) => {
    const texts = keys.map((key) => String(row[key]).toLowerCase()).join('\n');
    return words.every((word) => texts.includes(word));
  });
}

/** How a column is sorted when it is chosen: the largest numbers first, or from A to Z. */
export function firstOrder(column: Column): Order {
  return { key: column.key, descending: column.kind !== 'text' };
}
