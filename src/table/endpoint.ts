/**
 * Endpoints of NAT real servers: is this source a real server of ours? Asked by workers for
 * packets without a connection when nat_icmp_send is set.
 *
 * Memory: one SharedArrayBuffer with two halves, each an open-addressed table at most half full
 * and no larger than its content asks for, so that pages beyond it are never touched. Only the
 * control plane writes: it fills the idle half, then flips HEAD, which says in one word which half
 * is in use and how large its table is. Host byte order; IPv4 addresses signed, in the first of
 * four words.
 */
import type { HostAddress } from './address6';
import { REAL_SERVERS_MAX } from './realServer';

/** Entries of a half: a power of two. */
const ENTRIES_MAX = REAL_SERVERS_MAX * 2;
const ENTRIES_MIN = 16;
/** An entry: key (0 = empty), address. */
const WORDS = 5;
/** Half in use, and log2 of its entries above it. */
const HEAD = 0;
const HALF_MASK = 1;
const SIZE_SHIFT = 1;
/** The first half begins at a cache line of its own. */
const FIRST = 16;
/** In a key above port << 8 | protocol. */
const IPV6 = 1 << 24;

export interface Endpoint {
  readonly protocol: number;
  readonly address: HostAddress;
  readonly port: number;
}

export class EndpointTable {
  private readonly words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer((FIRST + 2 * ENTRIES_MAX * WORDS) * 4);
  }

  /** Of an IPv4 address. */
  has(protocol: number, address: number, port: number): boolean {
    return this.holds((port << 8) | protocol, address, 0, 0, 0);
  }

  /** Of an IPv6 address. */
  has6(
    protocol: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    port: number,
  ): boolean {
    return this.holds((port << 8) | protocol | IPV6, word0, word1, word2, word3);
  }

  private holds(key: number, word0: number, word1: number, word2: number, word3: number): boolean {
    const words = this.words;
    const head = words[HEAD]!;
    const base = FIRST + (head & HALF_MASK) * ENTRIES_MAX * WORDS;
    const mask = (1 << (head >> SIZE_SHIFT)) - 1;
    let entry = start(key, word0, word1, word2, word3) & mask;
    for (let probe = 0; probe <= mask; probe++) {
      const at = base + entry * WORDS;
      const held = words[at]!;
      if (held === 0) return false;
      if (
        held === key &&
        words[at + 1] === word0 &&
        words[at + 2] === word1 &&
        words[at + 3] === word2 &&
        words[at + 4] === word3
      ) {
        return true;
      }
      entry = (entry + 1) & mask;
    }
    return false;
  }

  /** Control plane: these and no others, from now on. At most REAL_SERVERS_MAX. */
  replace(endpoints: readonly Endpoint[]): void {
    if (endpoints.length > REAL_SERVERS_MAX) {
      throw new RangeError(`${endpoints.length} endpoints: allowed are ${REAL_SERVERS_MAX}`);
    }
    const words = this.words;
    const half = 1 - (words[HEAD]! & HALF_MASK);
    const base = FIRST + half * ENTRIES_MAX * WORDS;
    let size = Math.log2(ENTRIES_MIN);
    while (1 << size < endpoints.length * 2) size++;
    words.fill(0, base, base + (1 << size) * WORDS);
    for (const endpoint of endpoints) this.put(endpoint, base, (1 << size) - 1);
    Atomics.store(words, HEAD, half | (size << SIZE_SHIFT));
  }

  private put({ protocol, address, port }: Endpoint, base: number, mask: number): void {
    const words = this.words;
    const four = typeof address === 'number';
    const [word0, word1, word2, word3] = four ? [address, 0, 0, 0] : address;
    const key = (port << 8) | protocol | (four ? 0 : IPV6);
    let entry = start(key, word0, word1, word2, word3) & mask;
    // Twice the same takes two entries, which does no harm: they fit.
    while (words[base + entry * WORDS] !== 0) entry = (entry + 1) & mask;
    words.set([key, word0, word1, word2, word3], base + entry * WORDS);
  }
}

function start(key: number, word0: number, word1: number, word2: number, word3: number): number {
  const network = Math.imul(word0 ^ Math.imul(word1, 0xc2b2ae35), 0x27d4eb2f);
  const host = Math.imul(word2 ^ network ^ (network >>> 15), 0x165667b1) ^ word3;
  const hash = Math.imul(host ^ Math.imul(key, 0x85ebca6b), 0x9e3779b1);
  return hash ^ (hash >>> 15);
}
