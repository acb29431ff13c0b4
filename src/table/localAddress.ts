/**
 * Local addresses: what connections of FULLNAT real servers come from. Each service has a list of
 * them, in the order of adding; new connections take them in turn.
 *
 * Who writes: the control plane lists and records, under the list's lock; workers the position,
 * under the same lock, on new FULLNAT connections only, and the counts, atomically. Slot 0 is
 * "none". An address that is taken from the list keeps its record while connections come from it;
 * those of a service that is gone are counted no more.
 *
 * Addresses are four words, IPv4 in the first and the rest 0; host order.
 */
import { words } from '../layout/record';
import { acquire, breakLock, release } from './lock';
import { SERVICES_MAX } from './service';

/** Of all services together. */
export const LOCAL_ADDRESSES_MAX = (1 << 16) - 1;

const LIST = words('list of local addresses', 8, {
  lock: 1,
  first: 1,
  position: 1, // the last one used; 0 = before the first
  count: 1,
  picks: 1,
  reserved: 3,
});
const { lock: LOCK, first: FIRST, position: POSITION, count: COUNT, picks: PICKS } = LIST.at;
const LIST_WORDS = LIST.size;

const LOCAL_ADDRESS = words('local address', 16, {
  service: 1, // 0: free
  address: 4,
  next: 1,
  chain: 1, // next record of the same hash
  conflicts: 1,
  connections: 1,
  reserved: 7,
});
const AT = LOCAL_ADDRESS.at;
const WORDS = LOCAL_ADDRESS.size;
const CHAINS = 1 << 12;
const RECORDS_AT = CHAINS;
/** A chain is this long at most when it is walked while it changes. */
const CHAIN_MAX = 1 << 12;
/** Every so many-th pick skips one address, so that servers and addresses do not pair up. */
const SKIP_EVERY = 20;

export interface LocalAddressBuffers {
  readonly lists: SharedArrayBuffer;
  readonly records: SharedArrayBuffer;
}

export class LocalAddressTable {
  /** Records; an address's four words stand at `addressAt`. */
  readonly words: Int32Array;
  private readonly lists: Int32Array;
  /** Free slots, the next one last; listed at the first need, by the control plane only. */
  private unused: number[] | null = null;

  constructor(buffers: LocalAddressBuffers) {
    this.words = new Int32Array(buffers.records);
    this.lists = new Int32Array(buffers.lists);
  }

  static buffers(): LocalAddressBuffers {
    return {
      lists: new SharedArrayBuffer(SERVICES_MAX * LIST_WORDS * 4),
      records: new SharedArrayBuffer((CHAINS + (LOCAL_ADDRESSES_MAX + 1) * WORDS) * 4),
    };
  }

  /** How many a service has. */
  count(service: number): number {
    return this.lists[service * LIST_WORDS + COUNT]!;
  }

  /** Index of the four words of an address in `words`. */
  addressAt(slot: number): number {
    return RECORDS_AT + slot * WORDS + AT.address;
  }
  conflicts(slot: number): number {
    return this.words[RECORDS_AT + slot * WORDS + AT.conflicts]! >>> 0;
  }
  connections(slot: number): number {
    return this.words[RECORDS_AT + slot * WORDS + AT.connections]!;
  }

  /**
   * The service's next address in turn, 0 when it has none (or its list stays locked). `spreads`:
   * now and then one is skipped, as its servers are taken in turn too.
   */
  pick(service: number, owner: number, spreads: boolean): number {
    const lists = this.lists;
    const at = service * LIST_WORDS;
    if (lists[at + FIRST] === 0 || !acquire(lists, at + LOCK, owner)) return 0;
    let slot = this.after(at, lists[at + POSITION]!);
    lists[at + PICKS] = (lists[at + PICKS]! + 1) | 0;
    if (spreads && lists[at + PICKS]! % SKIP_EVERY === 0) slot = this.after(at, slot);
    lists[at + POSITION] = slot;
    release(lists, at + LOCK, owner);
    return slot;
  }

  private after(list: number, slot: number): number {
    const next = slot === 0 ? 0 : this.words[RECORDS_AT + slot * WORDS + AT.next]!;
    return next === 0 ? this.lists[list + FIRST]! : next;
  }

  /** A connection began with this address. */
  countConnection(slot: number): void {
    Atomics.add(this.words, RECORDS_AT + slot * WORDS + AT.connections, 1);
  }
  /** It had no port free. */
  countConflict(slot: number): void {
    Atomics.add(this.words, RECORDS_AT + slot * WORDS + AT.conflicts, 1);
  }

  /** A connection of a service ended; `address`: four words at `at`. */
  discount(service: number, address: Int32Array, at: number): void {
    const slot = this.find(service, address, at);
    if (slot === 0) return;
    const place = RECORDS_AT + slot * WORDS + AT.connections;
    for (;;) {
      const count = Atomics.load(this.words, place);
      if (count <= 0) return;
      if (Atomics.compareExchange(this.words, place, count, count - 1) === count) return;
    }
  }

