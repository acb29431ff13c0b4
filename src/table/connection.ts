/**
 * The connection table: entries of one cache line and an index of one-line buckets, both in shared
 * memory, so that any worker finds any connection whatever queue its packets come to.
 *
 *   bucket (16 words, one cache line)            entry (16 words, one cache line)
 *   +---------------------------+                client, virtual, clientPorts   match from client
 *   | overflow << 8 | lock      |                real, reply, replyPorts        match from server
 *   | tag << 24 | entry  (x 15) |                identity: protocol, owner, generation
 *   +---------------------------+                state, server, expiry, hops, timer links
 *
 * Reading takes no lock: one index line, one entry line. A slot is one word, claimed by one
 * compare-exchange after the entry's fields are written, cleared by one store; it never moves.
 * `overflow` counts entries that belong here and stand in one of the next buckets, so that a
 * search goes on only when it must. The lock keeps two workers from making the same connection.
 * An entry that ends changes `identity` (generation), which a reader compares again after it has
 * copied what it needs. Relies on x86-64's store order (xvsd refuses to start elsewhere).
 *
 * Atomics: insert 5, remove 3, transition 1; lookups none. Entry 0 is "none".
 * Bytes a connection: 64 + 2 slots; with 15 slots a line at a load of at most 0.6, 80 to 96.
 */
import { words } from '../layout/record';
import { acquire, breakLock, release } from './lock';
import type { MakePrefetcher, Prefetcher } from './prefetch';

export const CONNECTIONS_MIN = 1024;
export const CONNECTIONS_MAX = (1 << 24) - 1;

export const CONNECTION = words('connection', 16, {
  client: 1,
  virtual: 1,
  clientPorts: 1, // client << 16 | virtual
  real: 1,
  /** Where the real server sends replies: the client, or a local address (FULLNAT). */
  reply: 1,
  replyPorts: 1, // real << 16 | reply's
  identity: 1, // generation << 16 | owner << 8 | protocol; 0 in the low byte: free
  state: 1, // flags << 8 | state
  realServer: 1, // packets from the client (up to 9) << 24 | slot
  expiresAt: 1, // tick
  serverHop: 1,
  clientHop: 1,
  timerNext: 1,
  timerPrevious: 1,
  timerAt: 1, // tick at which the timer looks at the entry
  control: 1, // persistence template
});
const AT = CONNECTION.at;
const SHIFT = 4; // 16 words
const { client: CLIENT, virtual: VIRTUAL, clientPorts: CLIENT_PORTS } = AT;
const { real: REAL, reply: REPLY, replyPorts: REPLY_PORTS, identity: IDENTITY } = AT;
const { state: STATE, expiresAt: EXPIRES_AT } = AT;

const BUCKET_SHIFT = 4;
const BUCKET_WORDS = 1 << BUCKET_SHIFT;
const ENTRY_BITS = 0x00ffffff;
const TAG_BITS = 0xff000000 | 0;
const OVERFLOW_ONE = 1 << 8;
/** Buckets after its own that an entry may stand in. */
const OVERFLOW_BUCKETS = 7;
/** Entries a worker takes from the common stock, and gives back, at once. */
const BATCH = 64;

/** Connection flags, in the state word above the state. */
export const CONNECTION_ACTIVE = 1 << 8;
export const CONNECTION_SERVER_BITS = 0xffffff;
/** Packets from the client, above the server's slot; no more than that are counted. */
export const IN_PACKETS_SHIFT = 24;
export const IN_PACKETS_MAX = 8;
export const CONNECTION_TEMPLATE = 1 << 9;
/** A template through which a connection came to be established. */
export const TEMPLATE_ASSURED = 1 << 10;
/** A connection for one packet: in no index, on no timer. */
export const CONNECTION_ONE_PACKET = 1 << 11;
export const CONNECTION_METHOD_SHIFT = 16;

/**
 * Kinds of templates: they take the protocol's place in the identity. That of a service by mark
 * holds for all protocols; its virtual address is the mark.
 */
export const TEMPLATE_OF_MARK = 0xf0;
const TEMPLATE_KINDS: Readonly<Record<number, number>> = { 6: 0xf6, 17: 0xf1, 132: 0xf4 };
/** Words of a template that mean something else than in a connection: see worker/persistence. */
export const TEMPLATE_TICKS = CONNECTION.at.serverHop;
export const TEMPLATE_REFERENCES = CONNECTION.at.clientHop;

export function templateKind(protocol: number): number {
  return TEMPLATE_KINDS[protocol]!;
}

