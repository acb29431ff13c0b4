/**
 * Connections that fit a query, sorted, cut and written as JSON; or counted. Runs in the pool's
 * thread on the shared table while workers change it: an entry is judged on a copy of its line, and
 * again when it is written, so that a row never shows what the query excludes.
 */
import { formatIpv4 } from '../net/address';
import { CONNECTION, type ConnectionTable, templateKind } from '../table/connection';
import { TICKS_PER_SECOND } from '../table/setting';
import { type EndpointFilter, parseEndpointFilter, parseNetwork } from './connectionQuery';
import { LISTED_STATES, listConnection, listedState } from './listing';
import type { ConnectionCounts, ConnectionGroup, ConnectionQuery } from './protocol';

const AT = CONNECTION.at;
const SHIFT = 4;
const PORTS = 65536;
/** Rows that are put into one piece of the answer. */
const PIECE_ROWS = 4096;
const INT32_MAX = 2 ** 31 - 1;

type Fits = (words: Int32Array, at: number) => boolean;

function fitsEndpoint(filter: EndpointFilter, address: number, port: number): boolean {
  return (address & filter.mask) === filter.address && (filter.port < 0 || filter.port === port);
}

/** Does the entry whose words begin at `at` fit, and live at `tick`? */
function compile(query: ConnectionQuery, tick: number): Fits {
  const client = query.client === undefined ? null : parseNetwork('client', query.client);
  const service =
    query.service === undefined ? null : parseEndpointFilter('service', query.service);
  const server = query.server === undefined ? null : parseEndpointFilter('server', query.server);
  const state = query.state === undefined ? -1 : LISTED_STATES.indexOf(query.state);
  const most = query.expiresWithin ?? INT32_MAX / TICKS_PER_SECOND;
  const mostTicks = most * TICKS_PER_SECOND;
  const leastTicks = (query.expiresAfter ?? 0) * TICKS_PER_SECOND;
  return (words, at) => {
    if ((words[at + AT.identity]! & 0xff) === 0) return false;
    const left = (words[at + AT.expiresAt]! - tick) | 0;
    if (left <= 0 || left < leastTicks || left > mostTicks) return false;
    if (state >= 0 && listedState(words[at + AT.state]!) !== state) return false;
    const ports = words[at + AT.clientPorts]!;
    if (client !== null && !fitsEndpoint(client, words[at + AT.client]!, 0)) return false;
    if (service !== null && !fitsEndpoint(service, words[at + AT.virtual]!, ports & 0xffff)) {
      return false;
    }
    const realPort = words[at + AT.replyPorts]! >>> 16;
    return server === null || fitsEndpoint(server, words[at + AT.real]!, realPort);
  };
}

/** What an entry is sorted or counted by, as one exact number; formatKey reads it. */
function keyOf(words: Int32Array, at: number, by: ConnectionGroup): number {
  const protocol = words[at + AT.identity]! & 0xff;
  const endpoint = (address: number, port: number): number =>
    // 32 + 16 + 2 bits: exact in a double.
    ((address >>> 0) * PORTS + port) * 4 + PROTOCOL_ORDER[protocol]!;
  const ports = words[at + AT.clientPorts]!;
  switch (by) {
    case 'client':
      return words[at + AT.client]! >>> 0;
    case 'service':
      return endpoint(words[at + AT.virtual]!, ports & 0xffff);
    case 'server':
      return endpoint(words[at + AT.real]!, words[at + AT.replyPorts]! >>> 16);
    case 'state':
      return listedState(words[at + AT.state]!);
  }
}

const PROTOCOL_NAMES: readonly string[] = ['ip', 'tcp', 'udp', 'sctp'];
/** Index in PROTOCOL_NAMES by the number in an identity; templates have kinds of their own. */
const PROTOCOL_ORDER = new Uint8Array(256);
for (const [at, protocol] of [6, 17, 132].entries()) {
  PROTOCOL_ORDER[protocol] = at + 1;
  PROTOCOL_ORDER[templateKind(protocol)] = at + 1;
}

