/**
 * The exporter's view of the workers' stages (table/stage.ts): histograms of time, of bursts and of
 * rings, and the time without work. Buckets are counted by the workers; here they are summed up as
 * Prometheus wants them, at each scrape.
 */
import type { Histogram, Registry } from 'prom-client';
import { BURST_MAX } from '../port/port';
import {
  BUCKETS,
  BURST_FRAMES,
  bucketBound,
  bucketOf,
  IDLE_STAGES,
  RING_LEVELS,
  RINGS,
  STAGE,
  STAGES,
  type StageHistograms,
} from '../table/stage';
import type { MetricsSource } from './metrics';
import { register } from './metricsRegister';

type StageSource = Pick<MetricsSource, 'director'>;
type Labels = Readonly<Record<string, string>>;

/** One histogram of one worker, and what it is of. */
interface Series {
  readonly labels: Labels;
  readonly histograms: StageHistograms;
  readonly number: number;
}

export interface HistogramValue {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName: string;
}

const NANOSECOND = 1e-9;
/** 128 ns to 134 ms: what is shorter is in the first bucket, what is longer only in the last. */
const TIME_BOUNDS = boundsBetween(2 ** 7, 2 ** 27);
const BURST_BOUNDS = boundsBetween(1, BURST_MAX);
/** A ring has 65,536 entries at most. */
const RING_BOUNDS = [0, ...boundsBetween(1, 65_536)];

function boundsBetween(least: number, most: number): number[] {
  const bounds: number[] = [];
  for (let bucket = bucketOf(least); bucket <= bucketOf(most); bucket++) {
    bounds.push(bucketBound(bucket));
  }
  return bounds;
}

/** A histogram that somebody else has counted: as much of the library's own as a registry asks. */
export class SharedHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly #bounds: readonly number[];
  readonly #factor: number;
  readonly #series: () => readonly Series[];

  /** `factor`: from the values that were counted to the metric's unit. */
  constructor(
    name: string,
    help: string,
    bounds: readonly number[],
    factor: number,
    series: () => readonly Series[],
  ) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    this.#factor = factor;
    this.#series = series;
  }

  async get() {
    const values = this.#series().flatMap((series) => this.#values(series));
    return { name: this.name, help: this.help, type: this.type, values, aggregator: 'sum' };
  }

  #values({ labels, histograms, number }: Series): HistogramValue[] {
    // Read once, lowest first: a worker that counts meanwhile cannot make them shrink.
    const upTo: number[] = [];
    let count = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      count += histograms.count(number, bucket);
      upTo.push(count);
    }
    const value = (suffix: string, amount: number, more: Record<string, string | number> = {}) => ({
      value: amount,
      labels: { ...labels, ...more },
      metricName: `${this.name}_${suffix}`,
    });
    const buckets = this.#bounds.map((bound) =>
      value('bucket', upTo[bucketOf(bound)]!, {
        le: Number((bound * this.#factor).toPrecision(12)),
      }),
    );
    return [
      ...buckets,
      value('bucket', count, { le: '+Inf' }),
      value('sum', histograms.sum(number) * this.#factor),
      value('count', count),
    ];
  }
}

/** All workers' histograms from number `first` on, one for each of `names`. */
function seriesOf(
  { director }: StageSource,
  first: number,
  label: string,
  names: readonly string[],
): Series[] {
  return director.tables.stages.flatMap((histograms, worker) =>
    names.map((name, place) => ({
      labels: { worker: String(worker), [label]: name },
      histograms,
      number: first + place,
    })),
  );
}

function registerHistogram(registry: Registry, histogram: SharedHistogram): void {
  registry.registerMetric(histogram as unknown as Histogram);
}

export function registerStages(registry: Registry, source: StageSource): void {
  registerHistogram(
    registry,
    new SharedHistogram(
      'xvs_worker_stage_seconds',
      'Time of each piece of work; a worker is in one stage at any moment, all of it is counted',
      TIME_BOUNDS,
      NANOSECOND,
      () => seriesOf(source, STAGE[STAGES[0]], 'stage', STAGES),
    ),
  );
  registerHistogram(
    registry,
    new SharedHistogram(
      'xvs_worker_burst_frames',
      'Frames of a burst received; all bursts are counted',
      BURST_BOUNDS,
      1,
      () =>
        source.director.tables.stages.map((histograms, worker) => ({
          labels: { worker: String(worker) },
          histograms,
          number: BURST_FRAMES,
        })),
    ),
  );
  registerHistogram(
    registry,
    new SharedHistogram(
      'xvs_worker_ring_entries',
      "Entries in each of the worker's rings, looked at in every 32nd round before receiving",
      RING_BOUNDS,
      1,
      () => seriesOf(source, RING_LEVELS, 'ring', RINGS),
    ),
  );
  register(
    registry,
    'counter',
    'xvs_worker_idle_seconds_total',
    'Time asleep or asking for bursts that did not come; over xvs_worker_seconds_total: idle ratio',
    ['worker'],
    () =>
      source.director.tables.stages.map((histograms, worker) => [
        { worker: String(worker) },
        IDLE_STAGES.reduce((sum, stage) => sum + histograms.sum(STAGE[stage]), 0) * NANOSECOND,
      ]),
  );
}
