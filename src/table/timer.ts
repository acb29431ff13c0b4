/**
 * Timers of connections: a wheel per worker in shared memory, one slot a tick of 100 ms. Only the
 * owner of a connection (the worker that made it) links it; work grows with what comes due, not
 * with the table. A packet only moves `expiresAt`; when the timer looks and finds more time left
 * it links the entry anew. When time got shorter than the timer's next look, the owner links it
 * anew at once, and another worker asks the owner by mail.
 *
 * The wheel lives in shared memory, so that a worker that takes a dead one's place goes on.
 */
import { words } from '../layout/record';
import { CONNECTION, type ConnectionTable } from './connection';

/** Slots: 819 s; what lies further ahead is looked at once on the way. Power of two. */
const WHEEL_SLOTS = 8192;
/** Lists of a slot: entries of several are on their way from memory at a time. Power of two. */
const LANE_BITS = 3;
const LANES = 1 << LANE_BITS;
const MAIL_SLOTS = 4096;

const WHEEL = words('wheel', 16 + WHEEL_SLOTS * LANES + MAIL_SLOTS, {
  position: 1, // last tick that was worked off
  started: 1,
  mailHead: 1, // next to write, any worker
  mailTail: 1, // next to read, the owner
  reserved: 12,
  slots: WHEEL_SLOTS * LANES, // first entry of each list
  mail: MAIL_SLOTS,
});
const { position: POSITION, mailHead: HEAD, mailTail: TAIL, slots: SLOTS, mail: MAIL } = WHEEL.at;
const AT = CONNECTION.at;
const SHIFT = 4;
const NEXT = AT.timerNext;
const PREVIOUS = AT.timerPrevious;
const TIMER_AT = AT.timerAt;
const EXPIRES_AT = AT.expiresAt;

export class TimerWheel {
  private readonly words: Int32Array;
  private readonly entries: Int32Array;
  /** Where `peek` is in each list. */
  private readonly cursors = new Int32Array(LANES);

  constructor(buffer: SharedArrayBuffer, connections: ConnectionTable) {
    this.words = new Int32Array(buffer);
    this.entries = connections.entries;
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(WHEEL.size * 4);
  }

  /** Sets the clock once, before the first entry is linked; a successor keeps the dead one's. */
  start(tick: number): void {
    if (this.words[WHEEL.at.started] !== 0) return;
    this.words[POSITION] = tick;
    this.words[WHEEL.at.started] = 1;
  }

  /**
   * Links an entry to be looked at when it expires, less than a turn from where the wheel stands:
   * the clock may be ahead of that, and a whole turn would lead back into the slot being worked
   * off. Owner only.
   */
  link(entry: number, tick: number): void {
    const entries = this.entries;
    const at = entry << SHIFT;
    const ahead = (entries[at + EXPIRES_AT]! - tick) | 0;
    const furthest = (this.words[POSITION]! + WHEEL_SLOTS - 2) | 0;
    let due = (tick + Math.max(ahead, 1)) | 0;
    if (((due - furthest) | 0) > 0) due = furthest;
    const slot = ((due & (WHEEL_SLOTS - 1)) << LANE_BITS) | (entry & (LANES - 1));
    const first = this.words[SLOTS + slot]!;
    entries[at + NEXT] = first;
    entries[at + PREVIOUS] = -1 - slot;
    entries[at + TIMER_AT] = due;
    if (first !== 0) entries[(first << SHIFT) + PREVIOUS] = entry;
    this.words[SLOTS + slot] = entry;
  }

  /** Takes an entry off the wheel. Owner only. */
  unlink(entry: number): void {
    const entries = this.entries;
    const at = entry << SHIFT;
    const next = entries[at + NEXT]!;
    const previous = entries[at + PREVIOUS]!;
    if (next !== 0) entries[(next << SHIFT) + PREVIOUS] = previous;
    if (previous < 0) this.words[SLOTS - 1 - previous] = next;
    else entries[(previous << SHIFT) + NEXT] = next;
  }

  /** Asks the owner to look at an entry's timer again. False: its mailbox is full. */
  post(entry: number): boolean {
    const mail = this.words;
    for (;;) {
      const head = Atomics.load(mail, HEAD);
      if (((head - mail[TAIL]!) | 0) >= MAIL_SLOTS) return false;
      if (Atomics.compareExchange(mail, HEAD, head, (head + 1) | 0) === head) {
        Atomics.store(mail, MAIL + (head & (MAIL_SLOTS - 1)), entry);
        return true;
      }
    }
  }

  /** Next entry that was asked for, 0 when there is none. Owner only. */
  receive(): number {
    const mail = this.words;
    const tail = mail[TAIL]!;
    if (mail[HEAD] === tail) return 0;
    const at = MAIL + (tail & (MAIL_SLOTS - 1));
    const entry = mail[at]!;
    if (entry === 0) return 0; // reserved, not yet written
    mail[at] = 0;
    Atomics.store(mail, TAIL, (tail + 1) | 0);
    return entry;
  }

  /**
   * The next entries that are due by `tick`, up to `most` of them, into `due`; how many. nextDue
   * will give as many, of the same slot. Lists are walked side by side, for each step waits for
   * memory. Owner only.
   */
  peek(tick: number, due: Int32Array, most: number): number {
    const wheel = this.words;
    const slot = this.nextSlot(tick);
    if (slot < 0) return 0;
    const cursors = this.cursors;
    for (let lane = 0; lane < LANES; lane++) cursors[lane] = wheel[SLOTS + slot + lane]!;
    const entries = this.entries;
    let count = 0;
    for (let before = -1; before !== count && count <= most - LANES; ) {
      before = count;
      for (let lane = 0; lane < LANES; lane++) {
        const entry = cursors[lane]!;
        due[count] = entry;
        count += entry === 0 ? 0 : 1;
        // Entry 0 is none, and linked to none.
        cursors[lane] = entries[(entry << SHIFT) + NEXT]!;
      }
    }
    return count;
  }

  /**
   * Next entry whose timer is due, off the wheel; 0 when all ticks up to `tick` are worked off.
   * Owner only.
   */
  nextDue(tick: number): number {
    const slot = this.nextSlot(tick);
    if (slot < 0) return 0;
    const wheel = this.words;
    let entry = 0;
    for (let lane = 0; entry === 0; lane++) entry = wheel[SLOTS + slot + lane]!;
    this.unlink(entry);
    return entry;
  }

  /** First list of the first slot that is due and has an entry; -1 when there is none. */
  private nextSlot(tick: number): number {
    const wheel = this.words;
    let position = wheel[POSITION]!;
    for (;;) {
      const slot = (position & (WHEEL_SLOTS - 1)) << LANE_BITS;
      if (!this.isEmpty(slot)) {
        wheel[POSITION] = position;
        return slot;
      }
      if (((tick - position) | 0) <= 0) break;
      position = (position + 1) | 0;
    }
    wheel[POSITION] = position;
    return -1;
  }

  private isEmpty(slot: number): boolean {
    const wheel = this.words;
    const at = SLOTS + slot;
    return (
      (wheel[at]! |
        wheel[at + 1]! |
        wheel[at + 2]! |
        wheel[at + 3]! |
        wheel[at + 4]! |
        wheel[at + 5]! |
        wheel[at + 6]! |
        wheel[at + 7]!) ===
      0
    );
  }
}
