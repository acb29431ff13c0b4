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
const MAIL_SLOTS = 4096;

const WHEEL = words('wheel', 16 + WHEEL_SLOTS + MAIL_SLOTS, {
  position: 1, // last tick that was worked off
  started: 1,
  mailHead: 1, // next to write, any worker
  mailTail: 1, // next to read, the owner
  reserved: 12,
  slots: WHEEL_SLOTS, // first entry
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
  readonly #words: Int32Array;
  readonly #entries: Int32Array;

  constructor(buffer: SharedArrayBuffer, connections: ConnectionTable) {
    this.#words = new Int32Array(buffer);
    this.#entries = connections.entries;
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(WHEEL.size * 4);
  }

  /** Sets the clock once, before the first entry is linked; a successor keeps the dead one's. */
  start(tick: number): void {
    if (this.#words[WHEEL.at.started] !== 0) return;
    this.#words[POSITION] = tick;
    this.#words[WHEEL.at.started] = 1;
  }

  /**
   * Links an entry to be looked at when it expires, less than a turn from where the wheel stands:
   * the clock may be ahead of that, and a whole turn would lead back into the slot being worked
   * off. Owner only.
   */
  link(entry: number, tick: number): void {
    const entries = this.#entries;
    const at = entry << SHIFT;
    const ahead = (entries[at + EXPIRES_AT]! - tick) | 0;
    const furthest = (this.#words[POSITION]! + WHEEL_SLOTS - 2) | 0;
    let due = (tick + Math.max(ahead, 1)) | 0;
    if (((due - furthest) | 0) > 0) due = furthest;
    const slot = due & (WHEEL_SLOTS - 1);
    const first = this.#words[SLOTS + slot]!;
    entries[at + NEXT] = first;
    entries[at + PREVIOUS] = -1 - slot;
    entries[at + TIMER_AT] = due;
    if (first !== 0) entries[(first << SHIFT) + PREVIOUS] = entry;
    this.#words[SLOTS + slot] = entry;
  }

  /** Takes an entry off the wheel. Owner only. */
  unlink(entry: number): void {
    const entries = this.#entries;
    const at = entry << SHIFT;
    const next = entries[at + NEXT]!;
    const previous = entries[at + PREVIOUS]!;
    if (next !== 0) entries[(next << SHIFT) + PREVIOUS] = previous;
    if (previous < 0) this.#words[SLOTS - 1 - previous] = next;
    else entries[(previous << SHIFT) + NEXT] = next;
  }

  /** Asks the owner to look at an entry's timer again. False: its mailbox is full. */
  post(entry: number): boolean {
    const mail = this.#words;
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
    const mail = this.#words;
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
   * Next entry whose timer is due, off the wheel; 0 when all ticks up to `tick` are worked off.
   * Owner only.
   */
  nextDue(tick: number): number {
    const wheel = this.#words;
    let position = wheel[POSITION]!;
    for (;;) {
      const entry = wheel[SLOTS + (position & (WHEEL_SLOTS - 1))]!;
      if (entry !== 0) {
        wheel[POSITION] = position;
        this.unlink(entry);
        return entry;
      }
      if (((tick - position) | 0) <= 0) break;
      position = (position + 1) | 0;
    }
    wheel[POSITION] = position;
    return 0;
  }
}
