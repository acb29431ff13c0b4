/**
 * Connections by protocol and state. Workers keep no such counts: the table is looked at, at each
 * scrape. Of a large one only so many entries, spread evenly over it: what that takes of the main
 * thread does not grow with the table, and the workers' cache stays theirs. Of a state that one
 * connection in a hundred is in, 328 are seen, so its number is right to within some 6 %.
 */
import type { Registry } from 'prom-client';
import {
  CONNECTION,
  CONNECTION_TEMPLATE,
  type ConnectionTable,
  ENTRY_SHIFT,
  kindProtocol,
} from '../table/connection';
import { LISTED_STATES, listedKind, listedState } from './connectionListing';
import type { MetricsSource } from './metrics';
import { register, type Sample } from './metricsRegister';

/** Entries that are looked at. */
const LOOKS_MAX = 1 << 15;
const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;
const PROTOCOLS: Readonly<Record<number, string>> = { 0: 'ip', 6: 'tcp', 17: 'udp', 132: 'sctp' };
const PROTOCOLS_MAX = 256;
const { state: STATE, expiresAt: EXPIRES_AT } = CONNECTION.at;

export class ConnectionStates {
  readonly #table: ConnectionTable;
  /** By protocol and state. What was there once stays, with 0 at last. */
  readonly #counts = new Map<number, number>();
  #place = 0;

  constructor(table: ConnectionTable) {
    this.#table = table;
  }

  /** Counts anew. `tick`: now. */
  samples(tick: number): Sample[] {
    const counts = this.#counts;
    for (const key of counts.keys()) counts.set(key, 0);
    const entries = this.#table.usedEnd - 1;
    const looks = Math.min(entries, LOOKS_MAX);
    const each = looks === 0 ? 0 : entries / looks;
    // One of each so many, in order, which is kind to caches; which one of them has no rhythm that
    // connections could have too.
    for (let look = 0; look < looks; look++) {
      this.#place = (this.#place + GOLDEN_RATIO) % 1;
      this.#count(1 + Math.floor((look + this.#place) * each), tick);
    }
    return [...counts].map(([key, count]) => [
      {
        protocol: PROTOCOLS[key % PROTOCOLS_MAX] ?? String(key % PROTOCOLS_MAX),
        state: LISTED_STATES[Math.floor(key / PROTOCOLS_MAX)]!,
      },
      Math.round(count * each),
    ]);
  }

  #count(entry: number, tick: number): void {
    const table = this.#table;
    const kind = listedKind(table, entry);
    const at = entry << ENTRY_SHIFT;
    const word = table.entries[at + STATE]!;
    if (kind === 0 || (word & CONNECTION_TEMPLATE) !== 0) return;
    if (((table.entries[at + EXPIRES_AT]! - tick) | 0) <= 0) return;
    const key = listedState(word) * PROTOCOLS_MAX + kindProtocol(kind);
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }
}

export function registerStates(registry: Registry, { director, nowTick }: MetricsSource): void {
  const states = new ConnectionStates(director.tables.connections);
  register(
    registry,
    'gauge',
    'xvs_connections',
    `Connections by protocol and state; of more than ${LOOKS_MAX} entries estimated from so many`,
    ['protocol', 'state'],
    () => states.samples(nowTick()),
  );
}
