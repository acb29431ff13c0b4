/**
 * Virtual services in shared memory, and the index by which workers find them.
 *
 * Who writes: the control plane writes records and the index; scheduler state (`position`,
 * `schedulerState`) is written by whoever holds the service's lock. Workers look a service up only
 * for packets that have no connection. Slot 0 is "none"; -1 in the index is a removed entry.
 *
 * Per new connection a worker does one Atomic here: it takes the lock.
 */
import { words } from '../layout/record';
import { acquire, breakLock } from './lock';

/** 65,536 services, and slot 0. */
export const SERVICES_MAX = 65537;
/** Index words: a power of two, at most half full. */
const INDEX_WORDS = 1 << 18;
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
  onePacket: 1,
  firstServer: 1,
  /** rr, wrr: the last chosen server; 0 = before the first. */
  position: 1,
  /** What a scheduler remembers; see SCHEDULER_STATE. */
  schedulerState: 8,
  reserved: 7,
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
  schedulerFlags: SCHEDULER_FLAGS,
  firstServer: FIRST_SERVER,
  position: POSITION,
  schedulerState: STATE,
} = AT;

/** Words of a service's scheduler state. They are 0 when a scheduler begins, but for `half`. */
export const SCHEDULER_STATE = {
  /** wrr: the weight a server needs at this point, the most it can be, the step it goes down by. */
  currentWeight: 0,
  topWeight: 1,
  step: 2,
  /** sh, dh, mh: which half of the service's lookup table is in use. */
  half: 3,
  /** lblc, lblcr: entries; minutes since the last full sweep; where the last sweep ended. */
  localities: 4,
  minutes: 5,
  rover: 6,
} as const;
const STATE_WORDS = 7;
const HALF = SCHEDULER_STATE.half;

