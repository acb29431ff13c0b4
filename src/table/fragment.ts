/**
 * Fragmented datagrams whose first fragment was seen: whose they are, for the later fragments,
 * which name no ports. Shared memory: any worker may get any fragment.
 *
 *   control (16 words)   locks (1 word a bucket)   records (16 words, one cache line)
 *   | version | ...      | owner | owner | ...     | sequence | id | kind | fate | ... addresses |
 *
 * A datagram is known by its addresses, its id and, in IPv4, its protocol (RFC 791 3.2, RFC 8200
 * 4.5). It may stand in any of the eight records of its bucket. Writers hold the bucket's lock;
 * readers hold nothing: a record's sequence is odd while it is written and another one afterwards,
 * so that what was read in between is thrown away. A worker that dies while writing leaves an odd
 * sequence: nobody matches that record until it is written anew.
 *
 * Records live until all of the datagram was seen, for five seconds at most, and one from its last
 * fragment on. Linux waits half a minute for what is missing; but here a stale record harms, for
 * ids come again (IPv4's have 16 bits), and a later fragment that overtakes its new first one would
 * follow the old one. Where all eight of a bucket live, the one with least time left gives way.
 *
 * Addresses are words as DataView.getInt32 reads them. Memory is touched as it is used.
 */
import { words } from '../layout/record';
import { acquire, breakLock, release } from './lock';

/** How long a record lives, in ticks. */
export const FRAGMENT_TICKS = 50;
/** How long after the datagram's last fragment, for those it overtook. */
const FRAGMENT_ENDED_TICKS = 10;
/** When all seems to be there: a fragment that came twice may have been counted for another. */
const FRAGMENT_COMPLETE_TICKS = 2;

/** Words of both addresses, as they stand one behind the other in the headers. */
export const ADDRESS_WORDS4 = 2;
export const ADDRESS_WORDS6 = 8;

/** What becomes of a datagram; its connection's entry is asked for beside it. */
export const FATE_UNKNOWN = 0;
export const FATE_FROM_CLIENT = 1;
export const FATE_FROM_SERVER = 2;
/** Its first fragment was given to the host. */
export const FATE_HOST = 3;
/** Its first fragment was dropped. */
export const FATE_DROPPED = 4;

/** `note`'s answers. */
export const NOTED = 0;
/** Another datagram, which was alive, had to give way. */
export const NOTED_BY_FORCE = 1;
/** The lock was not to be had. */
export const NOT_NOTED = 2;

const CONTROL_WORDS = 16;
const VERSION = 0;
const BUCKETS = 2048;
const EACH = 8;
const RECORD = words('fragment', 16, {
  sequence: 1,
  id: 1,
  kind: 1, // family << 8 | protocol (0 in IPv6)
  fate: 1,
  entry: 1,
  identity: 1,
  expiresAt: 1, // tick
  addresses: 8,
  /** Bytes that are still to come, once the last fragment was seen; less than 0 before. */
  missing: 1,
});
const SHIFT = 4;
const { sequence: SEQUENCE, id: ID, kind: KIND, fate: FATE } = RECORD.at;
const { entry: ENTRY, identity: IDENTITY, expiresAt: EXPIRES_AT, addresses: ADDRESSES } = RECORD.at;
const MISSING = RECORD.at.missing;
const LOCKS = CONTROL_WORDS;
const RECORDS = LOCKS + BUCKETS;

export const FRAGMENT_RECORDS = BUCKETS * EACH;

export class FragmentTable {
  private readonly words: Int32Array;
  private readonly seed: number;
  // The datagram that was selected.
  private readonly addresses = new Int32Array(ADDRESS_WORDS6);
  private addressWords = 0;
  private kind = 0;
  private id = 0;
  private hash = 0;
  /** What `find` found beside the fate: the connection, and its identity when it was noted. */
  entry = 0;
  identity = 0;

  constructor(buffer: SharedArrayBuffer, seed: number) {
    this.words = new Int32Array(buffer);
    this.seed = seed;
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer((RECORDS + (FRAGMENT_RECORDS << SHIFT)) * 4);
  }

  /** Changes with every note of any worker: then it is worth looking again. */
  get version(): number {
    return this.words[VERSION]!;
  }

