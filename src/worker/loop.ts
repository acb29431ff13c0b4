/**
 * The worker's loop: bursts from each port through the pipeline and out, then what time brings
 * (expiry, waiting frames, statistics), then sleep if the mode allows. Allocates nothing.
 *
 * busy: spins. adaptive: spins while there is work and a little longer, then sleeps in poll().
 * interrupt: sleeps whenever there is none.
 */
import type { Poller } from '../port/addon';
import type { Port } from '../port/port';
import type { Umem } from '../port/umem';
import { COUNTER } from '../table/counter';
import { CONTROL_FREE_CHUNKS, CONTROL_STOP, CONTROL_WAITING, type WorkerMode } from './contract';
import { DUE_MAX } from './expire';
import type { Pipeline } from './pipeline';
import type { Stopwatch } from './stopwatch';
import type { Tracer } from './trace';

/** Empty rounds before an adaptive worker sleeps (docs/bench.md, wire). */
const SPINS_ADAPTIVE = 2;
/** Sleep at most this long: timers tick every 100 ms. */
const SLEEP_MS = 100;
/** While frames wait for a neighbour, or for their first fragment, which another worker may get. */
const SLEEP_WAITING_MS = 1;
const TICKS_PER_STATISTICS = 10;
/** Rounds between looks at the rings' levels: a power of two. */
const ROUNDS_PER_SAMPLE = 32;

const BUSY = COUNTER.busy_microseconds;
const TOTAL = COUNTER.total_microseconds;
const BURSTS = COUNTER.bursts;
const EMPTY = COUNTER.empty_polls;
const SLEEPS = COUNTER.sleeps;

/** A port whose kernel statistics can be refreshed, and whose rings can be looked at. */
export interface LoopPort extends Port {
  readonly socketCount: number;
  statistics(): void;
  levels(into: Int32Array, socket: number): void;
}

export interface LoopParts {
  readonly ports: readonly LoopPort[];
  readonly pipeline: Pipeline;
  readonly tracer: Tracer;
  readonly umem: Umem;
  /** Writes the UMEM's clock. */
  readonly readClock: () => void;
  readonly stopwatch: Stopwatch;
  readonly counters: Float64Array;
  readonly control: Int32Array;
  readonly poller: Pick<Poller, 'poll'>;
  readonly mode: WorkerMode;
}

export class Loop {
  private readonly ports: readonly LoopPort[];
  private readonly pipeline: Pipeline;
  private readonly tracer: Tracer;
  private readonly umem: Umem;
  private readonly clock: Int32Array;
  private readonly readClock: () => void;
  private readonly stopwatch: Stopwatch;
  private readonly counters: Float64Array;
  private readonly control: Int32Array;
  /** Bound, as in xdpPort.ts. */
  private readonly poll: Poller['poll'];
  private readonly spins: number;
  private lastTick: number;
  private lastStatistics: number;
  private lastMicroseconds: number;

  constructor(parts: LoopParts) {
    const { umem, mode } = parts;
    this.ports = parts.ports;
    this.pipeline = parts.pipeline;
    this.tracer = parts.tracer;
    this.umem = umem;
    this.clock = umem.clock;
    this.readClock = parts.readClock;
    this.stopwatch = parts.stopwatch;
    this.counters = parts.counters;
    this.control = parts.control;
    this.poll = parts.poller.poll.bind(parts.poller);
    this.spins = mode === 'busy' ? -1 : mode === 'adaptive' ? SPINS_ADAPTIVE : 0;
    this.lastTick = umem.clock[0]!;
    this.lastStatistics = umem.clock[0]!;
    this.lastMicroseconds = umem.clock[1]!;
  }

  /** Until the control word says stop. */
  run(): void {
    let idle = 0;
    while (this.control[CONTROL_STOP] === 0) {
      const received = this.round();
      // What has expired is work too: no sleep before it is worked off.
      idle = received === 0 && !this.backlog ? idle + 1 : 0;
      if (this.spins >= 0 && idle > this.spins) {
        this.sleep();
        idle = 0;
      }
    }
  }

