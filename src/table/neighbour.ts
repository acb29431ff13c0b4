/**
 * Hosts on the served links and their MACs: one record a slot, found by (interface slot, address)
 * through hash chains. A frame's new destination MAC comes from here, usually by a slot that its
 * connection remembers.
 *
 * No reader ever sees half a MAC: a record that has been RESOLVED once keeps address and MAC until
 * it is retired and at least RETIRED_TICKS have passed; a changed MAC takes a new slot, put at the
 * head of its chain before the old one leaves it. A retired record keeps its `next`, so that a
 * reader standing on it goes on.
 *
 * Memory: one SharedArrayBuffer. The control plane (kernel neighbours by rtnetlink) writes
 * everything except `lastUsedTick` and `requested`, which any worker writes plainly. Host byte
 * order; IPv4 addresses signed, in the first of four address words (IPv6 uses all four); both
 * families share the chains.
 */

import { words } from '../layout/record';
import { swapped16, swapped32 } from '../net/byteOrder';
import type { HostAddress } from './address6';

/** Slots 1..32767: slot and 16 bits of generation make one positive int32 (see nextHop.ts). */
export const NEIGHBOURS_MAX = 32767;

export const NEIGHBOUR_FREE = 0;
export const NEIGHBOUR_RESOLVED = 1;
/** Asked for, no MAC yet. */
export const NEIGHBOUR_UNRESOLVED = 2;
/** The kernel asked and got no answer. */
export const NEIGHBOUR_FAILED = 3;
/** Out of its chain, waiting until no reader can stand on it. */
export const NEIGHBOUR_RETIRED = 4;

/** Ticks of 100 ms for which a retired slot is left as it is. */
export const RETIRED_TICKS = 20;

const HEADER = words('neighbour table', 16, {
  slotsMax: 1, // slots are 1..slotsMax
  bucketsMax: 1,
  cursor: 1, // where the control plane looks next for a free slot
  used: 1,
  overflows: 1, // neighbours that found no slot
  reserved: 11,
});
const {
  slotsMax: SLOTS_MAX,
  bucketsMax: BUCKETS_MAX,
  cursor: CURSOR,
  used: USED,
  overflows: OVERFLOWS,
} = HEADER.at;

/** 64 bytes: one cache line. */
export const NEIGHBOUR = words('neighbour', 16, {
  address: 4,
  // The MAC as a frame's first six bytes are: little-endian words, the upper half of the last 0.
  macStart: 1,
  macEnd: 1,
  interfaceSlot: 1,
  state: 1,
  next: 1, // slot of the next record in the chain, 0 = end
  retiredTick: 1,
  lastUsedTick: 1, // 0 = never; workers
  requested: 1, // 1 = a worker wanted it while it had no MAC; workers set, the control plane clears
  family: 1, // 4 or 6
  reserved: 3,
});
const RECORD_SHIFT = 4;
/** Of a slot: tells V8 that no sum overflows. */
const SLOT_BITS = 0x7fff;
const {
  family: FAMILY,
  address: ADDRESS,
  macStart: MAC_START,
  macEnd: MAC_END,
  interfaceSlot: INTERFACE_SLOT,
  state: STATE,
  next: NEXT,
  retiredTick: RETIRED_TICK,
  lastUsedTick: LAST_USED_TICK,
  requested: REQUESTED,
} = NEIGHBOUR.at;
const IPV4 = 4;
const IPV6 = 6;

export class NeighbourTable {
  /** `slots`: how many neighbours can be known at once, retired ones included. */
  static buffer(slots: number): SharedArrayBuffer {
    if (!(slots >= 1 && slots <= NEIGHBOURS_MAX)) {
      throw new RangeError(`neighbour table of ${slots} slots: allowed are 1..${NEIGHBOURS_MAX}`);
    }
    const buckets = 1 << Math.max(1, 32 - Math.clz32(slots - 1));
    const size = HEADER.size + buckets + (slots + 1) * NEIGHBOUR.size;
    const buffer = new SharedArrayBuffer(size * 4);
    const table = new Int32Array(buffer);
    table[SLOTS_MAX] = slots;
    table[BUCKETS_MAX] = buckets;
    return buffer;
  }

