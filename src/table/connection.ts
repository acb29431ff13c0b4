/**
 * The connection table: entries of one cache line and an index of one-line buckets, both in shared
 * memory, so that any worker finds any connection whatever queue its packets come to.
 *
 *   bucket (16 words, one cache line)            entry (16 words, one cache line)
 *   +---------------------------+                client, virtual, clientPorts   match from client
 *   | overflow|version|lock     |                real, reply, replyPorts        match from server
 *   | tag << 24 | entry  (x 15) |                identity: kind, owner, generation
 *   +---------------------------+                state, server, expiry, hops, timer links
 *
 * Reading takes no lock: one index line, one entry line. A slot is one word, claimed by one
 * compare-exchange after the entry's fields are written, cleared by one store; it never moves.
 * `overflow` counts entries that belong here and stand in one of the next buckets, so that a
 * search goes on only when it must. The lock keeps two workers from making the same connection; its
 * `version` tells who has found none whether that still holds once the lock is taken.
 * An entry that ends changes `identity` (generation), which a reader compares again after it has
 * copied what it needs. Relies on x86-64's store order (xvsd refuses to start elsewhere), and on a
 * compiler that does not take two reads of shared memory for one.
 *
 * Atomics: insert 3, remove none, one more for a slot in another bucket than its own, transition 1;
 * lookups none. Entry 0 is "none".
 * Both families share entries, index and capacity; what IPv6 and FULLNAT need beyond an entry's
 * line stands in `extension`, whose pages the kernel gives out when they are first written. What
 * an entry's words mean: connectionEntry.ts; buckets: connectionIndex.ts.
 *
 * Bytes a connection: 64, 2 slots (15 a line, load at most 0.6), 4 for `born`: 84 to 96 for IPv4,
 * 64 more for IPv6.
 */
import { type ConnectionBuffers, connectionBuffers, type LineOffset } from './connectionBuffers';
import {
  CONNECTION,
  connectionHash,
  connectionHash6,
  ENTRY_SHIFT,
  EXTENSION,
  FROM_CLIENT,
  FROM_SERVER,
  kindFamily,
} from './connectionEntry';
import { claim, clear, clearSlot, firstSlot, INDEX, isOwnSlot } from './connectionIndex';
import { ConnectionStock } from './connectionStock';
import { acquire } from './lock';
import type { MakePrefetcher, Prefetcher } from './prefetch';

export {
  CONNECTIONS_MAX,
  CONNECTIONS_MIN,
  type ConnectionBuffers,
  type LineOffset,
} from './connectionBuffers';
export * from './connectionEntry';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const AT = CONNECTION.at;
const SHIFT = ENTRY_SHIFT;
const { client: CLIENT, virtual: VIRTUAL, clientPorts: CLIENT_PORTS } = AT;
const { real: REAL, reply: REPLY, replyPorts: REPLY_PORTS, identity: IDENTITY } = AT;
const { state: STATE, expiresAt: EXPIRES_AT } = AT;
const { client: CLIENT6, virtual: VIRTUAL6, real: REAL6, reply: REPLY6 } = EXTENSION.at;
const [CLIENT_SIDE, SERVER_SIDE] = [FROM_CLIENT, FROM_SERVER];

const [BUCKET_SHIFT, BUCKET_WORDS] = [INDEX.bucketShift, INDEX.bucketWords];
const [ENTRY_BITS, TAG_BITS] = [INDEX.entryBits, INDEX.tagBits];
const OVERFLOW_BUCKETS = INDEX.overflowBuckets;
const BUCKET_BITS = INDEX.bucketBits;
const [VERSION_ONE, VERSION_BITS] = [INDEX.versionOne, INDEX.versionBits];
const [LOCK_BITS, OVERFLOW_SHIFT] = [INDEX.lockBits, INDEX.overflowShift];

/** Not the head of any bucket: nothing is known of it. */
export const VACANCY_UNKNOWN = -1;
const UNKNOWN = VACANCY_UNKNOWN;