  /** Once around: every port, then what time brings. Returns how many frames came. */
  round(): number {
    const ports = this.ports;
    const stopwatch = this.stopwatch;
    if ((this.rounds & (ROUNDS_PER_SAMPLE - 1)) === 0) this.sample();
    this.rounds = (this.rounds + 1) & 0xffff;
    let received = 0;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      const count = port.receive();
      if (count === 0) {
        stopwatch.polled();
        continue;
      }
      stopwatch.received(count);
      received += count;
      this.counters[BURSTS]! += 1;
      if (this.tracer.isOff) this.pipeline.process(port, count);
      else this.tracer.process(port, count);
      this.transmitBurst();
    }
    const due = this.pass(received);
    const now = this.clock[1]!;
    const spent = (now - this.lastMicroseconds) | 0;
    this.lastMicroseconds = now;
    this.counters[TOTAL]! += spent;
    // The clock is written when a burst is asked for, so work shows at the next round's start.
    if (this.wasBusy) this.counters[BUSY]! += spent;
    this.wasBusy = received > 0 || due;
    if (received === 0) this.counters[EMPTY]! += 1;
    return received;
  }
  private wasBusy = false;
  private rounds = 0;

  /** What the pipeline has staged goes; the first port that takes some ends the pipeline's time. */
  private transmitBurst(): void {
    const ports = this.ports;
    let taken = 0;
    for (let out = 0; out < ports.length; out++) {
      const port = ports[out]!;
      if (port.txCount === 0) continue;
      port.transmit();
      if (taken === 0) this.stopwatch.processed();
      this.stopwatch.transmitted();
      taken++;
    }
    if (taken === 0) this.nothingLeft();
  }

  /** Of a burst: all was dropped, kept or given to the host. */
  private nothingLeft(): void {
    this.readClock();
    this.stopwatch.consumed();
  }

  private transmit(): void {
    const ports = this.ports;
    for (let out = 0; out < ports.length; out++) ports[out]!.transmit();
  }

  /** The rings' levels, as they are before a burst is asked for. */
  private sample(): void {
    const { levels } = this.stopwatch;
    for (let i = 0; i < this.ports.length; i++) {
      const port = this.ports[i]!;
      for (let socket = 0; socket < port.socketCount; socket++) {
        port.levels(levels, socket);
        this.stopwatch.sampled();
      }
    }
  }

  /** Timers, waiting frames, statistics. True when something had ended. */
  private pass(received: number): boolean {
    const tick = this.clock[0]!;
    const { egress, fragments } = this.pipeline;
    let due = false;
    let hasWork = false;
    if (tick !== this.lastTick || this.backlog) {
      hasWork = true;
      due = this.expire(tick);
    }
    if (egress.waiting > 0) {
      hasWork = true;
      egress.retry(tick);
      this.transmit();
    }
    if (fragments.held > 0) {
      hasWork = true;
      fragments.run(tick);
      this.transmit();
    }
    const since = (tick - this.lastStatistics) | 0;
    if (since >= TICKS_PER_STATISTICS && (received === 0 || since >= TICKS_PER_STATISTICS * 2)) {
      hasWork = true;
      this.publish(tick);
    }
    if (hasWork) this.timed();
    return due;
  }

  /** True when something had ended. */
  private expire(tick: number): boolean {
    this.lastTick = tick;
    this.backlog = this.pipeline.expire(tick, DUE_MAX) > 0;
    // What has ended may have sent resets.
    if (this.backlog) this.transmit();
    return this.backlog;
  }

  private timed(): void {
    this.readClock();
    this.stopwatch.timed();
  }
  private backlog = false;

  private publish(tick: number): void {
    this.lastStatistics = tick;
    this.control[CONTROL_FREE_CHUNKS] = this.umem.freeCount;
    this.control[CONTROL_WAITING] = this.pipeline.egress.waiting;
    for (let i = 0; i < this.ports.length; i++) this.ports[i]!.statistics();
  }

  private sleep(): void {
    this.counters[SLEEPS]! += 1;
    const { egress, fragments } = this.pipeline;
    this.poll(egress.waiting + fragments.held > 0 ? SLEEP_WAITING_MS : SLEEP_MS);
    this.stopwatch.slept();
  }
}
