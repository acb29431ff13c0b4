/**
 * Ending connections: the owner works off its timer wheel a bounded number at a time, so that
 * a burst of ends never delays packets by much.
 */
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  CONNECTION_TEMPLATE,
  type ConnectionTable,
  TEMPLATE_REFERENCES,
  TEMPLATE_TICKS,
} from '../table/connection';
import { COUNTER } from '../table/counter';
import type { Tables } from '../table/memory';
import { METHOD_FULLNAT, type RealServerTable } from '../table/realServer';
import type { TimerWheel } from '../table/timer';
import { repliesReturn } from './birth';
import { TEMPLATE_REST_TICKS } from './persistence';
import type { FullnatRoom } from './room';

const AT = CONNECTION.at;
/** Entries looked at in one go. */
const DUE_MAX = 256;
const MAIL_MAX = 256;

export class Expiry {
  /** Takes back what a FULLNAT connection held. */
  fullnat: FullnatRoom | null = null;
  readonly #connections: ConnectionTable;
  readonly #entries: Int32Array;
  readonly #realServers: RealServerTable;
  readonly #wheels: readonly TimerWheel[];
  readonly #wheel: TimerWheel;
  readonly #counters: Float64Array;
  readonly #worker: number;

  constructor(tables: Tables, worker: number) {
    this.#connections = tables.connections;
    this.#entries = tables.connections.entries;
    this.#realServers = tables.realServers;
    this.#wheels = tables.wheels;
    this.#wheel = tables.wheels[worker]!;
    this.#counters = tables.counters[worker]!;
    this.#worker = worker;
  }

  /** Works off mail and what is due by `tick`. Returns how much of both: 0 when there was none. */
  run(tick: number): number {
    let received = 0;
    for (; received < MAIL_MAX; received++) {
      const entry = this.#wheel.receive();
      if (entry === 0) break;
      if (this.#isOwn(entry)) this.#relink(entry, tick);
    }
    let looked = 0;
    for (; looked < DUE_MAX; looked++) {
      const entry = this.#wheel.nextDue(tick);
      if (entry === 0) break;
      const left = (this.#entries[(entry << 4) + AT.expiresAt]! - tick) | 0;
      if (left > 0 || this.#isKept(entry, tick)) this.#wheel.link(entry, tick);
      else this.#end(entry, tick);
    }
    return looked + received;
  }

  /** A connection's time got shorter than its timer's next look: has the owner look sooner. */
  sooner(entry: number, tick: number): void {
    if (this.#isOwn(entry)) {
      this.#relink(entry, tick);
      return;
    }
    const owner = (this.#entries[(entry << 4) + AT.identity]! >>> 8) & 0xff;
    const wheel = this.#wheels[owner - 1];
    if (wheel === undefined) return;
    if (!wheel.post(entry)) {
      this.#counters[COUNTER.timer_mail_lost]! += 1;
      return;
    }
    // Not asked twice: the owner will find this time when it gets there.
    this.#entries[(entry << 4) + AT.timerAt] = this.#entries[(entry << 4) + AT.expiresAt]!;
  }

  #isOwn(entry: number): boolean {
    const identity = this.#entries[(entry << 4) + AT.identity]!;
    return ((identity >>> 8) & 0xff) === this.#worker + 1 && (identity & 0xff) !== 0;
  }

  #relink(entry: number, tick: number): void {
    this.#wheel.unlink(entry);
    this.#wheel.link(entry, tick);
  }

  /** A template whose time is over lives on while connections refer to it, a minute each time. */
  #isKept(entry: number, tick: number): boolean {
    const entries = this.#entries;
    const at = entry << 4;
    if ((entries[at + AT.state]! & CONNECTION_TEMPLATE) === 0) return false;
    if (Atomics.compareExchange(entries, at + TEMPLATE_REFERENCES, 0, -1) === 0) return false;
    entries[at + TEMPLATE_TICKS] = TEMPLATE_REST_TICKS;
    entries[at + AT.expiresAt] = (tick + TEMPLATE_REST_TICKS) | 0;
    return true;
  }

  #end(entry: number, tick: number): void {
    const entries = this.#entries;
    const at = entry << 4;
    const word = Atomics.exchange(entries, at + AT.state, 0);
    const server = entries[at + AT.realServer]! & CONNECTION_SERVER_BITS;
    if ((word & CONNECTION_TEMPLATE) !== 0) {
      this.#connections.remove(entry, false);
      this.#realServers.countPersistent(server, -1);
      this.#connections.free(entry, this.#worker);
      return;
    }
    const method = (word >>> CONNECTION_METHOD_SHIFT) & 0xf;
    if (method === METHOD_FULLNAT && this.fullnat !== null) {
      this.fullnat.expire(entry, word & 0xff, tick);
      this.fullnat.end(entry);
    }
    this.#connections.remove(entry, repliesReturn(method));
    this.dismiss(entry, word);
    this.#counters[COUNTER.connections_expired]! += 1;
  }

  /** Gives back what a connection held, and its entry; it is in no index and on no timer. */
  dismiss(entry: number, stateWord: number): void {
    const entries = this.#entries;
    const at = entry << 4;
    const server = entries[at + AT.realServer]! & CONNECTION_SERVER_BITS;
    if (server !== 0) this.#realServers.unbind(server, (stateWord & CONNECTION_ACTIVE) !== 0);
    const template = entries[at + AT.control]!;
    if (template !== 0) Atomics.sub(entries, (template << 4) + TEMPLATE_REFERENCES, 1);
    this.#connections.free(entry, this.#worker);
  }
}
