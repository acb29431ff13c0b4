/**
 * Endpoints of NAT real servers: is this source a real server of ours? Asked by workers for
 * packets without a connection when nat_icmp_send is set. Written by the control plane; an entry
 * is two words, address and port << 8 | protocol, in an open-addressed table that is rebuilt on
 * removal into the idle half.
 */
import { REAL_SERVERS_MAX } from './realServer';

/** Entries of a half: a power of two, at most half full. */
const ENTRIES = REAL_SERVERS_MAX * 2;
const WORDS = 2;
/** Word 0: which half is in use. */
const HEAD = 16;

export interface Endpoint {
  readonly protocol: number;
  readonly address: number;
  readonly port: number;
}

export class EndpointTable {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer((HEAD + 2 * ENTRIES * WORDS) * 4);
  }

  has(protocol: number, address: number, port: number): boolean {
    const words = this.#words;
    const base = HEAD + words[0]! * ENTRIES * WORDS;
    const key = (port << 8) | protocol;
    let entry = start(address, key);
    for (let probe = 0; probe < ENTRIES; probe++) {
      const at = base + entry * WORDS;
      const held = words[at + 1]!;
      if (held === 0) return false;
      if (held === key && words[at] === address) return true;
      entry = (entry + 1) & (ENTRIES - 1);
    }
    return false;
  }

  /** Control plane: these and no others, from now on. */
  replace(endpoints: readonly Endpoint[]): void {
    const words = this.#words;
    const half = 1 - words[0]!;
    const base = HEAD + half * ENTRIES * WORDS;
    words.fill(0, base, base + ENTRIES * WORDS);
    for (const { protocol, address, port } of endpoints) {
      const key = (port << 8) | protocol;
      let entry = start(address, key);
      while (
        words[base + entry * WORDS + 1] !== 0 &&
        (words[base + entry * WORDS + 1] !== key || words[base + entry * WORDS] !== address)
      ) {
        entry = (entry + 1) & (ENTRIES - 1);
      }
      words[base + entry * WORDS] = address;
      words[base + entry * WORDS + 1] = key;
    }
    Atomics.store(words, 0, half);
  }
}

function start(address: number, key: number): number {
  const hash = Math.imul(address ^ Math.imul(key, 0x85ebca6b | 0), 0x9e3779b1 | 0);
  return (hash ^ (hash >>> 15)) & (ENTRIES - 1);
}