/** Results of `insert` other than success (0). */
export const INSERT_EXISTS = 1;
export const INSERT_FULL = 2;
export const INSERT_BUSY = 3;

/** Two IPv6 addresses, as a packet has them, source first. */
const ADDRESSES_BYTES = 32;
const DESTINATION_AT = 16;

export class ConnectionTable {
  readonly capacity: number;
  readonly buckets: number;
  readonly entries: Int32Array;
  readonly index: Int32Array;
  private readonly indexHalves: Uint16Array;
  /** 16 words an entry, see EXTENSION. Only IPv6 and FULLNAT connections write here. */
  readonly extension: Int32Array;
  /** Tick at which each entry was made. */
  readonly born: Int32Array;
  /** Of the last search by `candidate` that found none: see isVacant. */
  vacancy = UNKNOWN;
  private readonly stock: ConnectionStock;
  private readonly mask: number;
  private readonly seed: number;
  /** An entry's addresses as a packet would have them; of this thread alone. */
  private readonly addresses = new DataView(new SharedArrayBuffer(ADDRESSES_BYTES));

  constructor(buffers: ConnectionBuffers, seed: number) {
    this.capacity = buffers.capacity;
    this.buckets = buffers.buckets;
    this.entries = new Int32Array(
      buffers.entries,
      buffers.entriesOffset,
      (buffers.capacity + 1) << SHIFT,
    );
    this.index = new Int32Array(
      buffers.index,
      buffers.indexOffset,
      buffers.buckets << BUCKET_SHIFT,
    );
    const { index } = this;
    this.indexHalves = new Uint16Array(index.buffer, index.byteOffset, index.byteLength >>> 1);
    this.extension = new Int32Array(
      buffers.extension,
      buffers.extensionOffset,
      (buffers.capacity + 1) << SHIFT,
    );
    this.born = new Int32Array(buffers.born);
    this.stock = new ConnectionStock(buffers.control, this.entries, buffers.capacity);
    this.mask = buffers.buckets - 1;
    this.seed = seed;
  }

  /** Memory for `capacity` connections. Throws a RangeError for what cannot be. */
  static buffers(capacity: number, lineOffset?: LineOffset): ConnectionBuffers {
    return connectionBuffers(capacity, lineOffset);
  }

  /** Fetches the index lines of hashes, which stand in `hashes` whenever it is asked to. */
  indexPrefetcher(make: MakePrefetcher, hashes: Int32Array): Prefetcher {
    return make(this.index, hashes, this.mask, BUCKET_SHIFT);
  }

  /** The same for entries, by their numbers. */
  entryPrefetcher(make: MakePrefetcher, numbers: Int32Array): Prefetcher {
    return make(this.entries, numbers, ENTRY_BITS, SHIFT);
  }

  /** And for what their extension holds. */
  extensionPrefetcher(make: MakePrefetcher, numbers: Int32Array): Prefetcher {
    return make(this.extension, numbers, ENTRY_BITS, SHIFT);
  }

  /**
   * First entry in the hash's own bucket whose tag fits; not verified. 0 when none does: then
   * `vacancy` is the bucket's head, from before it was searched.
   */
  candidate(hash: number): number {
    const index = this.index;
    const bucket = (hash & this.mask & BUCKET_BITS) << BUCKET_SHIFT;
    const tag = hash & TAG_BITS;
    const start = firstSlot(hash);
    const first = index[bucket + start]!;
    if ((first & TAG_BITS) === tag && first !== 0) return first & ENTRY_BITS;
    this.vacancy = index[bucket]! & ~LOCK_BITS;
    for (let slot = start; slot < BUCKET_WORDS; slot++) {
      const word = index[bucket + slot]!;
      if ((word & TAG_BITS) === tag && word !== 0) return word & ENTRY_BITS;
    }
    for (let slot = 1; slot < start; slot++) {
      const word = index[bucket + slot]!;
      if ((word & TAG_BITS) === tag && word !== 0) return word & ENTRY_BITS;
    }
    return 0;
  }