/** Which way a packet goes, as `match` answers. */
export const FROM_CLIENT = 1;
export const FROM_SERVER = 2;

const CLIENT_SIDE = FROM_CLIENT;
const SERVER_SIDE = FROM_SERVER;

/** Results of `insert` other than success (0). */
export const INSERT_EXISTS = 1;
export const INSERT_FULL = 2;
export const INSERT_BUSY = 3;

// Common stock of free entries: words of the control buffer.
const STOCK_LOCK = 0;
const STOCK_UNUSED = 1; // entries from here on were never used
const STOCK_BATCHES = 2; // first entry of the first batch; batches by timerPrevious
const STOCK_BATCH_COUNT = 3;
const STOCK_WORDS = 16;
const OWN_WORDS = 16; // per worker: head, count of its own free list
const WORKERS_MAX = 64;

export interface ConnectionBuffers {
  readonly capacity: number;
  readonly buckets: number;
  readonly entries: SharedArrayBuffer;
  /** Where entry 0 begins in its buffer: at a cache line's start, as bucket 0 does. */
  readonly entriesOffset: number;
  readonly index: SharedArrayBuffer;
  readonly indexOffset: number;
  readonly control: SharedArrayBuffer;
}

/** Bytes from a buffer's start to the first cache line that begins in it. */
export type LineOffset = (buffer: SharedArrayBuffer) => number;
/** glibc's large allocations, which these are, begin 16 bytes into a page. */
const LINE_BYTES = 64;
const usualLineOffset: LineOffset = () => LINE_BYTES - 16;

/** Hash of a packet's or connection's addresses and ports, as they stand in one direction. */
export function connectionHash(
  seed: number,
  protocol: number,
  source: number,
  destination: number,
  ports: number,
): number {
  let hash = Math.imul(seed ^ source, 0x9e3779b1 | 0);
  hash = Math.imul(hash ^ (hash >>> 15) ^ destination, 0x85ebca6b | 0);
  hash = Math.imul(hash ^ (hash >>> 13) ^ ports, 0xc2b2ae35 | 0);
  hash = Math.imul(hash ^ (hash >>> 16) ^ protocol, 0x27d4eb2f | 0);
  return hash ^ (hash >>> 15);
}

