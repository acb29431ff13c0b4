/**
 * The interfaces xvs serves: one record a slot, slot = position in the configuration's list of
 * interfaces. The pipeline takes from here the source MAC of what it sends, the MTU it may fill
 * and the source addresses of the ICMP errors and outer headers it makes.
 *
 * Memory: one SharedArrayBuffer. Only the control plane writes (from rtnetlink); workers read
 * plainly. Words are host byte order; IPv4 addresses are signed, 10.0.0.1 = 0x0a000001. An own MAC
 * changes in place: a frame sent in that very instant may carry half of each, which costs that
 * frame and nothing else (every other word stands alone).
 */

import { words } from '../layout/record';
import { swapped16, swapped32 } from '../net/byteOrder';
import { type Address6, NO_ADDRESS6 } from './address6';

/** Interfaces at most. */
export const LINKS_MAX = 32;

export const LINK = words('link', 16, {
  interfaceIndex: 1, // the kernel's ifindex, 0 = the interface is not there
  // The MAC as a frame's bytes 6 to 11 are: little-endian words, the lower half of the first 0.
  macStart: 1,
  macEnd: 1,
  mtu: 1,
  up: 1, // 1 = administratively up and with carrier
  address: 1, // primary IPv4 address, 0 = none
  address6: 4, // primary IPv6 address, all 0 = none
  reserved: 6,
});

const RECORD_SHIFT = 4; // 16 words
/** Of a slot: tells V8 that no sum overflows. */
const SLOT_BITS = LINKS_MAX - 1;
const {
  interfaceIndex: INTERFACE_INDEX,
  macStart: MAC_START,
  macEnd: MAC_END,
  mtu: MTU,
  up: UP,
  address: ADDRESS,
  address6: ADDRESS6,
} = LINK.at;

/** What the control plane knows of an interface; of its MAC four bytes and two, as they read. */
export interface Link {
  readonly interfaceIndex: number;
  readonly macHigh: number;
  readonly macLow: number;
  readonly mtu: number;
  readonly up: boolean;
  readonly address: number;
  /** Primary IPv6 address, four words; left out or all 0 = none. */
  readonly address6?: Address6;
}

export class LinkTable {
  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(LINKS_MAX * LINK.size * 4);
  }

  private readonly words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  /** The kernel's ifindex; 0 = there is no such interface now. */
  interfaceIndex(slot: number): number {
    return this.words[(slot << RECORD_SHIFT) + INTERFACE_INDEX]!;
  }

  /** The interface's own MAC as it stands in a frame: two bytes (lower half 0), the last four. */
  macStart(slot: number): number {
    return this.words[((slot & SLOT_BITS) << RECORD_SHIFT) + MAC_START]!;
  }

  macEnd(slot: number): number {
    return this.words[((slot & SLOT_BITS) << RECORD_SHIFT) + MAC_END]!;
  }

  /** First four bytes of the MAC, as one number that reads as they do. */
  macHigh(slot: number): number {
    return (swapped16(this.macStart(slot) >>> 16) << 16) | (swapped32(this.macEnd(slot)) >>> 16);
  }

  /** Last two bytes of the MAC, 0..0xffff. */
  macLow(slot: number): number {
    return swapped32(this.macEnd(slot)) & 0xffff;
  }

  /** Largest IP packet in bytes. */
  mtu(slot: number): number {
    return this.words[((slot & SLOT_BITS) << RECORD_SHIFT) + MTU]!;
  }

  /** 1 = up with carrier, else 0. */
  up(slot: number): number {
    return this.words[(slot << RECORD_SHIFT) + UP]!;
  }

  /** Primary IPv4 address; 0 = none. */
  address(slot: number): number {
    return this.words[(slot << RECORD_SHIFT) + ADDRESS]!;
  }

  /** One of the four words (0..3) of the primary IPv6 address; all 0 = none. */
  address6(slot: number, word: number): number {
    return this.words[(slot << RECORD_SHIFT) + ADDRESS6 + word]!;
  }

  /** Control plane: the slot of an ifindex, -1 when xvs does not serve it. */
  slotOf(interfaceIndex: number): number {
    for (let slot = 0; slot < LINKS_MAX; slot++) {
      if (interfaceIndex !== 0 && this.interfaceIndex(slot) === interfaceIndex) {
        return slot;
      }
    }
    return -1;
  }

  /** Control plane only. Returns whether anything changed. Throws for a slot out of range. */
  set(slot: number, link: Link): boolean {
    if (!(slot >= 0 && slot < LINKS_MAX)) {
      throw new RangeError(`interface slot ${slot}: allowed are 0..${LINKS_MAX - 1}`);
    }
    const at = slot << RECORD_SHIFT;
    const { macHigh, macLow } = link;
    const macEnd = swapped32((macHigh << 16) | (macLow & 0xffff));
    let changed = this.write(at + MAC_START, swapped16(macHigh >>> 16) << 16);
    changed = this.write(at + MAC_END, macEnd) || changed;
    changed = this.write(at + MTU, link.mtu) || changed;
    changed = this.write(at + UP, link.up ? 1 : 0) || changed;
    changed = this.write(at + ADDRESS, link.address) || changed;
    const address6 = link.address6 ?? NO_ADDRESS6;
    for (let word = 0; word < 4; word++) {
      changed = this.write(at + ADDRESS6 + word, address6[word]!) || changed;
    }
    return this.write(at + INTERFACE_INDEX, link.interfaceIndex) || changed;
  }

  private write(at: number, value: number): boolean {
    if (this.words[at] === (value | 0)) {
      return false;
    }
    this.words[at] = value;
    return true;
  }
}