  /** Slot of a service's address, 0 when it has no such one. */
  find(service: number, address: Int32Array, at: number): number {
    const records = this.words;
    let slot = records[chainOf(service, address, at)]!;
    for (let step = 0; slot !== 0 && step < CHAIN_MAX; step++) {
      const record = RECORDS_AT + slot * WORDS;
      if (records[record + AT.service] === service && isSame(records, record, address, at)) {
        return slot;
      }
      slot = records[record + AT.chain]!;
    }
    return 0;
  }

  // What the control plane does; lists with `lock` taken.

  lock(service: number, owner: number): boolean {
    return acquire(this.lists, service * LIST_WORDS + LOCK, owner);
  }
  unlock(service: number, owner: number): void {
    release(this.lists, service * LIST_WORDS + LOCK, owner);
  }

  /** A record for an address that the service does not have. Its slot, 0: the table is full. */
  create(service: number, address: Int32Array): number {
    const slot = this.freeSlots().pop() ?? 0;
    if (slot === 0) return 0;
    const records = this.words;
    const at = RECORDS_AT + slot * WORDS;
    records.fill(0, at, at + WORDS);
    records[at + AT.service] = service;
    records.set(address, at + AT.address);
    const chain = chainOf(service, address, 0);
    records[at + AT.chain] = records[chain]!;
    Atomics.store(records, chain, slot);
    return slot;
  }

  /** Appends an address to its service's list. */
  list(slot: number): void {
    const records = this.words;
    const at = RECORDS_AT + slot * WORDS;
    const list = records[at + AT.service]! * LIST_WORDS;
    const last = this.before(list, 0);
    records[at + AT.next] = 0;
    if (last === 0) this.lists[list + FIRST] = slot;
    else records[RECORDS_AT + last * WORDS + AT.next] = slot;
    this.lists[list + COUNT]! += 1;
  }

  /** Takes an address out of its service's list. */
  unlist(slot: number): void {
    const records = this.words;
    const at = RECORDS_AT + slot * WORDS;
    const list = records[at + AT.service]! * LIST_WORDS;
    const before = this.before(list, slot);
    const next = records[at + AT.next]!;
    if (before === 0) this.lists[list + FIRST] = next;
    else records[RECORDS_AT + before * WORDS + AT.next] = next;
    if (this.lists[list + POSITION] === slot) this.lists[list + POSITION] = before;
    this.lists[list + COUNT]! -= 1;
  }

  /** The record of an address that is in no list any more. */
  free(slot: number): void {
    const records = this.words;
    const at = RECORDS_AT + slot * WORDS;
    let place = chainOf(records[at + AT.service]!, records, at + AT.address);
    while (records[place] !== slot) place = RECORDS_AT + records[place]! * WORDS + AT.chain;
    Atomics.store(records, place, records[at + AT.chain]!);
    records[at + AT.service] = 0;
    // To be used again last: a worker may be looking at it.
    this.freeSlots().unshift(slot);
  }

  /** The record before `slot` in a list; `slot` 0: the last one. */
  private before(list: number, slot: number): number {
    let before = 0;
    let next = this.lists[list + FIRST]!;
    while (next !== slot && next !== 0) {
      before = next;
      next = this.words[RECORDS_AT + next * WORDS + AT.next]!;
    }
    return before;
  }

  private freeSlots(): number[] {
    if (this.unused === null) {
      this.unused = [];
      for (let slot = LOCAL_ADDRESSES_MAX; slot > 0; slot--) {
        if (this.words[RECORDS_AT + slot * WORDS + AT.service] === 0) this.unused.push(slot);
      }
    }
    return this.unused;
  }

  get freeCount(): number {
    return this.freeSlots().length;
  }

  /** Frees every lock that a dead owner held. Returns how many. */
  breakLocks(owner: number): number {
    let broken = 0;
    for (let service = 1; service < SERVICES_MAX; service++) {
      if (breakLock(this.lists, service * LIST_WORDS + LOCK, owner)) broken++;
    }
    return broken;
  }
}

function isSame(records: Int32Array, record: number, address: Int32Array, at: number): boolean {
  for (let i = 0; i < 4; i++) {
    if (records[record + AT.address + i] !== address[at + i]) return false;
  }
  return true;
}

function chainOf(service: number, address: Int32Array, at: number): number {
  let hash = Math.imul(service, 0x9e3779b1 | 0);
  for (let i = 0; i < 4; i++) {
    hash = Math.imul(hash ^ address[at + i]!, 0x85ebca6b | 0);
    hash ^= hash >>> 15;
  }
  return hash & (CHAINS - 1);
}
