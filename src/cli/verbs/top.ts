/** `xvs top`: services, real servers, workers and drops of a running director, live. */
import {
  firstOrder,
  type Order,
  SECTION_NAMES,
  SECTIONS,
  type SectionName,
} from '../../control/overview/sections';
import { firstView, INTERVAL_MAX_MS, INTERVAL_MIN_MS, type View } from '../top/view';
import { LineError, readOptions, type Verb, wholeNumber } from './verb';

const HELP = `usage: xvs top [OPTION] ...

Shows services, real servers, workers and drops with their rates, renewed every other second. Keys:
1 to 4 choose the section, s sorts by the next column, r turns the order round, / filters, Space
pauses, ? lists them all, q ends. Where standard output is no terminal, one of --once, --count and
--json is needed.

  --once          one picture as plain text, over one interval
  --json          pictures as JSON, one a line; one of them without --count
  --interval S    seconds between two pictures, 0.2 to 3600 (default 2, with --once and --json 1)
  --count N       end after N pictures
  --section NAME  services, servers, workers or drops: which to begin with, or the only one of plain
                  text and JSON
  --sort COLUMN   by a column of that section, as its title has it; "-" before it turns it round
  --filter TEXT   only rows that have every word of it
  --limit N       most rows of a section of plain text and JSON, 0 for all (default 0)
`;

const OPTIONS = {
  once: 'flag',
  json: 'flag',
  interval: 'S',
  count: 'N',
  section: 'NAME',
  sort: 'COLUMN',
  filter: 'TEXT',
  limit: 'N',
} as const;
const INTERVAL_LIVE_MS = 2000;
const INTERVAL_PLAIN_MS = 1000;
const COUNT_MAX = 1_000_000_000;

function readInterval(text: string): number {
  const value = /^[0-9]{1,4}(\.[0-9]{1,3})?$/.test(text) ? Number(text) * 1000 : Number.NaN;
  if (value >= INTERVAL_MIN_MS && value <= INTERVAL_MAX_MS) return value;
  const allowed = `${INTERVAL_MIN_MS / 1000} to ${INTERVAL_MAX_MS / 1000} seconds are allowed`;
  throw new LineError(`--interval ${text}: ${allowed}`);
}

function readSection(text: string | undefined): SectionName | null {
  if (text === undefined) return null;
  const found = SECTION_NAMES.find((name) => name === text);
  if (found !== undefined) return found;
  throw new LineError(`--section ${text}: allowed are ${SECTION_NAMES.join(', ')}`);
}

function readOrder(section: SectionName, text: string): Order {
  const { columns } = SECTIONS[section];
  const wanted = text.replace(/^-/, '').toUpperCase();
  const column = columns.find(({ title }) => title === wanted);
  if (column === undefined) {
    const titles = columns.map(({ title }) => `"${title}"`).join(', ');
    throw new LineError(`--sort ${text}: columns of ${section} are ${titles}`);
  }
  const { key, descending } = firstOrder(column);
  return { key, descending: descending !== text.startsWith('-') };
}

interface Asked {
  readonly view: View;
  readonly section: SectionName | null;
  readonly plain: boolean;
  readonly json: boolean;
  readonly count: number;
  readonly limit: number;
}

function read(words: readonly string[], isTerminal: boolean): Asked {
  const { flags, values, rest } = readOptions(words, OPTIONS);
  if (rest.length > 0) throw new LineError(`top ${rest[0]}: only options are allowed`);
  const json = flags.has('json');
  const number = (name: string, standard: number): number => {
    const text = values.get(name);
    return text === undefined ? standard : wholeNumber(name, text, 0, COUNT_MAX);
  };
  const once = flags.has('once');
  if (once && values.has('count'))
    throw new LineError('--once and --count: one of them is allowed');
  const plain = once || json || !isTerminal;
  if (plain && !once && !json && !values.has('count')) {
    throw new LineError('top: standard output is no terminal; say --once, --count N or --json');
  }
  const section = readSection(values.get('section'));
  const sort = values.get('sort');
  if (sort !== undefined && section === null && plain) {
    throw new LineError(`--sort ${sort}: --section has to say of what`);
  }
  const interval = values.get('interval');
  const standard = plain ? INTERVAL_PLAIN_MS : INTERVAL_LIVE_MS;
  const shown = section ?? 'services';
  const view = firstView(shown, interval === undefined ? standard : readInterval(interval));
  const orders = sort === undefined ? {} : { [shown]: readOrder(shown, sort) };
  return {
    view: {
      ...view,
      filter: values.get('filter') ?? '',
      orders: { ...view.orders, ...orders },
    },
    ...{ section, plain, json },
    count: number('count', once || json ? 1 : 0),
    limit: number('limit', 0),
  };
}

export const verb: Verb = {
  help: HELP,
  run(words, { io, socketPath }) {
    const { plain, ...asked } = read(words, process.stdout.isTTY && process.stdin.isTTY);
    if (plain) {
      const { runPlain } = require('../top/plain') as typeof import('../top/plain');
      return runPlain({ ...asked, socketPath }, io);
    }
    const { runLive } = require('../top/live') as typeof import('../top/live');
    const colours = (io.environment['NO_COLOR'] ?? '') === '';
    return runLive({ view: asked.view, count: asked.count, socketPath, colours });
  },
};
