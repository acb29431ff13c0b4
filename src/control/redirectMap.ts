/**
 * A hash map of the XDP program as the control plane keeps it: what the kernel has of each entry
 * and what it is to have, two words of bits. Differences go to the kernel many at a time. There may
 * be a million entries, so that they stand in one array of words, found by open addressing:
 *
 *   entry   key (as the kernel has it) | held | wanted
 *
 * An entry without held and wanted bits stays in its place until the array is made anew: what comes
 * behind it is found past it. Use: `begin` for all anew, or not for additions; then fill `key` and
 * `want` for each; then `commit`.
 */
import type { XdpProgram } from '../port/addon';

export type MapWriter = Pick<XdpProgram, 'mapUpdateMany' | 'mapDeleteMany'>;

/** Who repeats what the kernel has got. */
export interface MapFollower {
  /** The key stands in `words` from `at` on; its value before and after, 0: none. */
  change(words: Int32Array, at: number, before: number, after: number): void;
  /** All changes so far are to be in the kernel. */
  commit(): void;
}

/** A power of two. */
const ENTRIES_MIN = 64;
/** Entries that are handed to the addon at once. */
const STAGED_MAX = 4096;
/** Written keys differ from 0 here: the word with the family, or a key's only one. */
const FAMILY_WORD = 4;

/**
 * Makes the kernel's maps what is wanted, additions first: nothing that stays is ever missing, also
 * when another map has it now. What the addon throws passes; the next commit then goes on with what
 * is left.
 */
export function commitAll(maps: readonly RedirectMap[]): void {
  for (const map of maps) map.add();
  for (const map of maps) map.remove();
}

export class RedirectMap {
  /** Key of the entry that `want` speaks of; what is written stays until it is written over. */
  readonly key: DataView;
  readonly #program: MapWriter;
  readonly #name: string;
  readonly #keyWords: number;
  readonly #size: number;
  readonly #tag: number;
  readonly #keyInts: Int32Array;
  readonly #follower: MapFollower | null;
  #words: Int32Array;
  #mask = ENTRIES_MIN - 1;
  /** Places in use, those without bits included. */
  #used = 0;
  #held = 0;
  /** Since `begin`; else `#touched` tells which entries may differ. */
  #isWhole = false;
  #touched: number[] = [];
  readonly #stagedAt = new Int32Array(STAGED_MAX);
  readonly #stagedKeys: Int32Array;
  readonly #stagedValues = new Int32Array(STAGED_MAX);
  #staged = 0;