export class ConnectionTable {
  readonly capacity: number;
  readonly buckets: number;
  readonly entries: Int32Array;
  readonly index: Int32Array;
  readonly #control: Int32Array;
  readonly #mask: number;
  readonly #seed: number;

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
    this.#control = new Int32Array(buffers.control);
    this.#mask = buffers.buckets - 1;
    this.#seed = seed;
  }

  /** Memory for `capacity` connections. What straddles cache lines costs twice the misses. */
  static buffers(capacity: number, lineOffset: LineOffset = usualLineOffset): ConnectionBuffers {
    if (capacity < CONNECTIONS_MIN || capacity > CONNECTIONS_MAX) {
      throw new RangeError(
        `connection capacity ${capacity}: ${CONNECTIONS_MIN} to ${CONNECTIONS_MAX} are allowed`,
      );
    }
    let buckets = 64;
    while (buckets * 9 < capacity * 2) buckets *= 2;
    const control = new SharedArrayBuffer((STOCK_WORDS + WORKERS_MAX * OWN_WORDS) * 4);
    new Int32Array(control)[STOCK_UNUSED] = 1;
    const entries = new SharedArrayBuffer(((capacity + 1) << SHIFT) * 4 + LINE_BYTES);
    const index = new SharedArrayBuffer((buckets << BUCKET_SHIFT) * 4 + LINE_BYTES);
    return {
      capacity,
      buckets,
      entries,
      entriesOffset: lineOffset(entries),
      index,
      indexOffset: lineOffset(index),
      control,
    };
  }

  /** Fetches the index lines of hashes, which stand in `hashes` whenever it is asked to. */
  indexPrefetcher(make: MakePrefetcher, hashes: Int32Array): Prefetcher {
    return make(this.index, hashes, this.#mask, BUCKET_SHIFT);
  }

  /** The same for entries, by their numbers. */
  entryPrefetcher(make: MakePrefetcher, numbers: Int32Array): Prefetcher {
    return make(this.entries, numbers, ENTRY_BITS, SHIFT);
  }

  /** First entry in the hash's own bucket whose tag fits, 0 when none does; not verified. */
  candidate(hash: number): number {
    const index = this.index;
    const bucket = (hash & this.#mask) << BUCKET_SHIFT;
    const tag = hash & TAG_BITS;
    const start = firstSlot(hash);
    const first = index[bucket + start]!;
    if ((first & TAG_BITS) === tag && first !== 0) return first & ENTRY_BITS;
    for (let slot = start + 1; slot < BUCKET_WORDS; slot++) {
      const word = index[bucket + slot]!;
      if ((word & TAG_BITS) === tag && word !== 0) return word & ENTRY_BITS;
    }
    for (let slot = 1; slot < start; slot++) {
      const word = index[bucket + slot]!;
      if ((word & TAG_BITS) === tag && word !== 0) return word & ENTRY_BITS;
    }
    return 0;
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
    const at = entry << SHIFT;
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
    const home = hash & this.#mask;
    const overflows = index[home << BUCKET_SHIFT]! >>> 8;
    const last = overflows === 0 ? 0 : OVERFLOW_BUCKETS;
    for (let step = 0; step <= last; step++) {
      const bucket = ((home + step) & this.#mask) << BUCKET_SHIFT;
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
   * Makes an entry, whose fields are written, visible: first for replies, then for the client.
   * `both`: replies come this way too (NAT, FULLNAT). 0, or an INSERT_* code: then it is in
   * neither place.
   */
  insert(entry: number, owner: number, both: boolean, tick: number): number {
    const at = entry << SHIFT;
    const entries = this.entries;
    const protocol = entries[at + IDENTITY]! & 0xff;
    const hash = this.#clientHash(at, protocol);
    const home = (hash & this.#mask) << BUCKET_SHIFT;
    if (!acquire(this.index, home, owner)) return INSERT_BUSY;
    const found = this.find(
      hash,
      protocol,
      entries[at + CLIENT]!,
      entries[at + VIRTUAL]!,
      entries[at + CLIENT_PORTS]!,
      tick,
    );
    if (found !== 0) {
      release(this.index, home, owner);
      return INSERT_EXISTS;
    }
    const replyHash = this.#replyHash(at, protocol);
    if (both && !this.#claim(replyHash, entry)) {
      release(this.index, home, owner);
      return INSERT_FULL;
    }
    if (!this.#claim(hash, entry)) {
      if (both) this.#clear(replyHash, entry);
      release(this.index, home, owner);
      return INSERT_FULL;
    }
    release(this.index, home, owner);
    return 0;
  }

  /**
   * Ends an entry's identity and takes it out of the index. The caller frees it afterwards. The
   * identity goes first: while the slots are cleared nobody may take it for a new connection of
   * the same ends, which another worker may make in between.
   */
  remove(entry: number, both: boolean): void {
    const at = entry << SHIFT;
    const identity = this.entries[at + IDENTITY]!;
    const protocol = identity & 0xff;
    Atomics.store(this.entries, at + IDENTITY, ((identity & ~0xffff) + 0x10000) | 0);
    this.#clear(this.#clientHash(at, protocol), entry);
    if (both) this.#clear(this.#replyHash(at, protocol), entry);
  }

  /** Takes a template out of the index; it lives on for the connections that refer to it. */
  unindex(template: number): void {
    const at = template << SHIFT;
    this.#clear(this.#clientHash(at, this.entries[at + IDENTITY]! & 0xff), template);
  }

  #clientHash(at: number, protocol: number): number {
    const entries = this.entries;
    return connectionHash(
      this.#seed,
      protocol,
      entries[at + CLIENT]!,
      entries[at + VIRTUAL]!,
      entries[at + CLIENT_PORTS]!,
    );
  }

  #replyHash(at: number, protocol: number): number {
    const entries = this.entries;
    return connectionHash(
      this.#seed,
      protocol,
      entries[at + REAL]!,
      entries[at + REPLY]!,
      entries[at + REPLY_PORTS]!,
    );
  }

  #claim(hash: number, entry: number): boolean {
    const word = (hash & TAG_BITS) | entry;
    const home = hash & this.#mask;
    for (let step = 0; step <= OVERFLOW_BUCKETS; step++) {
      const bucket = ((home + step) & this.#mask) << BUCKET_SHIFT;
      const start = firstSlot(hash);
      for (let probe = 0; probe < BUCKET_WORDS - 1; probe++) {
        const slot = start + probe < BUCKET_WORDS ? start + probe : start + probe - 15;
        if (this.index[bucket + slot] !== 0) continue;
        if (step > 0) Atomics.add(this.index, home << BUCKET_SHIFT, OVERFLOW_ONE);
        if (Atomics.compareExchange(this.index, bucket + slot, 0, word) === 0) return true;
        if (step > 0) Atomics.sub(this.index, home << BUCKET_SHIFT, OVERFLOW_ONE);
      }
    }
    return false;
  }

  #clear(hash: number, entry: number): void {
    const word = (hash & TAG_BITS) | entry;
    const home = hash & this.#mask;
    for (let step = 0; step <= OVERFLOW_BUCKETS; step++) {
      const bucket = ((home + step) & this.#mask) << BUCKET_SHIFT;
      for (let slot = 1; slot < BUCKET_WORDS; slot++) {
        if (this.index[bucket + slot] !== word) continue;
        Atomics.store(this.index, bucket + slot, 0);
        if (step > 0) Atomics.sub(this.index, home << BUCKET_SHIFT, OVERFLOW_ONE);
        return;
      }
    }
  }

  /** A free entry for a worker, 0 when the table is full. */
  allocate(worker: number): number {
    const control = this.#control;
    const own = STOCK_WORDS + worker * OWN_WORDS;
    if (control[own] === 0 && !this.#takeBatch(own, worker + 1)) return 0;
    const entry = control[own]!;
    control[own] = this.entries[(entry << SHIFT) + AT.timerNext]!;
    control[own + 1] = control[own + 1]! - 1;
    return entry;
  }

  /** Gives an entry back; it is in no index and on no timer. */
  free(entry: number, worker: number): void {
    const control = this.#control;
    const own = STOCK_WORDS + worker * OWN_WORDS;
    this.entries[(entry << SHIFT) + AT.timerNext] = control[own]!;
    control[own] = entry;
    control[own + 1] = control[own + 1]! + 1;
    if (control[own + 1]! >= BATCH * 2) this.#giveBatch(own, worker + 1);
  }

  #takeBatch(own: number, owner: number): boolean {
    const control = this.#control;
    if (!acquire(control, STOCK_LOCK, owner)) return false;
    const batch = control[STOCK_BATCHES]!;
    if (batch !== 0) {
      control[STOCK_BATCHES] = this.entries[(batch << SHIFT) + AT.timerPrevious]!;
      control[STOCK_BATCH_COUNT]! -= 1;
      control[own] = batch;
      control[own + 1] = BATCH;
      release(control, STOCK_LOCK, owner);
      return true;
    }
    const first = control[STOCK_UNUSED]!;
    const end = Math.min(first + BATCH, this.capacity + 1);
    control[STOCK_UNUSED] = end;
    release(control, STOCK_LOCK, owner);
    for (let entry = end - 1; entry >= first; entry--) {
      this.entries[(entry << SHIFT) + AT.timerNext] = control[own]!;
      control[own] = entry;
    }
    control[own + 1] = end - first;
    return end > first;
  }

  #giveBatch(own: number, owner: number): void {
    const control = this.#control;
    const batch = control[own]!;
    let last = batch;
    for (let i = 1; i < BATCH; i++) last = this.entries[(last << SHIFT) + AT.timerNext]!;
    if (!acquire(control, STOCK_LOCK, owner)) return;
    control[own] = this.entries[(last << SHIFT) + AT.timerNext]!;
    control[own + 1] = control[own + 1]! - BATCH;
    this.entries[(last << SHIFT) + AT.timerNext] = 0;
    this.entries[(batch << SHIFT) + AT.timerPrevious] = control[STOCK_BATCHES]!;
    control[STOCK_BATCHES] = batch;
    control[STOCK_BATCH_COUNT]! += 1;
    release(control, STOCK_LOCK, owner);
  }

  /** Entries that are not in use; by the way of workers' own stocks, so not to the last one. */
  get freeCount(): number {
    const control = this.#control;
    let free = this.capacity + 1 - control[STOCK_UNUSED]! + control[STOCK_BATCH_COUNT]! * BATCH;
    for (let worker = 0; worker < WORKERS_MAX; worker++) {
      free += control[STOCK_WORDS + worker * OWN_WORDS + 1]!;
    }
    return free;
  }

  /** Entries ever taken from the stock: a listing need not look beyond. */
  get usedEnd(): number {
    return this.#control[STOCK_UNUSED]!;
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
    let broken = breakLock(this.#control, STOCK_LOCK, owner) ? 1 : 0;
    for (let bucket = 0; bucket < this.buckets; bucket++) {
      if (breakLock(this.index, bucket << BUCKET_SHIFT, owner)) broken++;
    }
    return broken;
  }
}

/** Slot, 1 to 15, at which the search in a bucket begins: spreads entries, shortens hits. */
function firstSlot(hash: number): number {
  const slot = Math.imul(hash, 0x9e3779b1 | 0) >>> 28;
  return slot === 0 ? 15 : slot;
}
