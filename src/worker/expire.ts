/**
 * Ending connections: the owner works off its timer wheel a bounded number at a time, so that
 * a burst of ends never delays packets by much.
 */
import type { ConnectionTable } from '../table/connection';
// Not from there: what it hands on is looked up by its name at each use.
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  CONNECTION_TEMPLATE,
  connectionHash,
  TEMPLATE_REFERENCES,
  TEMPLATE_TICKS,
} from '../table/connectionEntry';
import { COUNTER } from '../table/counter';
import type { Tables } from '../table/memory';
import { type MakePrefetcher, type Prefetcher, prefetchByReading } from '../table/prefetch';
import { METHOD_FULLNAT, type RealServerTable } from '../table/realServer';
import type { TimerWheel } from '../table/timer';
import { repliesReturn } from './birth';
import { TEMPLATE_REST_TICKS } from './persistence';
import type { FullnatRoom } from './room';

const {
  client: CLIENT,
  virtual: VIRTUAL,
  clientPorts: CLIENT_PORTS,
  real: REAL,
  reply: REPLY,
  replyPorts: REPLY_PORTS,
  identity: IDENTITY,
  state: STATE,
  realServer: REAL_SERVER,
  expiresAt: EXPIRES_AT,
  timerAt: TIMER_AT,
  control: CONTROL,
} = CONNECTION.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const ACTIVE = CONNECTION_ACTIVE;
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;
const SERVER_BITS = CONNECTION_SERVER_BITS;
const TEMPLATE = CONNECTION_TEMPLATE;
const [REFERENCES, LIFE, REST] = [TEMPLATE_REFERENCES, TEMPLATE_TICKS, TEMPLATE_REST_TICKS];
const FULLNAT = METHOD_FULLNAT;
const { timer_mail_lost: MAIL_LOST, connections_expired: EXPIRED } = COUNTER;
/** Entries looked at in one go; as many letters. */
export const DUE_MAX = 256;
/** Of these, whose lines are fetched together. */
const LOOK_MAX = 64;

export class Expiry {
  /** Takes back what a FULLNAT connection held. */
  fullnat: FullnatRoom | null = null;
  private readonly connections: ConnectionTable;
  private readonly entries: Int32Array;
  private readonly realServers: RealServerTable;
  private readonly wheels: readonly TimerWheel[];
  private readonly wheel: TimerWheel;
  private readonly counters: Float64Array;
  private readonly worker: number;
  private readonly seed: number;
  /** Entries that are due next, and the hashes under which they stand in the index. */
  private readonly due = new Int32Array(LOOK_MAX);
  private readonly clientHashes = new Int32Array(LOOK_MAX);
  private readonly replyHashes = new Int32Array(LOOK_MAX);
  private readonly clientLines: Prefetcher;
  private readonly replyLines: Prefetcher;

  constructor(tables: Tables, worker: number, prefetch: MakePrefetcher = prefetchByReading) {
    const { connections } = tables;
    this.seed = tables.settings.hashSeed;
    this.clientLines = connections.indexPrefetcher(prefetch, this.clientHashes);
    this.replyLines = connections.indexPrefetcher(prefetch, this.replyHashes);
    this.connections = tables.connections;
    this.entries = tables.connections.entries;
    this.realServers = tables.realServers;
    this.wheels = tables.wheels;
    this.wheel = tables.wheels[worker]!;
    this.counters = tables.counters[worker]!;
    this.worker = worker;
  }

  /**
   * Works off mail and what is due by `tick`, of each at most `most` (and the rest of one look).
   * Returns how much of both: 0 when there was none.
   */
  run(tick: number, most: number): number {
    let received = 0;
    for (; received < most; received++) {
      const entry = this.wheel.receive();
      if (entry === 0) break;
      if (this.isOwn(entry)) this.relink(entry, tick);
    }
    let looked = 0;
    while (looked < most) {
      const seen = this.look(tick);
      if (seen === 0) break;
      looked += seen;
      for (let i = 0; i < seen; i++) {
        const entry = this.wheel.nextDue(tick);
        const left = (this.entries[(entry << 4) + EXPIRES_AT]! - tick) | 0;
        if (left > 0 || this.isKept(entry, tick)) this.wheel.link(entry, tick);
        else this.end(entry, tick);
      }
    }
    return looked + received;
  }