function formatKey(key: number, by: ConnectionGroup): string {
  if (by === 'client') return formatIpv4(key | 0);
  if (by === 'state') return LISTED_STATES[key] ?? 'ERR!';
  const protocol = PROTOCOL_NAMES[key % 4]!;
  const endpoint = Math.floor(key / 4);
  return `${protocol} ${formatIpv4(Math.floor(endpoint / PORTS) | 0)}:${endpoint % PORTS}`;
}

/** JSON, as UTF-8, of a ConnectionList, or of ConnectionCounts when `query.count` is set. */
export function selectConnections(
  table: ConnectionTable,
  tick: number,
  query: ConnectionQuery,
): Uint8Array<ArrayBuffer> {
  const fits = compile(query, tick);
  if (query.count !== undefined) {
    return encode([JSON.stringify(count(table, fits, query))]);
  }
  const chosen = choose(table, fits, query, tick);
  const limit = query.limit === undefined || query.limit === 0 ? chosen.length : query.limit;
  const pieces = [`{"total":${chosen.length},"connections":[`];
  let rows: string[] = [];
  let comma = '';
  const words = new Int32Array(1 << SHIFT);
  for (const entry of chosen.subarray(0, limit)) {
    words.set(table.entries.subarray(entry << SHIFT, (entry + 1) << SHIFT));
    const row = fits(words, 0) ? listConnection(words, tick) : null;
    if (row === null) continue;
    rows.push(JSON.stringify(row));
    if (rows.length < PIECE_ROWS) continue;
    pieces.push(comma + rows.join(','));
    rows = [];
    comma = ',';
  }
  if (rows.length > 0) pieces.push(comma + rows.join(','));
  return encode([...pieces, ']}']);
}

/** Entries that fit, in the table's order or the query's. */
function choose(
  table: ConnectionTable,
  fits: Fits,
  query: ConnectionQuery,
  tick: number,
): Int32Array {
  const { entries, usedEnd } = table;
  const found = new Int32Array(usedEnd);
  const { sort } = query;
  const keys = sort === undefined ? new Float64Array(0) : new Float64Array(usedEnd);
  let length = 0;
  for (let entry = 1; entry < usedEnd; entry++) {
    const at = entry << SHIFT;
    if (!fits(entries, at)) continue;
    found[length++] = entry;
    if (sort === 'expires') keys[entry] = (entries[at + AT.expiresAt]! - tick) | 0;
    else if (sort === 'client') {
      keys[entry] = keyOf(entries, at, sort) * PORTS + (entries[at + AT.clientPorts]! >>> 16);
    } else if (sort !== undefined) keys[entry] = keyOf(entries, at, sort);
  }
  const chosen = found.subarray(0, length);
  if (sort === undefined) return query.reverse ? chosen.reverse() : chosen;
  // Keys are copies: an entry that changes meanwhile does not confuse the sorting.
  const sign = query.reverse ? -1 : 1;
  return chosen.sort((left, right) => sign * (keys[left]! - keys[right]!) || left - right);
}

function count(table: ConnectionTable, fits: Fits, query: ConnectionQuery): ConnectionCounts {
  const { entries, usedEnd } = table;
  const by = query.count === 'all' ? undefined : query.count;
  const groups = new Map<number, number>();
  let total = 0;
  for (let entry = 1; entry < usedEnd; entry++) {
    const at = entry << SHIFT;
    if (!fits(entries, at)) continue;
    total++;
    if (by === undefined) continue;
    const key = keyOf(entries, at, by);
    groups.set(key, (groups.get(key) ?? 0) + 1);
  }
  const ordered = [...groups].sort((left, right) => right[1] - left[1] || left[0] - right[0]);
  const limit = query.limit === undefined || query.limit === 0 ? ordered.length : query.limit;
  return {
    total,
    groups: ordered
      .slice(0, limit)
      .map(([key, connections]) => ({ key: formatKey(key, by!), connections })),
  };
}

/** One array of its own, which can be handed to another thread without a copy. */
function encode(pieces: readonly string[]): Uint8Array<ArrayBuffer> {
  const lengths = pieces.map((piece) => Buffer.byteLength(piece));
  const whole = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  const encoder = new TextEncoder();
  let at = 0;
  for (const [index, piece] of pieces.entries()) {
    encoder.encodeInto(piece, whole.subarray(at));
    at += lengths[index]!;
  }
  return whole;
}
