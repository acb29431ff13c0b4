/**
 * Local ports of FULLNAT connections: which ports of a local address are taken towards a real
 * server's address and port. A map of 65,536 bits each (local address, real server, protocol), from
 * a pool in shared memory that is touched only where it is used. Any worker takes and gives back.
 *
 *   map (2128 words)
 *   +---------+---------------------+----------------------------------+
 *   | head 16 | summary: 64 words,  | ports: 2048 words, a bit a port, |
 *   |         | a bit a full word   | set = taken                      |
 *   +---------+---------------------+----------------------------------+
 *
 * Taking a port: count it in `used` (one compare-exchange), which says that there is a free bit and
 * keeps the map; then set the first free bit after the cursor (one atomic or). A word that is full
 * has its bit in the summary, so that a nearly full map costs a look at some of 64 words, not at
 * 2048. The cursor goes round: a port that was given back is used again last. Who fills a word
 * marks it and looks again, who frees a bit clears the mark afterwards: a mark never stays over a
 * free bit.
 *
 * A map with `used` 0 has no bit set beyond those of the ports that are never given. It keeps its
 * cursor until the pool has no other for a new key. Maps are made and renamed under one lock; the
 * index by key is read without it, and what was found is verified after it is held.
 *
 * Addresses are four words each, IPv4 in the first and the rest 0; host order.
 */
import { words } from '../layout/record';
import { acquire, breakLock, release } from './lock';

export const LOCAL_PORT_FIRST = 1025;
export const LOCAL_PORT_LAST = 65535;
/** Connections of one local address to one real server's port. */
export const LOCAL_PORTS = LOCAL_PORT_LAST - LOCAL_PORT_FIRST + 1;

const SUMMARY_WORDS = 64;
const PORT_WORDS = 2048;
const MAP = words('local port map', 16 + SUMMARY_WORDS + PORT_WORDS, {
  used: 1, // ports taken, or about to be; -1: being renamed
  cursor: 1, // where the search begins
  local: 4,
  real: 4,
  realPort: 1, // << 16 | protocol
  place: 1, // in the index
  reserved: 4,
  summary: SUMMARY_WORDS,
  ports: PORT_WORDS,
});
const WORDS = MAP.size;
const { used: USED, cursor: CURSOR, local: LOCAL, place: PLACE } = MAP.at;
const { summary: SUMMARY, ports: PORTS } = MAP.at;
const KEY_WORDS = 9;
const FULL = -1;
const RENAMED = -1;
const REMOVED = -1;

// Words in front of the index.
const LOCK = 0;
const UNUSED = 1; // maps from here on were never used; map 0 is none
const HAND = 2; // where the search for an empty map goes on
const HEAD_WORDS = 16;
/** Index places a map. */
const INDEX_FACTOR = 4;
/** Maps looked at in one go for an empty one. */
const SWEEP = 64;
/** What a map was found for may change under one's hands so often. */
const ATTEMPTS = 4;
/** Words looked at for a free bit: the summary twice, and lost races. */
const SEARCH_MAX = 3 * SUMMARY_WORDS;

export interface LocalPortBuffers {
  readonly maps: number;
  readonly index: SharedArrayBuffer;
  readonly pool: SharedArrayBuffer;
}

export class LocalPortTable {
  /** The key in hand: local address, real server's address, real port << 16 | protocol. */
  readonly key = new Int32Array(KEY_WORDS);
  private readonly maps: number;
  private readonly mask: number;
  private readonly index: Int32Array;
  private readonly pool: Int32Array;
  private readonly seed: number;

  /** `seed`: ports begin elsewhere after each start, for servers remember the last ones. */
  constructor(buffers: LocalPortBuffers, seed: number) {
    this.maps = buffers.maps;
    this.index = new Int32Array(buffers.index);
    this.pool = new Int32Array(buffers.pool);
    this.mask = this.index.length - HEAD_WORDS - 1;
    this.seed = seed;
  }

  /** Memory for at least `maps` maps. */
  static buffers(maps: number): LocalPortBuffers {
    let places = 64;
    while (places < maps * INDEX_FACTOR) places *= 2;
    const index = new SharedArrayBuffer((HEAD_WORDS + places) * 4);
    new Int32Array(index)[UNUSED] = 1;
    return { maps, index, pool: new SharedArrayBuffer((maps + 1) * WORDS * 4) };
  }