  /**
   * Is there still no entry for a client's packets of this hash, as when `candidate` gave 0 and
   * left this `vacancy`? Not if any overflowed, or any was inserted since. It says nothing of
   * replies: their slots are claimed without the bucket's lock. False for VACANCY_UNKNOWN.
   */
  isVacant(hash: number, vacancy: number): boolean {
    const head = this.index[(hash & this.mask & BUCKET_BITS) << BUCKET_SHIFT]!;
    return vacancy >>> OVERFLOW_SHIFT === 0 && (head & ~LOCK_BITS) === vacancy;
  }

  /** FROM_CLIENT, FROM_SERVER, or 0 when the entry is not this packet's, or has expired. */
  match(
    entry: number,
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    tick: number,
  ): number {
    const entries = this.entries;
    const at = (entry & ENTRY_BITS) << SHIFT;
    if ((entries[at + IDENTITY]! & 0xff) !== protocol) return 0;
    if (((entries[at + EXPIRES_AT]! - tick) | 0) <= 0) return 0;
    if (
      entries[at + CLIENT] === source &&
      entries[at + VIRTUAL] === destination &&
      entries[at + CLIENT_PORTS] === ports
    ) {
      return CLIENT_SIDE;
    }
    if (
      entries[at + REAL] === source &&
      entries[at + REPLY] === destination &&
      entries[at + REPLY_PORTS] === ports
    ) {
      return SERVER_SIDE;
    }
    return 0;
  }

  /** The entry of a packet, 0 when there is none. Looks at every place it may stand. */
  find(
    hash: number,
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    tick: number,
  ): number {
    const index = this.index;
    const tag = hash & TAG_BITS;
    const home = hash & this.mask;
    const overflows = index[home << BUCKET_SHIFT]! >>> OVERFLOW_SHIFT;
    const last = overflows === 0 ? 0 : OVERFLOW_BUCKETS;
    for (let step = 0; step <= last; step++) {
      const bucket = ((home + step) & this.mask) << BUCKET_SHIFT;
      for (let slot = 1; slot < BUCKET_WORDS; slot++) {
        const word = index[bucket + slot]!;
        if ((word & TAG_BITS) !== tag || word === 0) continue;
        const entry = word & ENTRY_BITS;
        if (this.match(entry, protocol, source, destination, ports, tick) !== 0) return entry;
      }
    }
    return 0;
  }

  /**
   * As `match` for IPv6: `sourceAt` and `destinationAt` are byte offsets of the packet's addresses
   * in `view`. `kind`: see kindOf6, or a template's.
   */
  match6(
    entry: number,
    kind: number,
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    tick: number,
  ): number {
    const entries = this.entries;
    const at = (entry & ENTRY_BITS) << SHIFT;
    if ((entries[at + IDENTITY]! & 0xff) !== kind) return 0;
    if (((entries[at + EXPIRES_AT]! - tick) | 0) <= 0) return 0;
    const source = view.getInt32(sourceAt + 12);
    const destination = view.getInt32(destinationAt + 12);
    if (
      entries[at + CLIENT] === source &&
      entries[at + VIRTUAL] === destination &&
      entries[at + CLIENT_PORTS] === ports &&
      this.startWith(at + CLIENT6, view, sourceAt, destinationAt)
    ) {
      return CLIENT_SIDE;
    }
    if (
      entries[at + REAL] === source &&
      entries[at + REPLY] === destination &&
      entries[at + REPLY_PORTS] === ports &&
      this.startWith(at + REAL6, view, sourceAt, destinationAt)
    ) {
      return SERVER_SIDE;
    }
    return 0;
  }

  /** Are the six words of the extension at `word` the first three ones of both addresses? */
  private startWith(
    word: number,
    view: DataView,
    sourceAt: number,
    destinationAt: number,
  ): boolean {
    const extension = this.extension;
    return (
      extension[word] === view.getInt32(sourceAt) &&
      extension[word + 1] === view.getInt32(sourceAt + 4) &&
      extension[word + 2] === view.getInt32(sourceAt + 8) &&
      extension[word + 3] === view.getInt32(destinationAt) &&
      extension[word + 4] === view.getInt32(destinationAt + 4) &&
      extension[word + 5] === view.getInt32(destinationAt + 8)
    );
  }

