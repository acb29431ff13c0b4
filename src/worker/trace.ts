/**
 * Packets that `xvs trace` wants to see. While it is on, a burst is parted at each of them: what is
 * before goes through the pipeline as it would, then the one alone, with the counters and the
 * ports' tx descriptors compared before and after: what grew says why, what was staged is what
 * leaves. So the pipeline knows nothing of all this, the order of packets stays, and what a trace
 * shows is what happened. A frame waiting for its neighbour leaves later, unseen.
 *
 * Where tracing is off none of this runs: the loop asks `isOff` once a burst.
 */
import { BURST_MAX, type Port, RX_WORDS, TX_WORDS } from '../port/port';
import type { Umem } from '../port/umem';
import { DROP_REASONS, PASS_REASONS, WORKER_COUNTERS } from '../table/counter';
import type { Tables } from '../table/memory';
import {
  TRACE_CONTROL,
  TRACE_RING,
  TRACE_SLOT,
  TRACE_SLOTS,
  type TraceTable,
} from '../table/trace';
import type { Pipeline } from './pipeline';
import { TraceFilter } from './traceFilter';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const { session: SESSION, snapBytes: SNAP_BYTES } = TRACE_CONTROL.at;
const { head: HEAD, tail: TAIL, lost: LOST } = TRACE_RING.at;
const SLOTS = TRACE_SLOTS;
const RX = RX_WORDS;
const TX = TX_WORDS;
const SLOT_HEAD = TRACE_SLOT.size;
const {
  session: OF_SESSION,
  isArrival: IS_ARRIVAL,
  interfaceSlot: INTERFACE_SLOT,
  lengthBytes: LENGTH_BYTES,
  keptBytes: KEPT_BYTES,
  checksumRequest: CHECKSUM_REQUEST,
  microseconds: MICROSECONDS,
  framesKept: FRAMES_KEPT,
  framesLost: FRAMES_LOST,
  grown: GROWN,
} = TRACE_SLOT.at;
/** A worker's own counters, as many bits as a slot has. */
const COUNTERS = DROP_REASONS.length + PASS_REASONS.length + WORKER_COUNTERS.length;
/** With so many frames staged a port is emptied first, so that one packet's do not fill it. */
const STAGED_MAX = BURST_MAX / 4;

if (COUNTERS > 64) throw new RangeError(`${COUNTERS} counters; a trace has room for 64`);

