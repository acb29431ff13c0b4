/** Connection entries for tests: written as a worker would, from a key of few numbers. */
import {
  CONNECTION,
  type ConnectionBuffers,
  ConnectionTable,
  connectionHash,
} from '#xvs/table/connection';

const AT = CONNECTION.at;

export const SEED = 0x5eed;

/** What tells one connection from another here; the rest follows from it. */
export interface ConnectionKey {
  readonly protocol: number;
  readonly client: number;
  readonly virtual: number;
  readonly ports: number;
}

/** Real server and reply ports of a key: one to one, so that replies differ as keys do. */
const realOf = (key: ConnectionKey): number => (key.virtual ^ 0x00ff00ff) | 0;
const replyPortsOf = (key: ConnectionKey): number =>
  ((((key.ports & 0xffff) + 1) & 0xffff) << 16) | (key.ports >>> 16);

export function writeEntry(
  table: ConnectionTable,
  entry: number,
  key: ConnectionKey,
  owner: number,
  expiresAt: number,
): void {
  const words = table.entries;
  const at = entry << 4;
  words[at + AT.client] = key.client;
  words[at + AT.virtual] = key.virtual;
  words[at + AT.clientPorts] = key.ports;
  words[at + AT.real] = realOf(key);
  words[at + AT.reply] = key.client;
  words[at + AT.replyPorts] = replyPortsOf(key);
  words[at + AT.expiresAt] = expiresAt;
  const generation = words[at + AT.identity]! & ~0xffff;
  words[at + AT.identity] = generation | (owner << 8) | key.protocol;
}

export function findByClient(table: ConnectionTable, key: ConnectionKey, tick: number): number {
  const { protocol, client, virtual, ports } = key;
  const hash = connectionHash(SEED, protocol, client, virtual, ports);
  return table.find(hash, protocol, client, virtual, ports, tick);
}

export function findByReply(table: ConnectionTable, key: ConnectionKey, tick: number): number {
  const ports = replyPortsOf(key);
  const hash = connectionHash(SEED, key.protocol, realOf(key), key.client, ports);
  return table.find(hash, key.protocol, realOf(key), key.client, ports, tick);
}

/** Buffers with fewer buckets than the table would make: they overflow early. */
export function crowdedBuffers(capacity: number, buckets: number): ConnectionBuffers {
  return { ...ConnectionTable.buffers(capacity), buckets };
}

/** Index slots in use, and what is not 0 in the lock and overflow words. */
export function indexState(table: ConnectionTable): { slots: number; heads: number } {
  let slots = 0;
  let heads = 0;
  for (let bucket = 0; bucket < table.buckets; bucket++) {
    if (table.index[bucket << 4] !== 0) heads++;
    for (let slot = 1; slot < 16; slot++) if (table.index[(bucket << 4) + slot] !== 0) slots++;
  }
  return { slots, heads };
}
