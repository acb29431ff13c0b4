/** Hashes of the hashing schedulers, 32 bits in and out. */

/** Multiplicative hash by the golden ratio's 0x61c88647: the upper `bits` bits (1 to 32). */
export function hash32(value: number, bits: number): number {
  return Math.imul(value, 0x61c88647) >>> (32 - bits);
}

/** An address of four words as one; IPv4 stands in the first, the rest is 0. */
export function foldAddress(address: Int32Array): number {
  return address[0]! ^ address[1]! ^ address[2]! ^ address[3]!;
}

// "somepseudorandomlygeneratedbytes", the initial state of SipHash, as 32-bit halves.
const INITIAL_0_HIGH = 0x736f6d65;
const INITIAL_0_LOW = 0x70736575;
const INITIAL_1_HIGH = 0x646f7261;
const INITIAL_1_LOW = 0x6e646f6d;
const INITIAL_2_HIGH = 0x6c796765;
const INITIAL_2_LOW = 0x6e657261;
const INITIAL_3_HIGH = 0x74656462;
const INITIAL_3_LOW = 0x79746573;
/** Length of the message in the last block's highest byte. */
const LENGTH_HIGH = 4 << 24;
/** One round for the message's only block, three to finish. */
const ROUNDS = 4;

/**
 * SipHash-1-3 (Aumasson, Bernstein) of one little-endian 32-bit word, its low 32 bits, signed.
 * Both 64-bit words of the key are `key` (unsigned 32 bits, the upper half 0).
 */
export function sipHash13(key: number, word: number): number {
  let v0h = INITIAL_0_HIGH;
  let v0 = INITIAL_0_LOW ^ key;
  let v1h = INITIAL_1_HIGH;
  let v1 = INITIAL_1_LOW ^ key;
  let v2h = INITIAL_2_HIGH;
  let v2 = INITIAL_2_LOW ^ key;
  let v3h = INITIAL_3_HIGH ^ LENGTH_HIGH;
  let v3 = INITIAL_3_LOW ^ key ^ word;
  for (let round = 0; round < ROUNDS; round++) {
    let low = (v0 + v1) | 0;
    v0h = (v0h + v1h + (low >>> 0 < v0 >>> 0 ? 1 : 0)) | 0;
    v0 = low;
    let high = (v1h << 13) | (v1 >>> 19);
    v1 = ((v1 << 13) | (v1h >>> 19)) ^ v0;
    v1h = high ^ v0h;
    // v0 is exchanged with its upper half from here to the next addition.
    low = (v2 + v3) | 0;
    v2h = (v2h + v3h + (low >>> 0 < v2 >>> 0 ? 1 : 0)) | 0;
    v2 = low;
    high = (v3h << 16) | (v3 >>> 16);
    v3 = ((v3 << 16) | (v3h >>> 16)) ^ v2;
    v3h = high ^ v2h;
    low = (v0h + v3) | 0;
    v0h = (v0 + v3h + (low >>> 0 < v0h >>> 0 ? 1 : 0)) | 0;
    v0 = low;
    high = (v3h << 21) | (v3 >>> 11);
    v3 = ((v3 << 21) | (v3h >>> 11)) ^ v0;
    v3h = high ^ v0h;
    low = (v2 + v1) | 0;
    v2h = (v2h + v1h + (low >>> 0 < v2 >>> 0 ? 1 : 0)) | 0;
    v2 = low;
    high = (v1h << 17) | (v1 >>> 15);
    v1 = ((v1 << 17) | (v1h >>> 15)) ^ v2;
    v1h = high ^ v2h;
    low = v2;
    v2 = v2h;
    v2h = low;
    if (round === 0) {
      v0h ^= LENGTH_HIGH;
      v0 ^= word;
      v2 ^= 0xff;
    }
  }
  return v0 ^ v1 ^ v2 ^ v3;
}