  /**
   * Says which datagram the next calls are about, and returns its hash.
   * @param kind family << 8 | protocol; in IPv6 without the protocol
   * @param addressesAt of the source address in `view`, behind which the destination's stands
   */
  select(
    kind: number,
    id: number,
    view: DataView,
    addressesAt: number,
    addressWords: number,
  ): number {
    let hash = Math.imul(this.seed ^ id, 0x9e3779b1 | 0) ^ kind;
    for (let word = 0; word < addressWords; word++) {
      const address = view.getInt32(addressesAt + (word << 2));
      this.addresses[word] = address;
      hash ^= address;
      hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b | 0);
    }
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35 | 0);
    this.hash = hash ^ (hash >>> 16);
    this.addressWords = addressWords;
    this.kind = kind;
    this.id = id;
    return this.hash;
  }

  /** The datagram's fate, FATE_UNKNOWN when none was noted; with `entry` and `identity`. */
  find(tick: number): number {
    const table = this.words;
    const first = bucketAt(this.hash);
    for (let place = 0; place < EACH; place++) {
      const at = first + (place << SHIFT);
      const sequence = Atomics.load(table, at + SEQUENCE);
      if (sequence === 0 || (sequence & 1) !== 0 || !this.isSelected(at)) continue;
      if (((table[at + EXPIRES_AT]! - tick) | 0) <= 0) continue;
      const fate = table[at + FATE]!;
      const entry = table[at + ENTRY]!;
      const identity = table[at + IDENTITY]!;
      if (Atomics.load(table, at + SEQUENCE) !== sequence) continue;
      this.entry = entry;
      this.identity = identity;
      this.found = at;
      return fate;
    }
    return FATE_UNKNOWN;
  }

  /** The record that `find` found. */
  private found = 0;

  private isSelected(at: number): boolean {
    const table = this.words;
    if (table[at + ID] !== this.id || table[at + KIND] !== this.kind) return false;
    for (let word = 0; word < this.addressWords; word++) {
      if (table[at + ADDRESSES + word] !== this.addresses[word]) return false;
    }
    return true;
  }

  /**
   * Notes what becomes of the datagram, in place of what was known of it before. `bytes`: data of
   * the first fragment, `owner`: the worker's number for locks. NOTED, NOTED_BY_FORCE or NOT_NOTED.
   */
  note(
    fate: number,
    entry: number,
    identity: number,
    bytes: number,
    tick: number,
    owner: number,
  ): number {
    const table = this.words;
    const lock = LOCKS + bucketOf(this.hash);
    if (!acquire(table, lock, owner)) return NOT_NOTED;
    const at = this.place(tick);
    const sequence = table[at + SEQUENCE]! | 1;
    Atomics.store(table, at + SEQUENCE, sequence);
    table[at + ID] = this.id;
    table[at + KIND] = this.kind;
    for (let word = 0; word < this.addressWords; word++) {
      table[at + ADDRESSES + word] = this.addresses[word]!;
    }
    table[at + FATE] = fate;
    table[at + ENTRY] = entry;
    table[at + IDENTITY] = identity;
    table[at + EXPIRES_AT] = (tick + FRAGMENT_TICKS) | 0;
    table[at + MISSING] = -bytes;
    // Never 0 again: that is a record that was never written.
    Atomics.store(table, at + SEQUENCE, sequence === -1 ? 2 : sequence + 1);
    release(table, lock, owner);
    Atomics.add(table, VERSION, 1);
    return this.isForced ? NOTED_BY_FORCE : NOTED;
  }

  /**
   * Where the datagram is written: its own record, a free one, or the one with least time left.
   * `isForced` says whether that one may still have fragments to come.
   */
  private place(tick: number): number {
    const table = this.words;
    const first = bucketAt(this.hash);
    let chosen = first;
    let least = FRAGMENT_TICKS + 1;
    this.isForced = false;
    for (let place = 0; place < EACH; place++) {
      const at = first + (place << SHIFT);
      const isUnused = table[at + SEQUENCE] === 0;
      if (!isUnused && this.isSelected(at)) return at;
      const left = isUnused ? 0 : Math.max(0, (table[at + EXPIRES_AT]! - tick) | 0);
      if (left >= least) continue;
      least = left;
      chosen = at;
    }
    this.isForced = least > FRAGMENT_ENDED_TICKS;
    return chosen;
  }
  private isForced = false;

  /**
   * Another fragment of the datagram that `find` has just found was seen, with `bytes` of data;
   * `end`: where the datagram ends if it is the last one, else 0. Not under the writers' lock:
   * should the record have become another's in between, that one ends a little early or late.
   */
  account(bytes: number, end: number, tick: number): void {
    const table = this.words;
    const at = this.found;
    const missing = Atomics.add(table, at + MISSING, end - bytes) + end - bytes;
    let left = FRAGMENT_TICKS;
    if (missing === 0) left = FRAGMENT_COMPLETE_TICKS;
    else if (end !== 0) left = FRAGMENT_ENDED_TICKS;
    if (((table[at + EXPIRES_AT]! - tick) | 0) > left) table[at + EXPIRES_AT] = (tick + left) | 0;
  }

  /** Datagrams that are known now; looks at every record. */
  liveCount(tick: number): number {
    const table = this.words;
    let count = 0;
    for (let record = 0; record < FRAGMENT_RECORDS; record++) {
      const at = RECORDS + (record << SHIFT);
      if (table[at + SEQUENCE] !== 0 && ((table[at + EXPIRES_AT]! - tick) | 0) > 0) count++;
    }
    return count;
  }

  /** Frees every lock that a dead owner held. Returns how many. */
  breakLocks(owner: number): number {
    let broken = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (breakLock(this.words, LOCKS + bucket, owner)) broken++;
    }
    return broken;
  }
}

function bucketOf(hash: number): number {
  return hash & (BUCKETS - 1);
}
function bucketAt(hash: number): number {
  return RECORDS + ((bucketOf(hash) * EACH) << SHIFT);
}