  /** As `find` for IPv6, with match6's arguments. */
  find6(
    hash: number,
    kind: number,
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    tick: number,
  ): number {
    const index = this.index;
    const tag = hash & TAG_BITS;
    const home = hash & this.mask;
    const overflows = index[home << BUCKET_SHIFT]! >>> OVERFLOW_SHIFT;
    const last = overflows === 0 ? 0 : OVERFLOW_BUCKETS;
    for (let step = 0; step <= last; step++) {
      const bucket = ((home + step) & this.mask) << BUCKET_SHIFT;
      for (let slot = 1; slot < BUCKET_WORDS; slot++) {
        const word = index[bucket + slot]!;
        if ((word & TAG_BITS) !== tag || word === 0) continue;
        const entry = word & ENTRY_BITS;
        if (this.match6(entry, kind, view, sourceAt, destinationAt, ports, tick) !== 0) {
          return entry;
        }
      }
    }
    return 0;
  }

  /**
   * Makes an entry, whose fields are written, visible: first for replies, then for the client.
   * `both`: replies come this way too (NAT, FULLNAT). `vacancy`: what the search for it left. 0, or
   * an INSERT_* code: then it is in neither place.
   */
  insert(
    entry: number,
    owner: number,
    both: boolean,
    tick: number,
    vacancy = VACANCY_UNKNOWN,
  ): number {
    const at = (entry & ENTRY_BITS) << SHIFT;
    const entries = this.entries;
    const kind = entries[at + IDENTITY]! & 0xff;
    const hash = this.clientHash(at, kind);
    const home = (hash & this.mask) << BUCKET_SHIFT;
    if (!acquire(this.index, home, owner)) return INSERT_BUSY;
    if (!this.isVacant(hash, vacancy) && this.findSame(hash, kind, at, tick) !== 0) {
      this.unlock(home);
      return INSERT_EXISTS;
    }
    const result = this.claimBoth(hash, this.replyHash(at, kind), entry, both);
    this.unlock(home);
    return result;
  }

  /**
   * Gives a bucket's lock back, with a new version, by a store of these two bytes alone: others may
   * count in those above. It costs a tenth of an atomic operation, and x86-64 has it follow every
   * store before it.
   */
  private unlock(home: number): void {
    const halves = this.indexHalves;
    halves[home << 1] = (halves[home << 1]! + VERSION_ONE) & VERSION_BITS;
  }

  private claimBoth(hash: number, replyHash: number, entry: number, both: boolean): number {
    const index = this.index;
    const mask = this.mask;
    if (both && claim(index, mask, replyHash, entry) === 0) return INSERT_FULL;
    const slot = claim(index, mask, hash, entry);
    // One slot alone, or two of different tags, cannot be mistaken for each other.
    const isAlone = !both || ((hash ^ replyHash) & TAG_BITS) !== 0;
    if (slot !== 0 && (isAlone || isOwnSlot(index, mask, hash, entry, slot))) return 0;
    // Also when the two could be mistaken for each other: as rare as it is safe to refuse.
    if (slot !== 0) clearSlot(index, mask, hash, slot);
    if (both) clear(index, mask, replyHash, entry);
    return INSERT_FULL;
  }

  /**
   * Ends an entry's identity and takes it out of the index. The caller frees it afterwards. The
   * identity goes first: while the slots are cleared nobody may take it for a new connection of
   * the same ends, which another worker may make in between.
   */
  remove(entry: number, both: boolean): void {
    const at = (entry & ENTRY_BITS) << SHIFT;
    const identity = this.entries[at + IDENTITY]!;
    const kind = identity & 0xff;
    this.entries[at + IDENTITY] = ((identity & ~0xffff) + 0x10000) | 0;
    clear(this.index, this.mask, this.clientHash(at, kind), entry);
    if (both) clear(this.index, this.mask, this.replyHash(at, kind), entry);
  }

