/** What the operator has chosen to see in `xvs top`, and what each key makes of it. */
import {
  firstOrder,
  type Order,
  SECTION_NAMES,
  SECTIONS,
  type SectionName,
} from '../../control/overview/sections';

export const INTERVAL_MIN_MS = 200;
export const INTERVAL_MAX_MS = 3_600_000;
const INTERVALS_MS = [200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000] as const;

export interface View {
  readonly section: SectionName;
  readonly orders: Readonly<Record<SectionName, Order>>;
  readonly filter: string;
  /** What is being typed as a filter; null: nothing is. */
  readonly draft: string | null;
  /** Real servers of this service only; null: of all. */
  readonly service: string | null;
  readonly paused: boolean;
  readonly help: boolean;
  readonly intervalMs: number;
  /** Id of the row under the bar; null: there is no bar, the list shows its beginning. */
  readonly selected: string | null;
}

export function firstView(section: SectionName, intervalMs: number): View {
  const orders = Object.fromEntries(
    SECTION_NAMES.map((name) => [name, SECTIONS[name].order]),
  ) as Record<SectionName, Order>;
  return {
    ...{ section, orders, intervalMs, filter: '', draft: null, service: null },
    ...{ paused: false, help: false, selected: null },
  };
}

/** What there is to move over: ids of all rows in order, and how many lines show some of them. */
export interface Listed {
  readonly ids: readonly string[];
  readonly height: number;
}

/** Keys and what they do, for the help. */
export const KEYS: readonly (readonly [string, string])[] = [
  ['1 2 3 4', 'services, servers, workers, drops; Tab goes to the next'],
  ['s  S', 'sort by the next, the previous column'],
  ['r', 'turn the order round'],
  ['/', 'filter: rows that have every word; Enter keeps it, Escape drops it'],
  ['Up Down', 'move the bar; PgUp, PgDn, Home, End as well'],
  ['Enter', 'on a service: its real servers'],
  ['Escape', 'without bar, then all services, then no filter'],
  ['Space', 'pause, and go on'],
  ['+  -', 'more often, less often'],
  ['?', 'this help, and back'],
  ['q', 'end; Control-C too'],
];

/** `view` after a key; 'quit', 'suspend' and 'redraw' are the caller's matter. */
export function press(
  view: View,
  key: string,
  listed: Listed,
): View | 'quit' | 'suspend' | 'redraw' {
  if (key === 'interrupt') return 'quit';
  if (key === 'suspend' || key === 'redraw') return key;
  if (view.draft !== null) return edit(view, view.draft, key);
  if (view.help) return key === 'q' ? 'quit' : { ...view, help: false };
  const section = SECTION_NAMES[Number(key) - 1];
  if (section !== undefined) return choose(view, section);
  switch (key) {
    case 'q':
      return 'quit';
    case '?':
    case 'h':
      return { ...view, help: true };
    case ' ':
    case 'p':
      return { ...view, paused: !view.paused };
    case '/':
      return { ...view, draft: view.filter };
    case 'escape':
      return stepBack(view);
    case 'tab':
    case 'right':
      return choose(view, neighbour(SECTION_NAMES, view.section, 1));
    case 'back-tab':
    case 'left':
      return choose(view, neighbour(SECTION_NAMES, view.section, -1));
    case 'enter':
      if (view.section !== 'services' || view.selected === null) return view;
      return { ...choose(view, 'servers'), service: view.selected, filter: '' };
    case '+':
    case '-':
      return { ...view, intervalMs: nextInterval(view.intervalMs, key === '+') };
    default:
      return orderOrMove(view, key, listed);
  }
}

function orderOrMove(view: View, key: string, { ids, height }: Listed): View {
  const page = Math.max(1, height - 1);
  switch (key) {
    case 's':
    case '>':
      return sortBy(view, 1);
    case 'S':
    case '<':
      return sortBy(view, -1);
    case 'r': {
      const { key: column, descending } = view.orders[view.section];
      return withOrder(view, { key: column, descending: !descending });
    }
    case 'up':
      return move(view, ids, -1);
    case 'down':
      return move(view, ids, 1);
    case 'page-up':
      return move(view, ids, -page);
    case 'page-down':
      return move(view, ids, page);
    case 'home':
      return move(view, ids, -ids.length);
    case 'end':
      return move(view, ids, ids.length);
    default:
      return view;
  }
}

/** Columns may be sorted by, whether the terminal has room for them or not. */
function sortBy(view: View, step: 1 | -1): View {
  const { columns } = SECTIONS[view.section];
  const sorted = columns.find(({ key }) => key === view.orders[view.section].key)!;
  return withOrder(view, firstOrder(neighbour(columns, sorted, step)));
}

function withOrder(view: View, order: Order): View {
  return { ...view, orders: { ...view.orders, [view.section]: order } };
}

function choose(view: View, section: SectionName): View {
  if (section === view.section) return view;
  return { ...view, section, selected: null, service: null };
}

function stepBack(view: View): View {
  if (view.selected !== null) return { ...view, selected: null };
  if (view.service !== null) return { ...view, service: null };
  return { ...view, filter: '' };
}

function edit(view: View, draft: string, key: string): View {
  if (key === 'enter') return { ...view, filter: draft, draft: null, selected: null };
  if (key === 'escape') return { ...view, draft: null };
  if (key === 'backspace') return { ...view, draft: [...draft].slice(0, -1).join('') };
  if (key === 'clear') return { ...view, draft: '' };
  return [...key].length === 1 ? { ...view, draft: draft + key } : view;
}

function move(view: View, ids: readonly string[], by: number): View {
  if (ids.length === 0) return { ...view, selected: null };
  const at = view.selected === null ? -1 : ids.indexOf(view.selected);
  // The first key brings the bar: down to the first row, whatever was asked.
  const from = at < 0 && by > 0 ? -1 : Math.max(0, at);
  const to = Math.min(ids.length - 1, Math.max(0, from + by));
  return { ...view, selected: ids[to]! };
}

function neighbour<Item>(items: readonly Item[], item: Item, step: 1 | -1): Item {
  return items[(items.indexOf(item) + step + items.length) % items.length]!;
}

/** `faster`: the next shorter of the usual intervals. */
function nextInterval(intervalMs: number, faster: boolean): number {
  const found = faster
    ? INTERVALS_MS.findLast((usual) => usual < intervalMs)
    : INTERVALS_MS.find((usual) => usual > intervalMs);
  return found ?? intervalMs;
}
