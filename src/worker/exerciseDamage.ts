/**
 * Damage to frames of the exercise, as a sick host or a hostile one sends them: a bit or a byte of
 * the headers is another, the end is missing, or it begins in the middle of a word. Deterministic
 * for a seed; allocates nothing.
 */
import { fold, sumBytes } from '../net/checksum';
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4 } from '../net/ethernet';
import { RX_WORDS } from '../port/port';

const ETHERNET_TYPE = 12;

/** xorshift32; the state is an int32 and never 0. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0 || 1;
  }

  /** 0 to mask; mask is a power of two less one. */
  next(mask: number): number {
    let state = this.state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.state = state;
    return (state >>> 8) & mask;
  }
}

export class Damage {
  /** One frame in `mask` + 1 is damaged; -1: none. */
  mask = -1;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly random: Random;

  constructor(view: DataView, seed: number) {
    this.view = view;
    this.bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    this.random = new Random(seed ^ 0x2545f491);
  }

  /** To the frame in place `place` of a port's rx words. */
  perhaps(rx: Int32Array, place: number): void {
    const random = this.random;
    if (this.mask < 0 || random.next(this.mask) !== 0) return;
    const view = this.view;
    const at = rx[place * RX_WORDS]!;
    const length = rx[place * RX_WORDS + 1]!;
    const how = random.next(7);
    if (how === 0) {
      rx[place * RX_WORDS + 1] = Math.min(length, random.next(127));
      return;
    }
    if (how === 7) {
      rx[place * RX_WORDS] = at + 2;
      this.bytes.copyWithin(at + 2, at, at + length);
      return;
    }
    const where = at + ETHERNET_TYPE + random.next(how < 3 ? 127 : 63);
    const bit = 1 << random.next(7);
    view.setUint8(where, how < 4 ? random.next(0xff) : view.getUint8(where) ^ bit);
    if (how === 1 || ethernetType(view, at) !== TYPE_IPV4) return;
    // Else most of it would end at IPv4's checksum.
    patchIp(view, at, 0, view.getUint8(at + ETHERNET_BYTES), length);
  }
}

/** Sets a byte of the IPv4 header and makes its checksum right again. */
export function patchIp(
  view: DataView,
  at: number,
  offset: number,
  value: number,
  length: number,
): number {
  view.setUint8(at + ETHERNET_BYTES + offset, value);
  const headerBytes = (view.getUint8(at + ETHERNET_BYTES) & 0xf) << 2;
  view.setUint16(at + ETHERNET_BYTES + 10, 0);
  view.setUint16(
    at + ETHERNET_BYTES + 10,
    ~fold(sumBytes(view, at + ETHERNET_BYTES, headerBytes)) & 0xffff,
  );
  return length;
}
