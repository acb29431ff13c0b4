/**
 * Tells a worker's stages apart (table/stage.ts). The times are those that the addon writes into
 * the clock while the worker is in it anyway: at the end of each receive, at both ends of each
 * transmit, after each sleep. A stage lasts from one such time to the next, so that all of them add
 * up to the whole. Allocates nothing.
 */
import { CLOCK_NANOSECONDS, CLOCK_TRANSMIT } from '../port/umem';
import { BURST_FRAMES, RING_LEVELS, RINGS, STAGE, type StageHistograms } from '../table/stage';

const NANOSECONDS = CLOCK_NANOSECONDS;
const TRANSMIT_BEGAN = CLOCK_TRANSMIT;
const { receive: RECEIVE, pipeline: PIPELINE, transmit: TRANSMIT } = STAGE;
const { timers: TIMERS, poll: POLL, sleep: SLEEP } = STAGE;
const FRAMES = BURST_FRAMES;
const LEVELS = RING_LEVELS;

export class Stopwatch {
  private readonly clock: Int32Array;
  private readonly histograms: StageHistograms;
  /** Where the ports write their rings' levels. */
  readonly levels = new Int32Array(RINGS.length);
  /** When the stage that is on began. */
  private since: number;

  constructor(clock: Int32Array, histograms: StageHistograms) {
    this.clock = clock;
    this.histograms = histograms;
    this.since = clock[NANOSECONDS]!;
  }

  /** A port was asked and gave so many frames. */
  received(count: number): void {
    this.end(RECEIVE, this.clock[NANOSECONDS]!);
    this.histograms.add(FRAMES, count);
  }

  /** A port was asked and gave none. */
  polled(): void {
    this.end(POLL, this.clock[NANOSECONDS]!);
  }

  /** The pipeline is through with a burst, and a first port has taken frames of it. */
  processed(): void {
    this.end(PIPELINE, this.clock[TRANSMIT_BEGAN]!);
  }

  /** The same, where there was nothing to transmit and the clock was read instead. */
  consumed(): void {
    this.end(PIPELINE, this.clock[NANOSECONDS]!);
  }

  /** A port has taken frames. */
  transmitted(): void {
    this.end(TRANSMIT, this.clock[NANOSECONDS]!);
  }

  /** The clock was read after work that time brought. */
  timed(): void {
    this.end(TIMERS, this.clock[NANOSECONDS]!);
  }

  slept(): void {
    this.end(SLEEP, this.clock[NANOSECONDS]!);
  }

  /** Files `levels`. */
  sampled(): void {
    for (let ring = 0; ring < this.levels.length; ring++) {
      this.histograms.add(LEVELS + ring, this.levels[ring]!);
    }
  }

  private end(stage: number, at: number): void {
    // The clock's words wrap after 4.3 s; what took longer than half of that was no work of ours.
    const length = (at - this.since) | 0;
    this.histograms.add(stage, Math.max(length, 0));
    this.since = at;
  }
}
