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
import type { Pipeline } from './pipeline';

/** Empty rounds before an adaptive worker sleeps (docs/bench.md, wire). */
const SPINS_ADAPTIVE = 2;
/** Sleep at most this long: timers tick every 100 ms. */
const SLEEP_MS = 100;
/** While frames wait for a neighbour, or for their first fragment, which another worker may get. */
const SLEEP_WAITING_MS = 1;
const TICKS_PER_STATISTICS = 10;

const BUSY = COUNTER.busy_microseconds;
const TOTAL = COUNTER.total_microseconds;
const BURSTS = COUNTER.bursts;
const EMPTY = COUNTER.empty_polls;
const SLEEPS = COUNTER.sleeps;

/** A port whose kernel statistics can be refreshed. */
export interface LoopPort extends Port {
  statistics(): void;
}

export class Loop {
  readonly #ports: readonly LoopPort[];
  readonly #pipeline: Pipeline;
  readonly #umem: Umem;
  readonly #clock: Int32Array;
  readonly #counters: Float64Array;
  readonly #control: Int32Array;
  readonly #poller: Poller;
  readonly #drain: () => void;
  readonly #spins: number;
  #lastTick: number;
  #lastStatistics: number;
  #lastMicroseconds: number;

  constructor(
    ports: readonly LoopPort[],
    pipeline: Pipeline,
    umem: Umem,
    counters: Float64Array,
    control: Int32Array,
    poller: Poller,
    drain: () => void,
    mode: WorkerMode,
  ) {
    this.#ports = ports;
    this.#pipeline = pipeline;
    this.#umem = umem;
    this.#clock = umem.clock;
    this.#counters = counters;
    this.#control = control;
    this.#poller = poller;
    this.#drain = drain;
    this.#spins = mode === 'busy' ? -1 : mode === 'adaptive' ? SPINS_ADAPTIVE : 0;
    this.#lastTick = umem.clock[0]!;
    this.#lastStatistics = umem.clock[0]!;
    this.#lastMicroseconds = umem.clock[1]!;
  }

  /** Until the control word says stop. */
  run(): void {
    let idle = 0;
    while (this.#control[CONTROL_STOP] === 0) {
      const received = this.round();
      // What has expired is work too: no sleep before it is worked off.
      idle = received === 0 && !this.#backlog ? idle + 1 : 0;
      if (this.#spins >= 0 && idle > this.#spins) {
        this.#sleep();
        idle = 0;
      }
    }
  }

  /** Once around: every port, then what time brings. Returns how many frames came. */
  round(): number {
    const ports = this.#ports;
    let received = 0;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      const count = port.receive();
      if (count === 0) continue;
      received += count;
      this.#counters[BURSTS]! += 1;
      this.#pipeline.process(port, count);
      for (let out = 0; out < ports.length; out++) ports[out]!.transmit();
    }
    const due = this.#pass(received);
    const now = this.#clock[1]!;
    const spent = (now - this.#lastMicroseconds) | 0;
    this.#lastMicroseconds = now;
    this.#counters[TOTAL]! += spent;
    // The clock is written when a burst is asked for, so work shows at the next round's start.
    if (this.#wasBusy) this.#counters[BUSY]! += spent;
    this.#wasBusy = received > 0 || due;
    if (received === 0) this.#counters[EMPTY]! += 1;
    return received;
  }
  #wasBusy = false;

  /** Timers, waiting frames, statistics. True when there was work. */
  #pass(received: number): boolean {
    const tick = this.#clock[0]!;
    let due = false;
    if (tick !== this.#lastTick || this.#backlog) {
      this.#lastTick = tick;
      const looked = this.#pipeline.expiry.run(tick);
      this.#backlog = looked > 0;
      due = looked > 0;
      // What has ended may have sent resets.
      if (due) for (let out = 0; out < this.#ports.length; out++) this.#ports[out]!.transmit();
    }
    if (this.#pipeline.egress.waiting > 0) {
      this.#pipeline.egress.retry(tick);
      for (let out = 0; out < this.#ports.length; out++) this.#ports[out]!.transmit();
    }
    if (this.#pipeline.fragments.held > 0) {
      this.#pipeline.fragments.run(tick);
      for (let out = 0; out < this.#ports.length; out++) this.#ports[out]!.transmit();
    }
    if (((tick - this.#lastStatistics) | 0) >= TICKS_PER_STATISTICS && received === 0) {
      this.#publish(tick);
    } else if (((tick - this.#lastStatistics) | 0) >= TICKS_PER_STATISTICS * 2) {
      this.#publish(tick);
    }
    return due;
  }
  #backlog = false;

  #publish(tick: number): void {
    this.#lastStatistics = tick;
    this.#control[CONTROL_FREE_CHUNKS] = this.#umem.freeCount;
    this.#control[CONTROL_WAITING] = this.#pipeline.egress.waiting;
    for (let i = 0; i < this.#ports.length; i++) this.#ports[i]!.statistics();
  }

  #sleep(): void {
    this.#counters[SLEEPS]! += 1;
    const { egress, fragments } = this.#pipeline;
    this.#poller.poll(egress.waiting + fragments.held > 0 ? SLEEP_WAITING_MS : SLEEP_MS);
    this.#drain();
  }
}
