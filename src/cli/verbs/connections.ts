/**
 * `xvs connections`: what `xvsadm -Lc` shows, filtered, sorted and counted by the daemon beside the
 * table, so that only the answer crosses the socket.
 */
import { GROUPS, SORT_KEYS } from '../../control/connectionKeys';
import type { ConnectionCounts, ConnectionList } from '../../control/protocol';
import { NUMERIC_NAMES } from '../names';
import { printConnections } from '../printConnections';
import { ask, LineError, readOptions, type Verb, wholeNumber } from './verb';

const HELP = `usage: xvs connections [filter ...] [--sort KEY] [--reverse] [--limit N] [--json]
       xvs connections [filter ...] --count [--by GROUP] [--limit N] [--json]

Lists connections that fit every filter given, in the table's order.

  --client A[/LEN]      from this client, or this network
  --service A[:PORT]    to this virtual service; an IPv6 address with a port as [A]:PORT
  --server A[:PORT]     at this real server
  --state STATE         ESTABLISHED, SYN_RECV, FIN_WAIT, TIME_WAIT, CLOSE, UDP, ...
  --expires-after N     with at least N seconds left, if no packet comes
  --expires-within N    with at most N seconds left
  --older N             made N seconds ago or earlier
  --younger N           made less than N seconds ago

  --sort KEY            ${SORT_KEYS.join(', ')}
  --reverse             the other way round
  --limit N             at most N rows
  --count               how many, instead of which
  --by GROUP            count by ${GROUPS.join(', ')}, the largest first
  --json                the answer as JSON, with each connection's age

The time that is left is set back by every packet to the timeout of the connection's state
(\`xvsadm -L --timeout\`); a connection's age only grows. A persistence template is as old as the
first connection of its client.
`;

const OPTIONS = {
  client: 'A[/LEN]',
  service: 'A[:PORT]',
  server: 'A[:PORT]',
  state: 'STATE',
  'expires-after': 'N',
  'expires-within': 'N',
  older: 'N',
  younger: 'N',
  sort: 'KEY',
  limit: 'N',
  by: 'GROUP',
  reverse: 'flag',
  count: 'flag',
  json: 'flag',
};
const SECONDS_MAX = 214_748_364;
const ROWS_MAX = 2 ** 31 - 1;

function oneOf(name: string, value: string, allowed: readonly string[]): string {
  if (allowed.includes(value)) return value;
  throw new LineError(`--${name} ${value}: allowed are ${allowed.join(', ')}`);
}

/** Options in seconds, and what the request calls them. */
const SECONDS: Readonly<Record<string, string>> = {
  'expires-after': 'expiresAfter',
  'expires-within': 'expiresWithin',
  older: 'older',
  younger: 'younger',
};

/** The query of the request. Throws LineError. */
export function queryOf(words: readonly string[]): { query: string; json: boolean } {
  const { flags, values, rest } = readOptions(words, OPTIONS);
  if (rest.length > 0) throw new LineError(`connections: "${rest[0]}" is no option`);
  const query = new URLSearchParams();
  for (const name of ['client', 'service', 'server', 'state']) {
    const value = values.get(name);
    if (value !== undefined) query.set(name, value);
  }
  for (const [name, key] of Object.entries(SECONDS)) {
    const value = values.get(name);
    if (value !== undefined) query.set(key, String(wholeNumber(name, value, 0, SECONDS_MAX)));
  }
  const limit = values.get('limit');
  if (limit !== undefined) query.set('limit', String(wholeNumber('limit', limit, 1, ROWS_MAX)));
  const sort = values.get('sort');
  const by = values.get('by');
  if (flags.has('count')) {
    if (sort !== undefined) throw new LineError('--sort: not with --count');
    query.set('count', by === undefined ? 'all' : oneOf('by', by, GROUPS));
  } else {
    if (by !== undefined) throw new LineError('--by: only with --count');
    if (sort !== undefined) query.set('sort', oneOf('sort', sort, SORT_KEYS));
    if (flags.has('reverse')) query.set('reverse', '1');
  }
  return { query: query.size > 0 ? `?${query}` : '', json: flags.has('json') };
}

function printCounts({ total, groups }: ConnectionCounts): string {
  const width = String(total).length;
  const rows = groups.map(
    ({ key, connections }) => `${String(connections).padStart(width)} ${key}\n`,
  );
  return `${rows.join('')}${total} connections\n`;
}

function printList({ connections, total = connections.length }: ConnectionList): string {
  const table = printConnections(connections, false, NUMERIC_NAMES);
  return `${table}${connections.length} of ${total} connections\n`;
}

export const verb: Verb = {
  help: HELP,
  async run(words, { io, socketPath }) {
    const { query, json } = queryOf(words);
    const answer = await ask(socketPath, 'GET', `/v1/connections${query}`);
    if (json) io.stdout(`${JSON.stringify(answer)}\n`);
    else if ((answer as ConnectionCounts).groups !== undefined) {
      io.stdout(printCounts(answer as ConnectionCounts));
    } else io.stdout(printList(answer as ConnectionList));
    return 0;
  },
};