  constructor(program: MapWriter, name: string, keyBytes: number, follower?: MapFollower) {
    this.#program = program;
    this.#follower = follower ?? null;
    this.#name = name;
    this.#keyWords = keyBytes / 4;
    this.#size = this.#keyWords + 2;
    this.#tag = Math.min(FAMILY_WORD, this.#keyWords - 1);
    this.#keyInts = new Int32Array(this.#keyWords);
    this.key = new DataView(this.#keyInts.buffer);
    this.#words = new Int32Array(ENTRIES_MIN * this.#size);
    this.#stagedKeys = new Int32Array(STAGED_MAX * this.#keyWords);
  }

  /** Entries that the kernel has. */
  get size(): number {
    return this.#held;
  }

  /** From now to `commit` all that there is to be is said. */
  begin(): void {
    this.#isWhole = true;
    const wanted = this.#keyWords + 1;
    for (let at = 0; at < this.#words.length; at += this.#size) this.#words[at + wanted] = 0;
  }

  /** The entry of `key` is to have these bits, beside those it is to have already. */
  want(bits: number): void {
    let at = this.#find();
    if (this.#words[at + this.#tag] === 0) {
      if ((this.#used + 1) * 4 > this.#mask * 3) {
        this.#rebuild();
        at = this.#find();
      }
      this.#words.set(this.#keyInts, at);
      this.#used++;
    }
    const wanted = at + this.#keyWords + 1;
    const before = this.#words[wanted]!;
    if ((before | bits) === before) return;
    this.#words[wanted] = before | bits;
    if (!this.#isWhole) this.#touched.push(at);
  }

  /** As commitAll, of one map. */
  commit(): void {
    this.add();
    this.remove();
  }

  /** What is wanted and not there gets there. */
  add(): void {
    try {
      if (this.#isWhole) {
        for (let at = 0; at < this.#words.length; at += this.#size) this.#stageUpdate(at);
      } else {
        for (const at of this.#touched) this.#stageUpdate(at);
      }
      this.#flushUpdates();
      this.#touched = [];
    } finally {
      this.#follower?.commit();
    }
  }

  /** What is there and not wanted goes. */
  remove(): void {
    if (!this.#isWhole) return;
    try {
      for (let at = 0; at < this.#words.length; at += this.#size) this.#stageDelete(at);
      this.#flushDeletes();
      this.#isWhole = false;
    } finally {
      this.#follower?.commit();
    }
    if (this.#used > 4 * this.#held + ENTRIES_MIN) this.#rebuild();
  }

  #stageUpdate(at: number): void {
    const wanted = this.#words[at + this.#keyWords + 1]!;
    if (wanted === 0 || wanted === this.#words[at + this.#keyWords]) return;
    this.#stagedValues[this.#staged] = wanted;
    this.#stage(at);
    if (this.#staged === STAGED_MAX) this.#flushUpdates();
  }

  #stageDelete(at: number): void {
    const held = at + this.#keyWords;
    if (this.#words[held] === 0 || this.#words[held + 1] !== 0) return;
    this.#stage(at);
    if (this.#staged === STAGED_MAX) this.#flushDeletes();
  }

  #stage(at: number): void {
    const first = this.#staged * this.#keyWords;
    for (let word = 0; word < this.#keyWords; word++) {
      this.#stagedKeys[first + word] = this.#words[at + word]!;
    }
    this.#stagedAt[this.#staged++] = at;
  }

  /** Bytes of what is staged, which is staged no more. */
  #take(words: Int32Array, count: number): Uint8Array {
    return new Uint8Array(words.buffer, 0, count * 4);
  }

  #flushUpdates(): void {
    const count = this.#staged;
    if (count === 0) return;
    this.#staged = 0;
    const keys = this.#take(this.#stagedKeys, count * this.#keyWords);
    this.#program.mapUpdateMany(this.#name, keys, this.#take(this.#stagedValues, count));
    for (let index = 0; index < count; index++) {
      const at = this.#stagedAt[index]!;
      if (this.#words[at + this.#keyWords] === 0) this.#held++;
      this.#setHeld(at, this.#words[at + this.#keyWords + 1]!);
    }
  }

  #flushDeletes(): void {
    const count = this.#staged;
    if (count === 0) return;
    this.#staged = 0;
    this.#program.mapDeleteMany(this.#name, this.#take(this.#stagedKeys, count * this.#keyWords));
    for (let index = 0; index < count; index++) this.#setHeld(this.#stagedAt[index]!, 0);
    this.#held -= count;
  }

  #setHeld(at: number, value: number): void {
    const held = at + this.#keyWords;
    this.#follower?.change(this.#words, at, this.#words[held]!, value);
    this.#words[held] = value;
  }

  /** Where the entry of `key` is, or is to be. */
  #find(): number {
    let place = hashOf(this.#keyInts) & this.#mask;
    for (;;) {
      const at = place * this.#size;
      if (this.#words[at + this.#tag] === 0 || this.#isAt(at)) return at;
      place = (place + 1) & this.#mask;
    }
  }

  #isAt(at: number): boolean {
    for (let word = 0; word < this.#keyWords; word++) {
      if (this.#words[at + word] !== this.#keyInts[word]) return false;
    }
    return true;
  }

  /** An array with room, of what has bits. The caller's `key` is as before afterwards. */
  #rebuild(): void {
    const old = this.#words;
    const asked = this.#keyInts.slice();
    const [heldAt, wantedAt] = [this.#keyWords, this.#keyWords + 1];
    let entries = 0;
    for (let at = 0; at < old.length; at += this.#size) {
      if ((old[at + heldAt]! | old[at + wantedAt]!) !== 0) entries++;
    }
    let capacity = ENTRIES_MIN;
    while (capacity < entries * 2) capacity *= 2;
    this.#words = new Int32Array(capacity * this.#size);
    this.#mask = capacity - 1;
    this.#used = entries;
    this.#touched = [];
    for (let from = 0; from < old.length; from += this.#size) {
      if ((old[from + heldAt]! | old[from + wantedAt]!) === 0) continue;
      for (let word = 0; word < this.#keyWords; word++) this.#keyInts[word] = old[from + word]!;
      const at = this.#find();
      for (let word = 0; word < this.#size; word++) this.#words[at + word] = old[from + word]!;
      if (!this.#isWhole && old[from + heldAt] !== old[from + wantedAt]) this.#touched.push(at);
    }
    this.#keyInts.set(asked);
  }
}

function hashOf(words: Int32Array): number {
  let hash = 0;
  for (let at = 0; at < words.length; at++) {
    hash = Math.imul(hash ^ words[at]!, 0x9e3779b1 | 0);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash, 0x85ebca6b | 0);
  return hash ^ (hash >>> 13);
}