  /** Highest slot. */
  readonly slotsMax: number;
  private readonly words: Int32Array;
  /** Word of record 0, which is never used: bucket heads are a power of two words long. */
  private readonly records: number;
  /** The same from record 0 on: for what is asked of every packet. */
  private readonly slots: Int32Array;
  private readonly bucketShift: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.slotsMax = this.words[SLOTS_MAX]!;
    const buckets = this.words[BUCKETS_MAX]!;
    this.records = HEADER.size + buckets;
    this.slots = this.words.subarray(this.records);
    this.bucketShift = Math.clz32(buckets) + 1;
  }

  /** Slot of an IPv4 neighbour in any state but retired, 0 = not known. */
  find(interfaceSlot: number, address: number): number {
    const table = this.words;
    const records = this.records;
    let slot = table[this.bucket(interfaceSlot, address)]!;
    for (let steps = this.slotsMax; slot !== 0 && steps > 0; steps--) {
      const at = records + (slot << RECORD_SHIFT);
      if (
        table[at + ADDRESS] === address &&
        table[at + INTERFACE_SLOT] === interfaceSlot &&
        table[at + FAMILY] === IPV4 &&
        table[at + STATE] !== NEIGHBOUR_RETIRED
      ) {
        return slot;
      }
      slot = table[at + NEXT]!;
    }
    return 0;
  }

  /** As find, for IPv6. */
  find6(interfaceSlot: number, word0: number, word1: number, word2: number, word3: number): number {
    const table = this.words;
    const records = this.records;
    let slot = table[this.bucket6(interfaceSlot, word0, word1, word2, word3)]!;
    for (let steps = this.slotsMax; slot !== 0 && steps > 0; steps--) {
      const at = records + (slot << RECORD_SHIFT);
      if (
        table[at + ADDRESS + 3] === word3 &&
        table[at + ADDRESS + 2] === word2 &&
        table[at + ADDRESS + 1] === word1 &&
        table[at + ADDRESS] === word0 &&
        table[at + INTERFACE_SLOT] === interfaceSlot &&
        table[at + FAMILY] === IPV6 &&
        table[at + STATE] !== NEIGHBOUR_RETIRED
      ) {
        return slot;
      }
      slot = table[at + NEXT]!;
    }
    return 0;
  }

  /** Control plane: find or find6, as the address is. */
  findHost(interfaceSlot: number, address: HostAddress): number {
    return typeof address === 'number'
      ? this.find(interfaceSlot, address)
      : this.find6(interfaceSlot, ...address);
  }

  /** The MAC as it stands in a frame: its first four bytes, the last two (upper half 0). */
  macStart(slot: number): number {
    return this.slots[((slot & SLOT_BITS) << RECORD_SHIFT) + MAC_START]!;
  }

  macEnd(slot: number): number {
    return this.slots[((slot & SLOT_BITS) << RECORD_SHIFT) + MAC_END]!;
  }

  /** First four bytes of the MAC, as one number that reads as they do. */
  macHigh(slot: number): number {
    return swapped32(this.macStart(slot));
  }

  /** Last two bytes of the MAC, 0..0xffff. */
  macLow(slot: number): number {
    return swapped16(this.macEnd(slot));
  }

  interfaceSlot(slot: number): number {
    return this.slots[((slot & SLOT_BITS) << RECORD_SHIFT) + INTERFACE_SLOT]!;
  }

  /** Control plane: the neighbour's address. */
  address(slot: number): HostAddress {
    const table = this.words;
    const at = this.records + (slot << RECORD_SHIFT) + ADDRESS;
    return table[at - ADDRESS + FAMILY] === IPV4
      ? table[at]!
      : [table[at]!, table[at + 1]!, table[at + 2]!, table[at + 3]!];
  }

  /** NEIGHBOUR_*. */
  state(slot: number): number {
    return this.words[this.records + (slot << RECORD_SHIFT) + STATE]!;
  }

  lastUsedTick(slot: number): number {
    return this.words[this.records + (slot << RECORD_SHIFT) + LAST_USED_TICK]!;
  }

  /** Worker: the slot was used at this tick. Writes only when the tick has changed. */
  touch(slot: number, tick: number): void {
    const at = ((slot & SLOT_BITS) << RECORD_SHIFT) + LAST_USED_TICK;
    if (this.slots[at] !== tick) {
      this.slots[at] = tick;
    }
  }

  /** Worker: a frame wants this neighbour, which has no MAC. */
  request(slot: number): void {
    const at = this.records + (slot << RECORD_SHIFT) + REQUESTED;
    if (this.words[at] === 0) {
      this.words[at] = 1;
    }
  }

  /** Control plane: whether a worker has wanted it since the last call. */
  takeRequest(slot: number): boolean {
    const at = this.records + (slot << RECORD_SHIFT) + REQUESTED;
    const wanted = this.words[at] !== 0;
    this.words[at] = 0;
    return wanted;
  }

  /** Slots in use, retired ones not counted. */
  get usedCount(): number {
    return this.words[USED]!;
  }

  /** Neighbours that found no free slot. */
  get overflowCount(): number {
    return this.words[OVERFLOWS]!;
  }

  /**
   * Control plane: a new record. The caller has made sure that `find` does not know it, or wants
   * it to hide the one that is known. Returns its slot, 0 = the table is full.
   */
  insert(
    interfaceSlot: number,
    address: HostAddress,
    macHigh: number,
    macLow: number,
    state: number,
    tick: number,
  ): number {
    const table = this.words;
    const slot = this.allocate(tick);
    if (slot === 0) {
      table[OVERFLOWS] = table[OVERFLOWS]! + 1;
      return 0;
    }
    const at = this.records + (slot << RECORD_SHIFT);
    const bucket = this.bucketOf(interfaceSlot, address);
    table.fill(0, at, at + NEIGHBOUR.size);
    if (typeof address === 'number') {
      table[at + FAMILY] = IPV4;
      table[at + ADDRESS] = address;
    } else {
      table[at + FAMILY] = IPV6;
      table.set(address, at + ADDRESS);
    }
    this.writeMac(at, macHigh, macLow);
    table[at + INTERFACE_SLOT] = interfaceSlot;
    table[at + NEXT] = table[bucket]!;
    table[at + STATE] = state;
    table[USED] = table[USED]! + 1;
    Atomics.store(table, bucket, slot);
    return slot;
  }

  /** Control plane: gives the MAC to a record that was never resolved, so nobody reads it yet. */
  resolve(slot: number, macHigh: number, macLow: number): void {
    const at = this.records + (slot << RECORD_SHIFT);
    this.writeMac(at, macHigh, macLow);
    Atomics.store(this.words, at + STATE, NEIGHBOUR_RESOLVED);
  }

  private writeMac(at: number, macHigh: number, macLow: number): void {
    this.words[at + MAC_START] = swapped32(macHigh);
    this.words[at + MAC_END] = swapped16(macLow & 0xffff);
  }

  /** Control plane: another state for the same address and MAC. */
  setState(slot: number, state: number): void {
    Atomics.store(this.words, this.records + (slot << RECORD_SHIFT) + STATE, state);
  }

  /** Control plane: takes a slot out of its chain; it is not used again for RETIRED_TICKS. */
  retire(slot: number, tick: number): void {
    const table = this.words;
    const at = this.records + (slot << RECORD_SHIFT);
    let link = this.bucketOf(table[at + INTERFACE_SLOT]!, this.address(slot));
    for (let steps = this.slotsMax; steps > 0 && table[link] !== slot; steps--) {
      link = this.records + (table[link]! << RECORD_SHIFT) + NEXT;
    }
    if (table[link] !== slot) {
      throw new Error(`neighbour slot ${slot} is in no chain: only a used slot can be retired`);
    }
    Atomics.store(table, link, table[at + NEXT]!);
    table[at + RETIRED_TICK] = tick;
    Atomics.store(table, at + STATE, NEIGHBOUR_RETIRED);
    table[USED] = table[USED]! - 1;
  }

  private allocate(tick: number): number {
    const table = this.words;
    for (let tried = 0; tried < this.slotsMax; tried++) {
      const slot = (table[CURSOR]! % this.slotsMax) + 1;
      table[CURSOR] = slot;
      const at = this.records + (slot << RECORD_SHIFT);
      const state = table[at + STATE];
      const age = (tick - table[at + RETIRED_TICK]!) | 0;
      if (
        state === NEIGHBOUR_FREE ||
        (state === NEIGHBOUR_RETIRED && (age >= RETIRED_TICKS || age < 0))
      ) {
        return slot;
      }
    }
    return 0;
  }

  private bucket(interfaceSlot: number, address: number): number {
    const mixed = Math.imul(address ^ Math.imul(interfaceSlot, 0x85ebca6b), 0x9e3779b1);
    return HEADER.size + (mixed >>> this.bucketShift);
  }
  private bucket6(
    interfaceSlot: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): number {
    const network = Math.imul(word0 ^ Math.imul(word1, 0xc2b2ae35), 0x27d4eb2f);
    const host = Math.imul(word2 ^ (network >>> 15) ^ network, 0x165667b1) ^ word3;
    return this.bucket(interfaceSlot, host);
  }

  private bucketOf(interfaceSlot: number, address: HostAddress): number {
    return typeof address === 'number'
      ? this.bucket(interfaceSlot, address)
      : this.bucket6(interfaceSlot, ...address);
  }
}
