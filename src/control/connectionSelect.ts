/**
 * Connections that fit a query, sorted, cut and written as JSON; or counted. Runs in the pool's
 * thread on the shared table while workers change it: an entry is judged when it is chosen, and
 * again on a copy of its line when it is written, so that a row never shows what the query
 * excludes. Choosing takes four bytes an entry, twelve where it sorts; rows are written some at a
 * time, so that text never grows with the table.
 */
import { CONNECTION, type ConnectionTable, ENTRY_SHIFT } from '../table/connection';
import type { RealServerTable } from '../table/realServer';
import { TICKS_PER_SECOND } from '../table/setting';
import { formatKey, type Key, KeyReader } from './connectionKey';
import {
  EntryAddress,
  EntryCopy,
  type EntryWords,
  LISTED_STATES,
  listConnection,
  listedKind,
  listedState,
} from './connectionListing';
import { type EndpointFilter, parseEndpointFilter, parseNetwork } from './connectionQuery';
import type { ConnectionCounts, ConnectionQuery } from './protocol';

const AT = CONNECTION.at;
const INT32_MAX = 2 ** 31 - 1;

type Fits = (words: EntryWords, entry: number) => boolean;

function fitsEndpoint(filter: EndpointFilter, address: EntryAddress, port: number): boolean {
  if (address.family !== filter.family || (filter.port >= 0 && filter.port !== port)) return false;
  for (let word = 0; word < 4; word++) {
    if ((address.words[word]! & filter.mask[word]!) !== filter.address[word]) return false;
  }
  return true;
}

/** Does an entry fit, and live at `tick`? */
function compile(query: ConnectionQuery, tick: number, address: EntryAddress): Fits {
  const client = query.client === undefined ? null : parseNetwork('client', query.client);
  const service =
    query.service === undefined ? null : parseEndpointFilter('service', query.service);
  const server = query.server === undefined ? null : parseEndpointFilter('server', query.server);
  const state = query.state === undefined ? -1 : LISTED_STATES.indexOf(query.state);
  const most = query.expiresWithin ?? INT32_MAX / TICKS_PER_SECOND;
  const mostTicks = most * TICKS_PER_SECOND;
  const leastTicks = (query.expiresAfter ?? 0) * TICKS_PER_SECOND;
  const judgesAge = query.older !== undefined || query.younger !== undefined;
  const oldTicks = (query.older ?? 0) * TICKS_PER_SECOND;
  const youngTicks = (query.younger ?? INT32_MAX / TICKS_PER_SECOND) * TICKS_PER_SECOND;
  return (words, entry) => {
    const { entries } = words;
    const at = entry << ENTRY_SHIFT;
    if (listedKind(words, entry) === 0) return false;
    const left = (entries[at + AT.expiresAt]! - tick) | 0;
    if (left <= 0 || left < leastTicks || left > mostTicks) return false;
    if (judgesAge) {
      // Made since the query began: as new as can be.
      const age = Math.max(0, (tick - words.born[entry]!) | 0);
      if (age < oldTicks || age >= youngTicks) return false;
    }
    if (state >= 0 && listedState(entries[at + AT.state]!) !== state) return false;
    const ports = entries[at + AT.clientPorts]!;
    if (client !== null) {
      address.read(words, entry, 'client');
      if (!fitsEndpoint(client, address, 0)) return false;
    }
    if (service !== null) {
      address.read(words, entry, 'virtual');
      if (!fitsEndpoint(service, address, ports & 0xffff)) return false;
    }
    if (server === null) return true;
    address.read(words, entry, 'real');
    return fitsEndpoint(server, address, entries[at + AT.replyPorts]! >>> 16);
  };
}

/** JSON, as UTF-8, of ConnectionCounts; `query.count` is set. */
export function countConnections(
  table: ConnectionTable,
  tick: number,
  query: ConnectionQuery,
  servers: RealServerTable | null = null,
): Uint8Array<ArrayBuffer> {
  const address = new EntryAddress(servers);
  const fits = compile(query, tick, address);
  const counted = count(table, fits, query, new KeyReader(tick, address));
  return new TextEncoder().encode(JSON.stringify(counted));
}