  /** Takes a template out of the index; it lives on for the connections that refer to it. */
  unindex(template: number): void {
    const at = template << SHIFT;
    const hash = this.clientHash(at, this.entries[at + IDENTITY]! & 0xff);
    clear(this.index, this.mask, hash, template);
  }

  /** The entry that a packet of the client of the one at `at` would find. */
  private findSame(hash: number, kind: number, at: number, tick: number): number {
    const entries = this.entries;
    const ports = entries[at + CLIENT_PORTS]!;
    if (kindFamily(kind) === 4) {
      return this.find(hash, kind, entries[at + CLIENT]!, entries[at + VIRTUAL]!, ports, tick);
    }
    this.spell(0, at + CLIENT6, entries[at + CLIENT]!);
    this.spell(DESTINATION_AT, at + VIRTUAL6, entries[at + VIRTUAL]!);
    return this.find6(hash, kind, this.addresses, 0, DESTINATION_AT, ports, tick);
  }

  private clientHash(at: number, kind: number): number {
    return this.hash(at, kind, CLIENT, VIRTUAL, CLIENT_PORTS, CLIENT6, VIRTUAL6);
  }

  private replyHash(at: number, kind: number): number {
    return this.hash(at, kind, REAL, REPLY, REPLY_PORTS, REAL6, REPLY6);
  }

  private hash(
    at: number,
    kind: number,
    source: number,
    destination: number,
    ports: number,
    source6: number,
    destination6: number,
  ): number {
    const entries = this.entries;
    const sourceWord = entries[at + source]!;
    const destinationWord = entries[at + destination]!;
    const pair = entries[at + ports]!;
    if (kindFamily(kind) === 4) {
      return connectionHash(this.seed, kind, sourceWord, destinationWord, pair);
    }
    this.spell(0, at + source6, sourceWord);
    this.spell(DESTINATION_AT, at + destination6, destinationWord);
    return connectionHash6(this.seed, kind, this.addresses, 0, DESTINATION_AT, pair);
  }

  /** Writes an address as it stands in a packet: three words of the extension, then `last`. */
  private spell(offset: number, word: number, last: number): void {
    const addresses = this.addresses;
    addresses.setInt32(offset, this.extension[word]!);
    addresses.setInt32(offset + 4, this.extension[word + 1]!);
    addresses.setInt32(offset + 8, this.extension[word + 2]!);
    addresses.setInt32(offset + 12, last);
  }

  /** A free entry for a worker, 0 when the table is full. */
  allocate(worker: number): number {
    return this.stock.allocate(worker);
  }

  /** Gives an entry back; it is in no index and on no timer. */
  free(entry: number, worker: number): void {
    this.stock.free(entry, worker);
  }

  /** Entries that are not in use; by the way of workers' own stocks, so not to the last one. */
  get freeCount(): number {
    return this.stock.freeCount;
  }

  /** Entries ever taken from the stock: a listing need not look beyond. */
  get usedEnd(): number {
    return this.stock.usedEnd;
  }

  /** Entries in use or in workers' own stocks are all below `usedEnd`; is this one in use? */
  isInUse(entry: number): boolean {
    return (this.entries[(entry << SHIFT) + IDENTITY]! & 0xff) !== 0;
  }

  /** State word: flags << 8 | state. */
  stateOf(entry: number): number {
    return this.entries[(entry << SHIFT) + STATE]!;
  }

  /** Frees every lock that a dead owner held. Returns how many. */
  breakLocks(owner: number): number {
    let broken = this.stock.breakLock(owner) ? 1 : 0;
    for (let bucket = 0; bucket < this.buckets; bucket++) {
      const home = bucket << BUCKET_SHIFT;
      if ((this.index[home]! & LOCK_BITS) !== owner) continue;
      this.unlock(home);
      broken++;
    }
    return broken;
  }
}