  /** Fills `key` from four words at `local` and four at `real`. */
  setKey(
    local: Int32Array,
    localAt: number,
    real: Int32Array,
    realAt: number,
    realPort: number,
    protocol: number,
  ): void {
    const key = this.key;
    for (let i = 0; i < 4; i++) {
      key[i] = local[localAt + i]!;
      key[4 + i] = real[realAt + i]!;
    }
    key[8] = (realPort << 16) | protocol;
  }

  /** Takes a port of the local address in `key`; 0: none is free. `owner`: for the lock. */
  allocate(owner: number): number {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      let map = this.find();
      if (map === 0) map = this.create(owner);
      if (map === 0) return 0;
      const at = map * WORDS;
      const held = this.hold(at);
      if (held === HELD_FULL) return 0;
      if (held !== HELD) continue;
      if (this.isKey(at)) {
        const port = this.take(at);
        if (port !== 0) return port;
      }
      Atomics.sub(this.pool, at + USED, 1);
    }
    return 0;
  }

  /** Gives back a port that `allocate` gave for the same key. False: it was not taken. */
  release(port: number): boolean {
    const map = this.find();
    if (map === 0 || port < LOCAL_PORT_FIRST || port > LOCAL_PORT_LAST) return false;
    const pool = this.pool;
    const at = map * WORDS;
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    if ((Atomics.and(pool, at + PORTS + word, ~bit) & bit) === 0) return false;
    const summary = at + SUMMARY + (word >>> 5);
    const mark = 1 << (word & 31);
    if ((pool[summary]! & mark) !== 0) Atomics.and(pool, summary, ~mark);
    Atomics.sub(pool, at + USED, 1);
    return true;
  }

  /** Ports taken for `key`. */
  get used(): number {
    const map = this.find();
    return map === 0 ? 0 : Math.max(0, this.pool[map * WORDS + USED]!);
  }

  /** Maps that were ever made: never more than the pool has. */
  get mapsMade(): number {
    return this.index[UNUSED]! - 1;
  }

  get mapsMax(): number {
    return this.maps;
  }

  /** Ports taken of map 1 to `mapsMade`, whosever it is. */
  usedOf(map: number): number {
    return Math.max(0, this.pool[map * WORDS + USED]!);
  }

  /** Frees the lock if a dead owner held it. Returns how many. */
  breakLocks(owner: number): number {
    return breakLock(this.index, LOCK, owner) ? 1 : 0;
  }

  private hash(): number {
    const key = this.key;
    let hash = this.seed;
    for (let i = 0; i < KEY_WORDS; i++) {
      hash = Math.imul(hash ^ key[i]!, 0x9e3779b1 | 0);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  private isKey(at: number): boolean {
    const pool = this.pool;
    const key = this.key;
    for (let i = 0; i < KEY_WORDS; i++) if (pool[at + LOCAL + i] !== key[i]) return false;
    return true;
  }

  /** The map of `key`, 0 when there is none (or somebody is moving it). */
  private find(): number {
    const index = this.index;
    let place = this.hash() & this.mask;
    for (let probe = 0; probe <= this.mask; probe++) {
      const map = index[HEAD_WORDS + place]!;
      if (map === 0) return 0;
      if (map > 0 && this.isKey(map * WORDS)) return map;
      place = (place + 1) & this.mask;
    }
    return 0;
  }

  /** Counts one port more. While it is counted the map stays what it is. */
  private hold(at: number): number {
    for (let attempt = 0; attempt < SEARCH_MAX; attempt++) {
      const used = Atomics.load(this.pool, at + USED);
      if (used < 0) return HELD_NOT;
      if (used >= LOCAL_PORTS) return HELD_FULL;
      if (Atomics.compareExchange(this.pool, at + USED, used, used + 1) === used) return HELD;
    }
    return HELD_NOT;
  }

  /** First free port after the cursor: one is free, for it was counted. 0: lost every race. */
  private take(at: number): number {
    const pool = this.pool;
    const start = pool[at + CURSOR]!;
    let word = start >>> 5;
    let taken = pool[at + PORTS + word]! | ((1 << (start & 31)) - 1);
    for (let step = 0; step < SEARCH_MAX; step++) {
      const free = ~taken;
      if (free === 0) {
        word = this.nextWord(at, (word + 1) & (PORT_WORDS - 1));
        taken = pool[at + PORTS + word]!;
        if (taken === FULL) this.mark(at, word);
        continue;
      }
      const bit = free & -free;
      const before = Atomics.or(pool, at + PORTS + word, bit);
      if ((before & bit) === 0) {
        if ((before | bit) === FULL) this.mark(at, word);
        const port = (word << 5) | (31 - Math.clz32(bit));
        pool[at + CURSOR] = (port + 1) & 0xffff;
        return port;
      }
      taken = before | bit;
    }
    return 0;
  }

  /** The first word from `word` on that is not marked full; `word` itself if all are. */
  private nextWord(at: number, word: number): number {
    const pool = this.pool;
    let place = word >>> 5;
    let marks = pool[at + SUMMARY + place]! | ((1 << (word & 31)) - 1);
    for (let step = 0; step <= SUMMARY_WORDS; step++) {
      if (marks !== FULL) return (place << 5) | (31 - Math.clz32(~marks & (marks + 1)));
      place = (place + 1) & (SUMMARY_WORDS - 1);
      marks = pool[at + SUMMARY + place]!;
    }
    return word;
  }

  /** Marks a word as full; not so if it has a free bit by now, whose giver saw no mark. */
  private mark(at: number, word: number): void {
    const pool = this.pool;
    const summary = at + SUMMARY + (word >>> 5);
    const mark = 1 << (word & 31);
    Atomics.or(pool, summary, mark);
    if (Atomics.load(pool, at + PORTS + word) !== FULL) Atomics.and(pool, summary, ~mark);
  }

  /** A map for `key`, 0 when there is no room: a new one, or one that is empty. */
  private create(owner: number): number {
    const index = this.index;
    if (!acquire(index, LOCK, owner)) return 0;
    let map = this.find();
    if (map === 0) {
      map = index[UNUSED]! <= this.maps ? index[UNUSED]! : this.takeEmpty();
      if (map === index[UNUSED]) index[UNUSED] = map + 1;
      if (map !== 0) this.begin(map);
    }
    release(index, LOCK, owner);
    return map;
  }

  /** Takes the name from an empty map; the hand goes round, a bounded way each time. */
  private takeEmpty(): number {
    const index = this.index;
    for (let step = 0; step < SWEEP; step++) {
      const map = index[HAND]! + 1;
      index[HAND] = map === this.maps ? 0 : map;
      const at = map * WORDS;
      if (this.pool[at + USED] !== 0) continue;
      if (Atomics.compareExchange(this.pool, at + USED, 0, RENAMED) !== 0) continue;
      this.unindex(this.pool[at + PLACE]!);
      return map;
    }
    return 0;
  }

  /** Removed entries at the end of a run are needed no more to reach anything. */
  private unindex(place: number): void {
    const index = this.index;
    const mask = this.mask;
    const isLast = index[HEAD_WORDS + ((place + 1) & mask)] === 0;
    Atomics.store(index, HEAD_WORDS + place, isLast ? 0 : REMOVED);
    for (let before = (place - 1) & mask; isLast; before = (before - 1) & mask) {
      if (index[HEAD_WORDS + before] !== REMOVED) return;
      Atomics.store(index, HEAD_WORDS + before, 0);
    }
  }

  /** Names a map that is nobody's, and puts it into the index. */
  private begin(map: number): void {
    const pool = this.pool;
    const at = map * WORDS;
    const hash = this.hash();
    for (let i = 0; i < KEY_WORDS; i++) pool[at + LOCAL + i] = this.key[i]!;
    // Ports below the first are never free.
    for (let word = 0; word < LOCAL_PORT_FIRST >>> 5; word++) pool[at + PORTS + word] = FULL;
    pool[at + PORTS + (LOCAL_PORT_FIRST >>> 5)]! |= (1 << (LOCAL_PORT_FIRST & 31)) - 1;
    pool[at + SUMMARY] = FULL;
    pool[at + CURSOR] = LOCAL_PORT_FIRST + ((hash >>> 8) % LOCAL_PORTS);
    let place = hash & this.mask;
    while (this.index[HEAD_WORDS + place]! > 0) place = (place + 1) & this.mask;
    pool[at + PLACE] = place;
    Atomics.store(pool, at + USED, 0);
    Atomics.store(this.index, HEAD_WORDS + place, map);
  }
}

/** What `hold` answers. */
const HELD = 1;
const HELD_FULL = 2;
const HELD_NOT = 3;
