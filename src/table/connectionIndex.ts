/**
 * Slots of the connection table's index: claimed by one compare-exchange, cleared by one store, in
 * an entry's own bucket or, when that is full, in one of the next, which its head counts. See
 * connection.ts for the picture. Called with the lock of the entry's bucket, or by its owner.
 */

/** Of buckets and the words in them; whoever uses one often binds it to a constant of its own. */
export const INDEX = {
  bucketShift: 4,
  bucketWords: 16,
  /** Of a bucket's number: tables have at most that many. Tells V8 that no sum overflows. */
  bucketBits: 0x7fffff,
  entryBits: 0x00ffffff,
  tagBits: 0xff000000 | 0,
  /** In a bucket's head: lock, how often it was given back (modulo 256), overflow count. */
  lockBits: 0xff,
  versionOne: 1 << 8,
  versionBits: 0xff00,
  overflowShift: 16,
  /** Buckets after its own that an entry may stand in. */
  overflowBuckets: 7,
} as const;
const [BUCKET_SHIFT, BUCKET_WORDS] = [INDEX.bucketShift, INDEX.bucketWords];
const [TAG_BITS, OVERFLOW_BUCKETS] = [INDEX.tagBits, INDEX.overflowBuckets];
const OVERFLOW_ONE = 1 << INDEX.overflowShift;

/** `mask`: buckets less one. Index of the slot; 0: there is none in its own or the next buckets. */
export function claim(index: Int32Array, mask: number, hash: number, entry: number): number {
  const word = (hash & TAG_BITS) | entry;
  const home = hash & mask;
  for (let step = 0; step <= OVERFLOW_BUCKETS; step++) {
    const bucket = ((home + step) & mask) << BUCKET_SHIFT;
    const start = firstSlot(hash);
    for (let probe = 0; probe < BUCKET_WORDS - 1; probe++) {
      const slot = start + probe < BUCKET_WORDS ? start + probe : start + probe - 15;
      if (index[bucket + slot] !== 0) continue;
      if (step > 0) Atomics.add(index, home << BUCKET_SHIFT, OVERFLOW_ONE);
      if (Atomics.compareExchange(index, bucket + slot, 0, word) === 0) return bucket + slot;
      if (step > 0) Atomics.sub(index, home << BUCKET_SHIFT, OVERFLOW_ONE);
    }
  }
  return 0;
}

/** Takes an entry out of the first slot, from its hash's own bucket on, that has it. */
export function clear(index: Int32Array, mask: number, hash: number, entry: number): void {
  const slot = locate(index, mask, hash, entry);
  if (slot !== 0) clearSlot(index, mask, hash, slot);
}

/** The same of a slot that is known. */
export function clearSlot(index: Int32Array, mask: number, hash: number, slot: number): void {
  index[slot] = 0;
  const home = hash & mask;
  if (slot >> BUCKET_SHIFT !== home) Atomics.sub(index, home << BUCKET_SHIFT, OVERFLOW_ONE);
}

/**
 * Would `clear` for the hash end the bucket of this slot? An entry has two slots, by two hashes; it
 * would not when these have one tag and the other's slot, which overflowed, comes first. Buckets
 * would then count what is not theirs.
 */
export function isOwnSlot(
  index: Int32Array,
  mask: number,
  hash: number,
  entry: number,
  slot: number,
): boolean {
  return locate(index, mask, hash, entry) >> BUCKET_SHIFT === slot >> BUCKET_SHIFT;
}

function locate(index: Int32Array, mask: number, hash: number, entry: number): number {
  const word = (hash & TAG_BITS) | entry;
  const home = hash & mask;
  for (let step = 0; step <= OVERFLOW_BUCKETS; step++) {
    const bucket = ((home + step) & mask) << BUCKET_SHIFT;
    const start = firstSlot(hash);
    for (let probe = 0; probe < BUCKET_WORDS - 1; probe++) {
      const slot = start + probe < BUCKET_WORDS ? start + probe : start + probe - 15;
      if (index[bucket + slot] === word) return bucket + slot;
    }
  }
  return 0;
}

/** Slot, 1 to 15, at which the search in a bucket begins: spreads entries, shortens hits. */
export function firstSlot(hash: number): number {
  const slot = Math.imul(hash, 0x9e3779b1 | 0) >>> 28;
  return slot === 0 ? 15 : slot;
}
