/**
 * Virtual services in shared memory, and the index by which workers find them.
 *
 * Who writes: the control plane writes records and the index; scheduler state (`position`,
 * `schedulerState`) is written by whoever holds the service's lock. Workers look a service up only
 * for packets that have no connection. Slot 0 is "none"; -1 in the index is a removed entry.
 *
 * Per new connection a worker does two Atomics here: take and give back the lock.
 */
import { words } from '../layout/record';
import { acquire, breakLock, release } from './lock';

export const SERVICES_MAX = 16384;
/** Index words: a power of two, at most half full. */
const INDEX_WORDS = SERVICES_MAX * 4;
const REMOVED = -1;

const SERVICE = words('service', 32, {
  flags: 1,
  lock: 1,
  protocol: 1,
  address: 4, // IPv4 in the first
  port: 1,
  fwmark: 1,
  family: 1,
  scheduler: 1,
  schedulerFlags: 1,
  persistentTicks: 1,
  netmask: 1,
  firstServer: 1,
  /** rr, wrr: the last chosen server; 0 = before the first. */
  position: 1,
  schedulerState: 8,
  reserved: 8,
});
const WORDS = SERVICE.size;
const AT = SERVICE.at;
const {
  flags: FLAGS,
  lock: LOCK,
  protocol: PROTOCOL,
  address: ADDRESS,
  port: PORT,
  scheduler: SCHEDULER,
  firstServer: FIRST_SERVER,
  position: POSITION,
} = AT;

const FLAG_IN_USE = 1;
/** First service record, in words from the buffer's start: the index comes first. */
const RECORDS = INDEX_WORDS;

export interface ServiceRecord {
  readonly family: number;
  readonly protocol: number;
  readonly address: Int32Array; // 4 words, IPv4 in the first
  readonly port: number;
  readonly fwmark: number;
}

export class ServiceTable {
  readonly words: Int32Array;
  #removed = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer((INDEX_WORDS + SERVICES_MAX * WORDS) * 4);
  }

  /** Slot of the service at an IPv4 address and port, 0 when there is none. */
  find4(protocol: number, address: number, port: number): number {
    const table = this.words;
    let at = indexStart(protocol, address, port);
    for (let probe = 0; probe < INDEX_WORDS; probe++) {
      const slot = table[at]!;
      if (slot === 0) return 0;
      if (slot > 0) {
        const record = RECORDS + slot * WORDS;
        if (
          table[record + ADDRESS] === address &&
          table[record + PORT] === port &&
          table[record + PROTOCOL] === protocol &&
          table[record + AT.fwmark] === 0 &&
          table[record + FLAGS] === FLAG_IN_USE
        ) {
          return slot;
        }
      }
      at = (at + 1) & (INDEX_WORDS - 1);
    }
    return 0;
  }

  isInUse(slot: number): boolean {
    return this.words[RECORDS + slot * WORDS + FLAGS] === FLAG_IN_USE;
  }
  lock(slot: number, owner: number): boolean {
    return acquire(this.words, RECORDS + slot * WORDS + LOCK, owner);
  }
  unlock(slot: number, owner: number): void {
    release(this.words, RECORDS + slot * WORDS + LOCK, owner);
  }
  scheduler(slot: number): number {
    return this.words[RECORDS + slot * WORDS + SCHEDULER]!;
  }
  address4(slot: number): number {
    return this.words[RECORDS + slot * WORDS + ADDRESS]!;
  }
  port(slot: number): number {
    return this.words[RECORDS + slot * WORDS + PORT]!;
  }
  firstServer(slot: number): number {
    return this.words[RECORDS + slot * WORDS + FIRST_SERVER]!;
  }
  position(slot: number): number {
    return this.words[RECORDS + slot * WORDS + POSITION]!;
  }
  setPosition(slot: number, server: number): void {
    this.words[RECORDS + slot * WORDS + POSITION] = server;
  }

  // What the control plane does.

  /** Makes a service visible to workers. Returns its slot, 0 when the table is full. */
  create(record: ServiceRecord, scheduler: number): number {
    for (let slot = 1; slot < SERVICES_MAX; slot++) {
      const at = RECORDS + slot * WORDS;
      if (this.words[at + FLAGS] !== 0) continue;
      const lock = this.words[at + LOCK]!;
      this.words.fill(0, at, at + WORDS);
      this.words[at + LOCK] = lock;
      this.words[at + PROTOCOL] = record.protocol;
      this.words.set(record.address, at + ADDRESS);
      this.words[at + PORT] = record.port;
      this.words[at + AT.fwmark] = record.fwmark;
      this.words[at + AT.family] = record.family;
      this.words[at + SCHEDULER] = scheduler;
      Atomics.store(this.words, at + FLAGS, FLAG_IN_USE);
      this.#publish(slot, record);
      return slot;
    }
    return 0;
  }

  #publish(slot: number, record: ServiceRecord): void {
    let at = indexStart(record.protocol, record.address[0]!, record.port);
    while (this.words[at]! > 0) at = (at + 1) & (INDEX_WORDS - 1);
    if (this.words[at] === REMOVED) this.#removed--;
    Atomics.store(this.words, at, slot);
  }

  /** Takes a service away from workers. */
  remove(slot: number): void {
    const record = RECORDS + slot * WORDS;
    let at = indexStart(
      this.words[record + PROTOCOL]!,
      this.words[record + ADDRESS]!,
      this.words[record + PORT]!,
    );
    while (this.words[at] !== slot) at = (at + 1) & (INDEX_WORDS - 1);
    Atomics.store(this.words, record + FLAGS, 0);
    const follower = this.words[(at + 1) & (INDEX_WORDS - 1)]!;
    Atomics.store(this.words, at, follower === 0 ? 0 : REMOVED);
    if (follower !== 0) this.#removed++;
    else this.#clearRemovedBefore(at);
  }

  /** Removed entries that end a run are no longer needed to reach anything. */
  #clearRemovedBefore(end: number): void {
    let at = (end - 1) & (INDEX_WORDS - 1);
    while (this.words[at] === REMOVED) {
      Atomics.store(this.words, at, 0);
      this.#removed--;
      at = (at - 1) & (INDEX_WORDS - 1);
    }
  }

  /** Removed entries that still lengthen searches. */
  get removedCount(): number {
    return this.#removed;
  }

  setScheduler(slot: number, scheduler: number): void {
    this.words[RECORDS + slot * WORDS + SCHEDULER] = scheduler;
  }
  setFirstServer(slot: number, server: number): void {
    this.words[RECORDS + slot * WORDS + FIRST_SERVER] = server;
  }

  /** Frees every lock that a dead owner held. Returns how many. */
  breakLocks(owner: number): number {
    let broken = 0;
    for (let slot = 1; slot < SERVICES_MAX; slot++) {
      if (breakLock(this.words, RECORDS + slot * WORDS + LOCK, owner)) broken++;
    }
    return broken;
  }
}

function indexStart(protocol: number, address: number, port: number): number {
  let hash = Math.imul(address ^ (protocol << 24), 0x9e3779b1 | 0) ^ port;
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b | 0);
  return (hash ^ (hash >>> 13)) & (INDEX_WORDS - 1);
}
