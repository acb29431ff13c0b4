/**
 * The workers' rings as one session reads them: packets by time, whichever worker had them, and
 * no more at once than asked for. What the session before left in them is passed by.
 */
import { TRACE_RING, TRACE_SLOT, type TraceTable } from '../../table/trace';
import type { PacketReader } from './packet';
import type { TracedPacket } from './protocol';

const { session: SESSION, isArrival: IS_ARRIVAL } = TRACE_SLOT.at;
const { framesKept: FRAMES_KEPT, microseconds: MICROSECONDS } = TRACE_SLOT.at;
const { head: HEAD, tail: TAIL, lost: LOST } = TRACE_RING.at;

export class Rings {
  readonly #table: TraceTable;
  readonly #session: number;
  readonly #reader: PacketReader;
  readonly #lost: Int32Array;

  /** Empties the rings. `session`: its number, none of whose packets are there yet. */
  constructor(table: TraceTable, session: number, reader: PacketReader) {
    this.#table = table;
    this.#session = session;
    this.#reader = reader;
    this.#lost = new Int32Array(table.workers);
    for (let worker = 0; worker < table.workers; worker++) {
      const ring = table.ring(worker);
      this.#lost[worker] = table.words[ring + LOST]!;
      Atomics.store(table.words, ring + TAIL, Atomics.load(table.words, ring + HEAD));
    }
  }

  /** The oldest that are there, at most so many. */
  read(most: number): TracedPacket[] {
    const packets: TracedPacket[] = [];
    this.#reader.lookAtClocks();
    while (packets.length < most) {
      const worker = this.#oldest();
      if (worker < 0) break;
      packets.push(this.#take(worker));
    }
    return packets;
  }

  /** Passes by what is there. Returns how many packets. */
  skip(): number {
    let count = 0;
    for (let worker = 0; worker < this.#table.workers; worker++) {
      for (; this.#next(worker) >= 0; count++) this.#pass(worker);
    }
    return count;
  }

  /** How many packets the workers had no room for since this was last asked. */
  takeLost(): number {
    let sum = 0;
    for (let worker = 0; worker < this.#lost.length; worker++) {
      const now = this.#table.words[this.#table.ring(worker) + LOST]!;
      sum += (now - this.#lost[worker]!) | 0;
      this.#lost[worker] = now;
    }
    return sum;
  }

  /** The worker whose next packet is the oldest; -1: there is none. */
  #oldest(): number {
    let oldest = -1;
    let time = 0;
    for (let worker = 0; worker < this.#table.workers; worker++) {
      const slot = this.#next(worker);
      if (slot < 0) continue;
      const own = this.#table.words[slot + MICROSECONDS]!;
      if (oldest >= 0 && ((own - time) | 0) >= 0) continue;
      oldest = worker;
      time = own;
    }
    return oldest;
  }

  /** Word of the slot with a worker's next packet, -1: there is none. */
  #next(worker: number): number {
    const { words } = this.#table;
    const ring = this.#table.ring(worker);
    const head = Atomics.load(words, ring + HEAD);
    let tail = words[ring + TAIL]!;
    for (; tail !== head; tail = (tail + 1) | 0) {
      const slot = this.#table.slot(ring, tail);
      const isOurs = words[slot + SESSION] === this.#session && words[slot + IS_ARRIVAL] === 1;
      if (!isOurs) continue;
      words[ring + TAIL] = tail;
      return slot;
    }
    Atomics.store(words, ring + TAIL, tail);
    return -1;
  }

  /** A worker's next packet, which there is. */
  #take(worker: number): TracedPacket {
    const ring = this.#table.ring(worker);
    const tail = this.#table.words[ring + TAIL]!;
    const slot = this.#table.slot(ring, tail);
    const kept = this.#table.words[slot + FRAMES_KEPT]!;
    const left = Array.from({ length: kept }, (_, at) => this.#table.slot(ring, tail + 1 + at));
    const packet = this.#reader.read(worker, slot, left);
    this.#pass(worker);
    return packet;
  }

  #pass(worker: number): void {
    const { words } = this.#table;
    const ring = this.#table.ring(worker);
    const tail = words[ring + TAIL]!;
    const kept = words[this.#table.slot(ring, tail) + FRAMES_KEPT]!;
    Atomics.store(words, ring + TAIL, (tail + 1 + kept) | 0);
  }
}
