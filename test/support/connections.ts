/** Connection entries for tests: written as a worker would, from a key of few numbers. */

import {
  CONNECTION,
  type ConnectionBuffers,
  ConnectionTable,
  connectionHash,
  connectionHash6,
  EXTENSION,
  kindOf6,
  VACANCY_UNKNOWN,
} from '#xvs/table/connection';
import { INDEX } from '#xvs/table/connectionIndex';

const AT = CONNECTION.at;
const AT6 = EXTENSION.at;

export const SEED = 0x5eed;

/**
 * What tells one connection from another here; the rest follows from it. IPv6 addresses are made
 * of the same numbers: any of their words may be the only one that differs.
 */
export interface ConnectionKey {
  readonly family?: 4 | 6;
  readonly protocol: number;
  readonly client: number;
  readonly virtual: number;
  readonly ports: number;
}

/** Real server and reply ports of a key: one to one, so that replies differ as keys do. */
const realOf = (key: ConnectionKey): number => (key.virtual ^ 0x00ff00ff) | 0;
const replyPortsOf = (key: ConnectionKey): number =>
  ((((key.ports & 0xffff) + 1) & 0xffff) << 16) | (key.ports >>> 16);

/** Four words of the IPv6 address that stands for a number. */
export function wordsOf(number: number): number[] {
  const words = [0x20010db8, 0x11111111, 0x22222222, 0x33333333];
  words[number & 3]! ^= number;
  return words.map((word) => word | 0);
}

export function kindOf(key: ConnectionKey): number {
  return key.family === 6 ? kindOf6(key.protocol) : key.protocol;
}

/** Two addresses as a packet has them, at 0 and 16. */
function viewOf(source: number, destination: number): DataView {
  const view = new DataView(new ArrayBuffer(32));
  wordsOf(source).forEach((word, at) => {
    view.setInt32(at * 4, word);
  });
  wordsOf(destination).forEach((word, at) => {
    view.setInt32(16 + at * 4, word);
  });
  return view;
}

export function writeEntry(
  table: ConnectionTable,
  entry: number,
  key: ConnectionKey,
  owner: number,
  expiresAt: number,
): void {
  const words = table.entries;
  const at = entry << 4;
  const ends = {
    client: key.client,
    virtual: key.virtual,
    real: realOf(key),
    reply: key.client,
  };
  for (const name of ['client', 'virtual', 'real', 'reply'] as const) {
    const address = wordsOf(ends[name]);
    words[at + AT[name]] = key.family === 6 ? address[3]! : ends[name];
    if (key.family === 6) table.extension.set(address.slice(0, 3), at + AT6[name]);
  }
  words[at + AT.clientPorts] = key.ports;
  words[at + AT.replyPorts] = replyPortsOf(key);
  words[at + AT.expiresAt] = expiresAt;
  const generation = words[at + AT.identity]! & ~0xffff;
  words[at + AT.identity] = generation | (owner << 8) | kindOf(key);
}

/** `match` of an entry with a packet of these ends. */
export function matchOf(
  table: ConnectionTable,
  entry: number,
  key: ConnectionKey,
  tick: number,
): number {
  const { client, virtual, ports } = key;
  const kind = kindOf(key);
  return key.family === 6
    ? table.match6(entry, kind, viewOf(client, virtual), 0, 16, ports, tick)
    : table.match(entry, kind, client, virtual, ports, tick);
}

export function hashOf(key: ConnectionKey): number {
  const { client, virtual, ports } = key;
  const kind = kindOf(key);
  return key.family === 6
    ? connectionHash6(SEED, kind, viewOf(client, virtual), 0, 16, ports)
    : connectionHash(SEED, kind, client, virtual, ports);
}

/** What a search for the key in its bucket left, as the pipeline makes one before it inserts. */
export function vacancyOf(table: ConnectionTable, key: ConnectionKey): number {
  return table.candidate(hashOf(key)) === 0 ? table.vacancy : VACANCY_UNKNOWN;
}

function find(table: ConnectionTable, key: ConnectionKey, tick: number): number {
  const { client, virtual, ports } = key;
  const kind = kindOf(key);
  return key.family === 6
    ? table.find6(hashOf(key), kind, viewOf(client, virtual), 0, 16, ports, tick)
    : table.find(hashOf(key), kind, client, virtual, ports, tick);
}

/** The key's connection as a reply to it would be keyed. */
export function replyOf(key: ConnectionKey): ConnectionKey {
  return { ...key, client: realOf(key), virtual: key.client, ports: replyPortsOf(key) };
}

export function findByClient(table: ConnectionTable, key: ConnectionKey, tick: number): number {
  return find(table, key, tick);
}

export function findByReply(table: ConnectionTable, key: ConnectionKey, tick: number): number {
  return find(table, replyOf(key), tick);
}

/** Buffers with fewer buckets than the table would make: they overflow early. */
export function crowdedBuffers(capacity: number, buckets: number): ConnectionBuffers {
  return { ...ConnectionTable.buffers(capacity), buckets };
}

/** Index slots in use, and heads with a lock or an overflow count. */
export function indexState(table: ConnectionTable): { slots: number; heads: number } {
  let slots = 0;
  let heads = 0;
  for (let bucket = 0; bucket < table.buckets; bucket++) {
    if ((table.index[bucket << 4]! & ~INDEX.versionBits) !== 0) heads++;
    for (let slot = 1; slot < 16; slot++) if (table.index[(bucket << 4) + slot] !== 0) slots++;
  }
  return { slots, heads };
}