/** Scheduler flags as IPVS's service flags hold them, less the first three. */
export const SCHEDULER_FLAG_FALLBACK = 1;
export const SCHEDULER_FLAG_PORT = 2;

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
  private removed = 0;
  /** Free slots in a ring, from `nextFree` on; listed at the first need, by the control plane. */
  private free: Int32Array | null = null;
  private nextFree = 0;
  private freeSlotCount = 0;

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
          table[record + AT.family] === 4 &&
          table[record + FLAGS] === FLAG_IN_USE
        ) {
          return slot;
        }
      }
      at = (at + 1) & (INDEX_WORDS - 1);
    }
    return 0;
  }

  /** As find4; `addressAt`: byte offset of an IPv6 address in `view`. */
  find6(protocol: number, view: DataView, addressAt: number, port: number): number {
    const table = this.words;
    const word0 = view.getInt32(addressAt);
    const word1 = view.getInt32(addressAt + 4);
    const word2 = view.getInt32(addressAt + 8);
    const word3 = view.getInt32(addressAt + 12);
    let at = indexStart(protocol, foldAddress(word0, word1, word2, word3), port);
    for (let probe = 0; probe < INDEX_WORDS; probe++) {
      const slot = table[at]!;
      if (slot === 0) return 0;
      if (slot > 0) {
        const record = RECORDS + slot * WORDS;
        if (
          table[record + ADDRESS + 3] === word3 &&
          table[record + ADDRESS + 2] === word2 &&
          table[record + ADDRESS + 1] === word1 &&
          table[record + ADDRESS] === word0 &&
          table[record + PORT] === port &&
          table[record + PROTOCOL] === protocol &&
          table[record + AT.fwmark] === 0 &&
          table[record + AT.family] === 6 &&
          table[record + FLAGS] === FLAG_IN_USE
        ) {
          return slot;
        }
      }
      at = (at + 1) & (INDEX_WORDS - 1);
    }
    return 0;
  }

  /** Slot of the service for a firewall mark (not 0), 0 when there is none. `family`: 4 or 6. */
  findMark(family: number, mark: number): number {
    const table = this.words;
    let at = markStart(family, mark);
    for (let probe = 0; probe < INDEX_WORDS; probe++) {
      const slot = table[at]!;
      if (slot === 0) return 0;
      if (slot > 0) {
        const record = RECORDS + slot * WORDS;
        if (
          table[record + AT.fwmark] === mark &&
          table[record + AT.family] === family &&
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
  /** By its owner: the word is nothing but the lock, so a plain store gives it back. */
  unlock(slot: number, _owner: number): void {
    this.words[RECORDS + slot * WORDS + LOCK] = 0;
  }
  scheduler(slot: number): number {
    return this.words[RECORDS + slot * WORDS + SCHEDULER]!;
  }
  schedulerFlags(slot: number): number {
    return this.words[RECORDS + slot * WORDS + SCHEDULER_FLAGS]!;
  }
  /** `word`: one of SCHEDULER_STATE. */
  schedulerState(slot: number, word: number): number {
    return this.words[RECORDS + slot * WORDS + STATE + word]!;
  }
  setSchedulerState(slot: number, word: number, value: number): void {
    this.words[RECORDS + slot * WORDS + STATE + word] = value;
  }
  address4(slot: number): number {
    return this.words[RECORDS + slot * WORDS + ADDRESS]!;
  }
  fwmark(slot: number): number {
    return this.words[RECORDS + slot * WORDS + AT.fwmark]!;
  }
  /** Ticks a persistence template lives; 0 = the service is not persistent. */
  persistentTicks(slot: number): number {
    return this.words[RECORDS + slot * WORDS + AT.persistentTicks]!;
  }
  /** Of the client's address, for templates. */
  netmask(slot: number): number {
    return this.words[RECORDS + slot * WORDS + AT.netmask]!;
  }
  isOnePacket(slot: number): boolean {
    return this.words[RECORDS + slot * WORDS + AT.onePacket] === 1;
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
    const slot = this.reserve(record, scheduler);
    if (slot !== 0) this.publish(slot);
    return slot;
  }

  /** As `create`, but no worker finds it before `publish`; `giveBack` ends it without. */
  reserve(record: ServiceRecord, scheduler: number): number {
    const slot = this.takeFree();
    if (slot === 0) return 0;
    const at = RECORDS + slot * WORDS;
    // Not the lock: a worker may hold it for a moment, and see that the service is none.
    this.words.fill(0, at + LOCK + 1, at + WORDS);
    this.words[at + PROTOCOL] = record.protocol;
    this.words.set(record.address, at + ADDRESS);
    this.words[at + PORT] = record.port;
    this.words[at + AT.fwmark] = record.fwmark;
    this.words[at + AT.family] = record.family;
    this.words[at + SCHEDULER] = scheduler;
    Atomics.store(this.words, at + FLAGS, FLAG_IN_USE);
    return slot;
  }

  /** Of a slot that was reserved and not published. */
  giveBack(slot: number): void {
    this.giveFree(slot);
    Atomics.store(this.words, RECORDS + slot * WORDS + FLAGS, 0);
  }

  private freeSlots(): Int32Array {
    if (this.free === null) {
      this.free = new Int32Array(SERVICES_MAX);
      for (let slot = 1; slot < SERVICES_MAX; slot++) {
        if (!this.isInUse(slot)) this.free[this.freeSlotCount++] = slot;
      }
    }
    return this.free;
  }

  private takeFree(): number {
    const free = this.freeSlots();
    if (this.freeSlotCount === 0) return 0;
    const slot = free[this.nextFree]!;
    this.nextFree = (this.nextFree + 1) % SERVICES_MAX;
    this.freeSlotCount--;
    return slot;
  }

  /** To be used again last: a worker may have found the slot and not yet have locked it. */
  private giveFree(slot: number): void {
    const free = this.freeSlots();
    free[(this.nextFree + this.freeSlotCount) % SERVICES_MAX] = slot;
    this.freeSlotCount++;
  }

  get freeCount(): number {
    this.freeSlots();
    return this.freeSlotCount;
  }

  publish(slot: number): void {
    let at = this.indexStartOf(slot);
    while (this.words[at]! > 0) at = (at + 1) & (INDEX_WORDS - 1);
    if (this.words[at] === REMOVED) this.removed--;
    Atomics.store(this.words, at, slot);
  }

  private indexStartOf(slot: number): number {
    const record = RECORDS + slot * WORDS;
    const mark = this.words[record + AT.fwmark]!;
    if (mark !== 0) return markStart(this.words[record + AT.family]!, mark);
    const words = this.words;
    const address = foldAddress(
      words[record + ADDRESS]!,
      words[record + ADDRESS + 1]!,
      words[record + ADDRESS + 2]!,
      words[record + ADDRESS + 3]!,
    );
    return indexStart(words[record + PROTOCOL]!, address, words[record + PORT]!);
  }

  /**
   * Hides a service from workers, or shows it again: none finds it, and one that has found it and
   * takes its lock sees that it is none. Hidden under the lock it is nobody's but the caller's.
   */
  setHidden(slot: number, isHidden: boolean): void {
    // What is hidden must not be listed as free.
    this.freeSlots();
    Atomics.store(this.words, RECORDS + slot * WORDS + FLAGS, isHidden ? 0 : FLAG_IN_USE);
  }

  /** Takes a service away from workers. */
  remove(slot: number): void {
    let at = this.indexStartOf(slot);
    while (this.words[at] !== slot) at = (at + 1) & (INDEX_WORDS - 1);
    this.giveBack(slot);
    const follower = this.words[(at + 1) & (INDEX_WORDS - 1)]!;
    Atomics.store(this.words, at, follower === 0 ? 0 : REMOVED);
    if (follower !== 0) this.removed++;
    else this.clearRemovedBefore(at);
  }

  /** Removed entries that end a run are no longer needed to reach anything. */
  private clearRemovedBefore(end: number): void {
    let at = (end - 1) & (INDEX_WORDS - 1);
    while (this.words[at] === REMOVED) {
      Atomics.store(this.words, at, 0);
      this.removed--;
      at = (at - 1) & (INDEX_WORDS - 1);
    }
  }

  /** Removed entries that still lengthen searches. */
  get removedCount(): number {
    return this.removed;
  }

  setScheduler(slot: number, scheduler: number): void {
    this.words[RECORDS + slot * WORDS + SCHEDULER] = scheduler;
  }
  setPersistence(slot: number, ticks: number, netmask: number): void {
    this.words[RECORDS + slot * WORDS + AT.netmask] = netmask;
    this.words[RECORDS + slot * WORDS + AT.persistentTicks] = ticks;
  }
  setOnePacket(slot: number, onePacket: boolean): void {
    this.words[RECORDS + slot * WORDS + AT.onePacket] = onePacket ? 1 : 0;
  }
  setSchedulerFlags(slot: number, flags: number): void {
    this.words[RECORDS + slot * WORDS + SCHEDULER_FLAGS] = flags;
  }
  /** As a scheduler finds it that begins; the lookup table's half stays. */
  clearSchedulerState(slot: number): void {
    this.setPosition(slot, 0);
    for (let word = 0; word < STATE_WORDS; word++) {
      if (word !== HALF) this.setSchedulerState(slot, word, 0);
    }
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

/** No protocol has number 0 with ports, so that marks and addresses seldom meet. */
function markStart(family: number, mark: number): number {
  return indexStart(0, mark, family);
}

/** IPv4, whose other words are 0, stays as it is. */
function foldAddress(word0: number, word1: number, word2: number, word3: number): number {
  const rest = Math.imul(word1 ^ Math.imul(word2, 0x85ebca6b | 0), 0x9e3779b1 | 0);
  return word0 ^ rest ^ Math.imul(word3, 0xc2b2ae35 | 0);
}

function indexStart(protocol: number, address: number, port: number): number {
  let hash = Math.imul(address ^ (protocol << 24), 0x9e3779b1 | 0) ^ port;
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b | 0);
  return (hash ^ (hash >>> 13)) & (INDEX_WORDS - 1);
}
