/**
 * Free entries of the connection table: a common stock under a lock, and a list of its own for
 * each worker, filled and emptied in batches, so that making a connection seldom takes the lock.
 * Free entries are chained by their timerNext word, batches by timerPrevious.
 */
import { CONNECTION, ENTRY_SHIFT } from './connectionEntry';
import { acquire, breakLock, release, WORKERS_MAX } from './lock';

const { timerNext: NEXT, timerPrevious: NEXT_BATCH } = CONNECTION.at;
const SHIFT = ENTRY_SHIFT;
/** Entries a worker takes from the common stock, and gives back, at once. */
const BATCH = 64;

// Words of the control buffer.
const STOCK_LOCK = 0;
const STOCK_UNUSED = 1; // entries from here on were never used
const STOCK_BATCHES = 2; // first entry of the first batch
const STOCK_BATCH_COUNT = 3;
const STOCK_WORDS = 16;
const OWN_WORDS = 16; // per worker: head, count of its own free list

export class ConnectionStock {
  private readonly control: Int32Array;
  private readonly entries: Int32Array;
  private readonly capacity: number;

  constructor(control: SharedArrayBuffer, entries: Int32Array, capacity: number) {
    this.control = new Int32Array(control);
    this.entries = entries;
    this.capacity = capacity;
  }

  static buffer(): SharedArrayBuffer {
    const control = new SharedArrayBuffer((STOCK_WORDS + WORKERS_MAX * OWN_WORDS) * 4);
    new Int32Array(control)[STOCK_UNUSED] = 1;
    return control;
  }

  /** A free entry for a worker, 0 when there is none. */
  allocate(worker: number): number {
    const control = this.control;
    const own = STOCK_WORDS + worker * OWN_WORDS;
    if (control[own] === 0 && !this.takeBatch(own, worker + 1)) return 0;
    const entry = control[own]!;
    control[own] = this.entries[(entry << SHIFT) + NEXT]!;
    control[own + 1] = control[own + 1]! - 1;
    return entry;
  }

  /** Gives an entry back; it is in no index and on no timer. */
  free(entry: number, worker: number): void {
    const control = this.control;
    const own = STOCK_WORDS + worker * OWN_WORDS;
    this.entries[(entry << SHIFT) + NEXT] = control[own]!;
    control[own] = entry;
    control[own + 1] = control[own + 1]! + 1;
    if (control[own + 1]! >= BATCH * 2) this.giveBatch(own, worker + 1);
  }

  private takeBatch(own: number, owner: number): boolean {
    const control = this.control;
    if (!acquire(control, STOCK_LOCK, owner)) return false;
    const batch = control[STOCK_BATCHES]!;
    if (batch !== 0) {
      control[STOCK_BATCHES] = this.entries[(batch << SHIFT) + NEXT_BATCH]!;
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
      this.entries[(entry << SHIFT) + NEXT] = control[own]!;
      control[own] = entry;
    }
    control[own + 1] = end - first;
    return end > first;
  }

  private giveBatch(own: number, owner: number): void {
    const control = this.control;
    const batch = control[own]!;
    let last = batch;
    for (let i = 1; i < BATCH; i++) last = this.entries[(last << SHIFT) + NEXT]!;
    if (!acquire(control, STOCK_LOCK, owner)) return;
    control[own] = this.entries[(last << SHIFT) + NEXT]!;
    control[own + 1] = control[own + 1]! - BATCH;
    this.entries[(last << SHIFT) + NEXT] = 0;
    this.entries[(batch << SHIFT) + NEXT_BATCH] = control[STOCK_BATCHES]!;
    control[STOCK_BATCHES] = batch;
    control[STOCK_BATCH_COUNT]! += 1;
    release(control, STOCK_LOCK, owner);
  }

  /** Entries that are not in use; by the way of workers' own lists, so not to the last one. */
  get freeCount(): number {
    const control = this.control;
    let free = this.capacity + 1 - control[STOCK_UNUSED]! + control[STOCK_BATCH_COUNT]! * BATCH;
    for (let worker = 0; worker < WORKERS_MAX; worker++) {
      free += control[STOCK_WORDS + worker * OWN_WORDS + 1]!;
    }
    return free;
  }

  /** Entries from here on were never taken. */
  get usedEnd(): number {
    return this.control[STOCK_UNUSED]!;
  }

  breakLock(owner: number): boolean {
    return breakLock(this.control, STOCK_LOCK, owner);
  }
}
