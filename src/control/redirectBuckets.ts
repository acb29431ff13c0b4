/**
 * `endpoints4` and `endpoints6` of the XDP program, as the control plane keeps them: the entries of
 * `services`, `real_servers` and `local_addresses` once more, in buckets that the program reads
 * without a call into the kernel. They follow those maps.
 *
 * Sixteen words a bucket, as native/xsk-napi/bpf/maps.h declares it: entries of an address, port,
 * protocol and kinds; last, how many endpoints found no room. An entry keeps its place as long as
 * it has kinds, so that the program misses none while a bucket is written; and an endpoint stands
 * in its bucket with all of its kinds or with none, else the program would believe the half.
 */
import type { MapFollower, MapWriter } from './redirectMap';

const BUCKET_BITS = 16;
const BUCKET_WORDS = 16;
const BUCKET_BYTES = 4 * BUCKET_WORDS;
const LEFT_OUT = 15;
/** Of an entry's last word: port (as the machine reads it from a frame), protocol, kinds. */
const ENDPOINT_BITS = 0xffffff;
const KINDS_SHIFT = 24;
/** A kind that each entry has once it was used: the program looks no further than those. */
const KIND_USED = 128;
/** Word of a key of the maps that are followed: port, protocol, family; of an address: family. */
const REST_WORD = 4;
/** Buckets that are handed to the addon at once. */
const STAGED_MAX = 1024;

type Program = Pick<MapWriter, 'mapUpdateMany'>;

/**
 * The bucket of an endpoint: `count` words of an address from `words[at]` on as the machine reads
 * them from a frame, then port | protocol << 16.
 */
export function bucketOf(words: Int32Array, at: number, count: number, endpoint: number): number {
  let hash = words[at]!;
  for (let word = 1; word < count; word++) {
    hash = Math.imul(hash, 0x9e3779b1) ^ words[at + word]!;
  }
  const portAndProtocol = ((endpoint & 0xffff) << 8) | (endpoint >>> 16);
  hash = Math.imul(hash, 0x9e3779b1) ^ portAndProtocol;
  return Math.imul(hash, 0x85ebca6b) >>> (32 - BUCKET_BITS);
}

/** The buckets of one family. */
class Buckets {
  readonly #program: Program;
  readonly #map: string;
  /** Of an address; an entry has one more. */
  readonly #addressWords: number;
  readonly #entries: number;
  readonly #words = new Int32Array(BUCKET_WORDS << BUCKET_BITS);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  readonly #isChanged = new Uint8Array(1 << BUCKET_BITS);
  readonly #changed: number[] = [];

  constructor(program: Program, map: string, addressWords: number) {
    this.#program = program;
    this.#map = map;
    this.#addressWords = addressWords;
    this.#entries = Math.floor(LEFT_OUT / (addressWords + 1));
  }

  /** The endpoint has got the kinds `after` in place of `before`; those of other maps stay. */
  change(words: Int32Array, at: number, endpoint: number, before: number, after: number): void {
    const bucket = bucketOf(words, at, this.#addressWords, endpoint);
    const entry = this.#find(bucket, words, at, endpoint);
    if (entry >= 0) {
      const rest = entry + this.#addressWords;
      this.#words[rest] = (this.#words[rest]! & ~(before << KINDS_SHIFT)) | (after << KINDS_SHIFT);
    } else {
      // Only what had no room may be missing: `before` is then one of those that are counted.
      this.#words[bucket * BUCKET_WORDS + LEFT_OUT]! += (after ? 1 : 0) - (before ? 1 : 0);
    }
    if (this.#isChanged[bucket] === 1) return;
    this.#isChanged[bucket] = 1;
    this.#changed.push(bucket);
  }

  /** In the order of the changes: what is new, then what is gone. */
  commit(): void {
    const changed = this.#changed;
    while (changed.length > 0) {
      const staged = changed.slice(0, STAGED_MAX);
      const values = new Uint8Array(staged.length * BUCKET_BYTES);
      for (const [at, bucket] of staged.entries()) {
        const first = bucket * BUCKET_BYTES;
        values.set(this.#bytes.subarray(first, first + BUCKET_BYTES), at * BUCKET_BYTES);
      }
      const keys = new Uint8Array(Uint32Array.from(staged).buffer);
      this.#program.mapUpdateMany(this.#map, keys, values);
      changed.splice(0, staged.length);
      for (const bucket of staged) this.#isChanged[bucket] = 0;
    }
  }

  /** Where the entry of an endpoint is, made if there is room for a new one; -1: it is left out. */
  #find(bucket: number, words: Int32Array, at: number, endpoint: number): number {
    const first = bucket * BUCKET_WORDS;
    let free = -1;
    for (let index = 0; index < this.#entries; index++) {
      const entry = first + index * (this.#addressWords + 1);
      const rest = this.#words[entry + this.#addressWords]!;
      const kinds = rest >>> KINDS_SHIFT;
      const isUsed = kinds !== 0;
      if (isUsed && (rest & ENDPOINT_BITS) === endpoint && this.#isAt(entry, words, at)) {
        return entry;
      }
      if (free < 0 && (kinds & ~KIND_USED) === 0) free = entry;
      if (!isUsed) break;
    }
    // While one is left out all that are new are: it might be this one, of another map.
    if (free < 0 || this.#words[first + LEFT_OUT] !== 0) return -1;
    this.#words.set(words.subarray(at, at + this.#addressWords), free);
    this.#words[free + this.#addressWords] = endpoint | (KIND_USED << KINDS_SHIFT);
    return free;
  }

  #isAt(entry: number, words: Int32Array, at: number): boolean {
    for (let word = 0; word < this.#addressWords; word++) {
      if (this.#words[entry + word] !== words[at + word]) return false;
    }
    return true;
  }
}

export class RedirectBuckets {
  readonly #of4: Buckets;
  readonly #of6: Buckets;

  constructor(program: Program) {
    this.#of4 = new Buckets(program, 'endpoints4', 1);
    this.#of6 = new Buckets(program, 'endpoints6', 4);
  }

  /** Follows a map whose keys are endpoints; its values stand `shift` bits to the left here. */
  ofEndpoints(shift: number): MapFollower {
    return {
      change: (words, at, before, after) => {
        const rest = words[at + REST_WORD]!;
        const buckets = this.#of(rest >>> 24);
        buckets.change(words, at, rest & ENDPOINT_BITS, before << shift, after << shift);
      },
      commit: () => this.#commit(),
    };
  }

  /** Follows a map whose keys are addresses, likewise: endpoints of port and protocol 0. */
  ofAddresses(shift: number): MapFollower {
    return {
      change: (words, at, before, after) => {
        const buckets = this.#of(words[at + REST_WORD]!);
        buckets.change(words, at, 0, before << shift, after << shift);
      },
      commit: () => this.#commit(),
    };
  }

  /** What the addon throws passes; nothing is forgotten then. */
  #commit(): void {
    this.#of4.commit();
    this.#of6.commit();
  }

  #of(family: number): Buckets {
    return family === 4 ? this.#of4 : this.#of6;
  }
}
