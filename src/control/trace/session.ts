/**
 * The control plane's side of a trace: writes the filter, reads the workers' rings some times a
 * second. One session at a time, on for as long as its `messages` are read.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Tables } from '../../table/memory';
import {
  TRACE_CONTROL,
  TRACE_FRAME_BYTES,
  TRACE_RING,
  TRACE_SLOT,
  type TraceTable,
} from '../../table/trace';
import { DirectorError } from '../error';
import { parseFilter } from './filterParse';
import { compileFilter, type FilterProgram, writeProgram } from './filterProgram';
import { FilterError } from './filterWords';
import { PacketReader } from './packet';
import type { TracedPacket, TraceMessage, TraceRequest } from './protocol';

const { session: SESSION, snapBytes: SNAP_BYTES } = TRACE_CONTROL.at;
const { session: OF_SESSION, isArrival: IS_ARRIVAL, framesKept: FRAMES_KEPT } = TRACE_SLOT.at;
const { head: HEAD, tail: TAIL, lost: LOST } = TRACE_RING.at;
const READ_MS = 50;

export class Trace {
  readonly #tables: Tables;
  readonly #interfaces: readonly string[];
  #isOn = false;
  #sessions = 0;

  /** `interfaces`: names in slot order. */
  constructor(tables: Tables, interfaces: readonly string[]) {
    this.#tables = tables;
    this.#interfaces = interfaces;
  }

  /**
   * Messages of one session, which ends with them. Throws a DirectorError for a filter that makes
   * no sense, and while another session is on.
   */
  start(request: TraceRequest): AsyncGenerator<TraceMessage> {
    const program = programOf(request.filter);
    this.#refuseSecond();
    return this.#messages(request, program);
  }

  #refuseSecond(): void {
    if (this.#isOn) throw new DirectorError('ERR_BUSY', 'another trace is on; one is allowed');
  }

  async *#messages(request: TraceRequest, program: FilterProgram): AsyncGenerator<TraceMessage> {
    // Asked for at the same time, the other was first.
    this.#refuseSecond();
    const rings = this.#open(request, program);
    this.#isOn = true;
    let packets = 0;
    let lost = 0;
    try {
      yield { kind: 'started', interfaces: this.#interfaces };
      const end = request.seconds === 0 ? Infinity : performance.now() + request.seconds * 1000;
      const most = request.count === 0 ? Infinity : request.count;
      while (packets < most && performance.now() < end) {
        await sleep(READ_MS);
        for (const packet of rings.read(most - packets)) {
          packets++;
          yield packet;
        }
        const lostNow = rings.takeLost();
        lost += lostNow;
        // Between two yields a reader that has gone ends this: so there is one each time.
        yield { kind: 'lost', packets: lostNow };
      }
      yield { kind: 'ended', packets, lost };
    } finally {
      this.#tables.trace.words[SESSION] = 0;
      this.#isOn = false;
    }
  }

  /** Writes the filter and has the workers begin. */
  #open(request: TraceRequest, program: FilterProgram): Rings {
    const { words } = this.#tables.trace;
    this.#sessions++;
    words[SNAP_BYTES] = Math.min(request.snapBytes, TRACE_FRAME_BYTES);
    writeProgram(this.#tables.trace, program);
    const reader = new PacketReader(this.#tables, this.#interfaces);
    const rings = new Rings(this.#tables.trace, this.#sessions, reader);
    Atomics.store(words, SESSION, this.#sessions);
    return rings;
  }
}

function programOf(filter: string): FilterProgram {
  try {
    return compileFilter(parseFilter(filter));
  } catch (error) {
    if (error instanceof FilterError) throw new DirectorError('ERR_VALUE', error.message);
    throw error;
  }
}

/** The workers' rings, from the session's beginning on. */
class Rings {
  readonly #table: TraceTable;
  readonly #session: number;
  readonly #reader: PacketReader;
  readonly #lost: Int32Array;

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

  /** What is there, by time, and at most so many. */
  read(most: number): TracedPacket[] {
    const packets: TracedPacket[] = [];
    this.#reader.lookAtClocks();
    for (let worker = 0; worker < this.#table.workers; worker++) this.#readRing(worker, packets);
    packets.sort((one, other) => one.microseconds - other.microseconds);
    return packets.slice(0, most);
  }

  #readRing(worker: number, packets: TracedPacket[]): void {
    const { words } = this.#table;
    const ring = this.#table.ring(worker);
    const head = Atomics.load(words, ring + HEAD);
    let tail = words[ring + TAIL]!;
    while (tail !== head) {
      const slot = this.#table.slot(ring, tail);
      // Slots of a session before this one are passed by.
      const isOurs = words[slot + OF_SESSION] === this.#session && words[slot + IS_ARRIVAL] === 1;
      const kept = isOurs ? words[slot + FRAMES_KEPT]! : 0;
      if (isOurs) {
        const left = Array.from({ length: kept }, (_, at) => this.#table.slot(ring, tail + 1 + at));
        packets.push(this.#reader.read(worker, slot, left));
      }
      tail = (tail + 1 + kept) | 0;
    }
    Atomics.store(words, ring + TAIL, tail);
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
}