  /**
   * How many entries are due next, and fetches what ending them will need: their own lines, then
   * those of the index, many at a time.
   */
  private look(tick: number): number {
    const due = this.due;
    const count = this.wheel.peek(tick, due, LOOK_MAX);
    const entries = this.entries;
    for (let i = 0; i < count; i++) {
      const at = due[i]! << 4;
      const kind = entries[at + IDENTITY]! & 0xff;
      this.clientHashes[i] = connectionHash(
        this.seed,
        kind,
        entries[at + CLIENT]!,
        entries[at + VIRTUAL]!,
        entries[at + CLIENT_PORTS]!,
      );
      this.replyHashes[i] = connectionHash(
        this.seed,
        kind,
        entries[at + REAL]!,
        entries[at + REPLY]!,
        entries[at + REPLY_PORTS]!,
      );
    }
    this.clientLines.fetch(count);
    this.replyLines.fetch(count);
    return count;
  }

  /** A connection's time got shorter than its timer's next look: has the owner look sooner. */
  sooner(entry: number, tick: number): void {
    if (this.isOwn(entry)) {
      this.relink(entry, tick);
      return;
    }
    const owner = (this.entries[(entry << 4) + IDENTITY]! >>> 8) & 0xff;
    const wheel = this.wheels[owner - 1];
    if (wheel === undefined) return;
    if (!wheel.post(entry)) {
      this.counters[MAIL_LOST]! += 1;
      return;
    }
    // Not asked twice: the owner will find this time when it gets there.
    this.entries[(entry << 4) + TIMER_AT] = this.entries[(entry << 4) + EXPIRES_AT]!;
  }

  private isOwn(entry: number): boolean {
    const identity = this.entries[(entry << 4) + IDENTITY]!;
    return ((identity >>> 8) & 0xff) === this.worker + 1 && (identity & 0xff) !== 0;
  }

  private relink(entry: number, tick: number): void {
    this.wheel.unlink(entry);
    this.wheel.link(entry, tick);
  }

  /** A template whose time is over lives on while connections refer to it, a minute each time. */
  private isKept(entry: number, tick: number): boolean {
    const entries = this.entries;
    const at = entry << 4;
    if ((entries[at + STATE]! & TEMPLATE) === 0) return false;
    if (Atomics.compareExchange(entries, at + REFERENCES, 0, -1) === 0) return false;
    entries[at + LIFE] = REST;
    entries[at + EXPIRES_AT] = (tick + REST) | 0;
    return true;
  }

  private end(entry: number, tick: number): void {
    const entries = this.entries;
    const at = entry << 4;
    const word = Atomics.exchange(entries, at + STATE, 0);
    const server = entries[at + REAL_SERVER]! & SERVER_BITS;
    if ((word & TEMPLATE) !== 0) {
      this.connections.remove(entry, false);
      this.realServers.countPersistent(server, -1);
      this.connections.free(entry, this.worker);
      return;
    }
    const method = (word >>> METHOD_SHIFT) & 0xf;
    if (method === FULLNAT && this.fullnat !== null) {
      this.fullnat.expire(entry, word & 0xff, tick);
      this.fullnat.end(entry);
    }
    this.connections.remove(entry, repliesReturn(method));
    this.dismiss(entry, word);
    this.counters[EXPIRED]! += 1;
  }

  /** Gives back what a connection held, and its entry; it is in no index and on no timer. */
  dismiss(entry: number, stateWord: number): void {
    const entries = this.entries;
    const at = entry << 4;
    const server = entries[at + REAL_SERVER]! & SERVER_BITS;
    if (server !== 0) this.realServers.unbind(server, (stateWord & ACTIVE) !== 0);
    const template = entries[at + CONTROL]!;
    if (template !== 0) Atomics.sub(entries, (template << 4) + REFERENCES, 1);
    this.connections.free(entry, this.worker);
  }
}