/** Numbers of the entries that fit, in their order, whatever the query's limit. */
export function chooseConnections(
  table: ConnectionTable,
  tick: number,
  query: ConnectionQuery,
  servers: RealServerTable | null = null,
): Int32Array<ArrayBuffer> {
  const address = new EntryAddress(servers);
  const fits = compile(query, tick, address);
  // A copy: what it is part of has room for every entry.
  return choose(table, fits, query, new KeyReader(tick, address)).slice();
}

/** Of some chosen entries those that still fit: rows of a ConnectionList, commas between. */
export function writeConnections(
  table: ConnectionTable,
  tick: number,
  query: ConnectionQuery,
  chosen: Int32Array,
  servers: RealServerTable | null = null,
): Uint8Array<ArrayBuffer> {
  const address = new EntryAddress(servers);
  const fits = compile(query, tick, address);
  const copy = new EntryCopy();
  const rows: string[] = [];
  for (const entry of chosen) {
    copy.take(table, entry);
    const row = fits(copy, 0) ? listConnection(copy, 0, tick, address) : null;
    if (row !== null) rows.push(JSON.stringify(row));
  }
  return new TextEncoder().encode(rows.join(','));
}

/** Entries that fit, in the table's order or the query's. */
function choose(
  table: ConnectionTable,
  fits: Fits,
  query: ConnectionQuery,
  reader: KeyReader,
): Int32Array<ArrayBuffer> {
  const { usedEnd } = table;
  const found = new Int32Array(usedEnd);
  const { sort } = query;
  const numbers = sort === undefined ? new Float64Array(0) : new Float64Array(usedEnd);
  // Of IPv6 addresses; they stand after all numbers.
  const texts = new Map<number, string>();
  let length = 0;
  for (let entry = 1; entry < usedEnd; entry++) {
    if (!fits(table, entry)) continue;
    found[length++] = entry;
    if (sort === undefined) continue;
    const key = reader.sortKey(table, entry, sort);
    if (typeof key === 'number') numbers[entry] = key;
    else {
      numbers[entry] = Number.POSITIVE_INFINITY;
      texts.set(entry, key);
    }
  }
  const chosen = found.subarray(0, length);
  if (sort === undefined) return query.reverse ? chosen.reverse() : chosen;
  // Keys are copies: an entry that changes meanwhile does not confuse the sorting.
  const sign = query.reverse ? -1 : 1;
  const compareTexts = (left: number, right: number): number => {
    const [one, other] = [texts.get(left)!, texts.get(right)!];
    return one === other ? 0 : one < other ? -1 : 1;
  };
  return chosen.sort((left, right) => {
    const [one, other] = [numbers[left]!, numbers[right]!];
    const order = one === other && one === Infinity ? compareTexts(left, right) : one - other;
    return sign * order || left - right;
  });
}

function count(
  table: ConnectionTable,
  fits: Fits,
  query: ConnectionQuery,
  reader: KeyReader,
): ConnectionCounts {
  const { usedEnd } = table;
  const by = query.count === 'all' ? undefined : query.count;
  const groups = new Map<Key, number>();
  let total = 0;
  for (let entry = 1; entry < usedEnd; entry++) {
    if (!fits(table, entry)) continue;
    total++;
    if (by === undefined) continue;
    const key = reader.groupKey(table, entry, by);
    groups.set(key, (groups.get(key) ?? 0) + 1);
  }
  const ordered = [...groups].sort(
    ([one, ones], [other, others]) => others - ones || compareKeys(one, other),
  );
  const limit = query.limit === undefined || query.limit === 0 ? ordered.length : query.limit;
  return {
    total,
    groups: ordered
      .slice(0, limit)
      .map(([key, connections]) => ({ key: formatKey(key, by!), connections })),
  };
}

/** IPv4 before IPv6. */
function compareKeys(one: Key, other: Key): number {
  if (typeof one !== typeof other) return typeof one === 'number' ? -1 : 1;
  return one === other ? 0 : one < other ? -1 : 1;
}