export class Tracer {
  private readonly pipeline: Pipeline;
  private readonly view: DataView;
  private readonly clock: Int32Array;
  private readonly ports: readonly Port[];
  private readonly counters: Float64Array;
  private readonly table: TraceTable;
  private readonly words: Int32Array;
  private readonly ring: number;
  private readonly filter: TraceFilter;
  private readonly before = new Float64Array(COUNTERS);
  /** Of each port: descriptors that were staged before the packet in hand. */
  private readonly staged: Int32Array;
  private session = 0;
  private snapBytes = 0;

  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    ports: readonly Port[],
    pipeline: Pipeline,
  ) {
    this.pipeline = pipeline;
    this.view = umem.view;
    this.clock = umem.clock;
    this.ports = ports;
    this.counters = tables.counters[worker]!;
    this.table = tables.trace;
    this.words = tables.trace.words;
    this.ring = tables.trace.ring(worker);
    this.filter = new TraceFilter(tables.trace, umem);
    this.staged = new Int32Array(ports.length);
  }

  get isOff(): boolean {
    return this.words[SESSION] === 0;
  }

  /** As Pipeline.process, and keeps what is to be seen. */
  process(port: Port, count: number): void {
    if (this.words[SESSION] !== this.session) this.begin();
    const { rx } = port;
    /** Frames that the pipeline has had. */
    let done = 0;
    let first = this.filter.first(rx, 0, count);
    while (first < count) {
      if (this.free() === 0) {
        this.lose(rx, first, count);
        break;
      }
      if (first > done) this.pass(port, done, first);
      move(rx, first, first + 1);
      this.show(port);
      done = first + 1;
      first = this.filter.first(rx, done, count);
    }
    if (count > done) this.pass(port, done, count);
  }

  /** Has the pipeline work on the frames from `first` to `end`. */
  private pass(port: Port, first: number, end: number): void {
    if (first > 0) move(port.rx, first, end);
    this.pipeline.process(port, end - first);
  }

  /**
   * Should the session end meanwhile, and another one write its filter, this may get some of both:
   * its slots then have the number of a session that has ended, and are skipped.
   */
  private begin(): void {
    this.session = Atomics.load(this.words, SESSION);
    this.filter.load();
    this.snapBytes = this.words[SNAP_BYTES]!;
  }

  private free(): number {
    const ring = this.ring;
    return SLOTS - ((this.words[ring + HEAD]! - this.words[ring + TAIL]!) | 0);
  }

  /** Counts what is wanted from the frame `first` on and cannot be kept. */
  private lose(rx: Int32Array, first: number, count: number): void {
    let lost = 0;
    for (let at = first; at < count; at = this.filter.first(rx, at + 1, count)) lost++;
    this.words[this.ring + LOST]! += lost;
  }

  /** Has the pipeline work on the burst's first frame alone, and keeps what comes of it. */
  private show(port: Port): void {
    const words = this.words;
    const head = words[this.ring + HEAD]!;
    const slot = this.table.slot(this.ring, head);
    words[slot + OF_SESSION] = this.session;
    words[slot + IS_ARRIVAL] = 1;
    words[slot + MICROSECONDS] = this.clock[1]!;
    this.keep(slot, port.slot, port.rx[0]!, port.rx[1]!, 0);
    this.remember();
    this.pipeline.process(port, 1);
    words[slot + GROWN] = this.grown(0);
    words[slot + GROWN + 1] = this.grown(32);
    const kept = this.keepWhatLeft(slot, head + 1);
    // All of them at once: a reader sees a packet with what became of it.
    Atomics.store(words, this.ring + HEAD, (head + 1 + kept) | 0);
  }

  /** What a packet's consequences are told by: counters and descriptors as they were before. */
  private remember(): void {
    for (let at = 0; at < COUNTERS; at++) this.before[at] = this.counters[at]!;
    const ports = this.ports;
    for (let at = 0; at < ports.length; at++) {
      const port = ports[at]!;
      if (port.txCount > STAGED_MAX) port.transmit();
      this.staged[at] = port.txCount;
    }
  }

  /** A bit for each counter that grew, from the counter `first` on. */
  private grown(first: number): number {
    let bits = 0;
    for (let at = first; at < COUNTERS && at < first + 32; at++) {
      if (this.counters[at] !== this.before[at]) bits |= 1 << at;
    }
    return bits;
  }

  /** Keeps the frames that were staged, from the slot `next` on. Returns how many. */
  private keepWhatLeft(slot: number, next: number): number {
    const words = this.words;
    const ports = this.ports;
    let room = this.free() - 1;
    let kept = 0;
    let lost = 0;
    for (let at = 0; at < ports.length; at++) {
      const port = ports[at]!;
      for (let frame = this.staged[at]!; frame < port.txCount; frame++) {
        if (room === 0) {
          lost++;
          continue;
        }
        const { tx } = port;
        const to = this.table.slot(this.ring, next + kept);
        words[to + OF_SESSION] = this.session;
        words[to + IS_ARRIVAL] = 0;
        const word = frame * TX;
        this.keep(to, port.slot, tx[word]!, tx[word + 1]!, tx[word + 2]!);
        room--;
        kept++;
      }
    }
    words[slot + FRAMES_KEPT] = kept;
    words[slot + FRAMES_LOST] = lost;
    return kept;
  }

  private keep(slot: number, by: number, at: number, lengthBytes: number, request: number): void {
    const words = this.words;
    const view = this.view;
    const kept = Math.min(lengthBytes, this.snapBytes);
    words[slot + INTERFACE_SLOT] = by;
    words[slot + LENGTH_BYTES] = lengthBytes;
    words[slot + KEPT_BYTES] = kept;
    words[slot + CHECKSUM_REQUEST] = request;
    const whole = kept & ~3;
    let to = slot + SLOT_HEAD;
    // Little-endian, as the words are: bytes keep their order.
    for (let from = 0; from < whole; from += 4) words[to++] = view.getInt32(at + from, true);
    let last = 0;
    for (let from = whole; from < kept; from++) {
      last |= view.getUint8(at + from) << ((from & 3) << 3);
    }
    if (kept !== whole) words[to] = last;
  }
}

/** Moves the descriptors of a burst from `first` to `end` to its beginning. */
function move(rx: Int32Array, first: number, end: number): void {
  const by = first * RX;
  const words = end * RX - by;
  for (let at = 0; at < words; at++) rx[at] = rx[at + by]!;
}
