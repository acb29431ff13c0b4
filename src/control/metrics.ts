/**
 * The exporter: Prometheus metrics read from the shared counters at each scrape, by the main
 * thread; workers do nothing for it. metricsServer.ts serves them.
 */
import { Registry } from 'prom-client';
import type { XdpProgram } from '../port/addon';
import type { WorkerData, WorkerReady } from '../worker/contract';
import { registerStates } from './connectionMetrics';
import type { Director } from './director';
import type { LogCounts } from './log/logger';
import { registerLog } from './log/metrics';
import {
  describeRegistry,
  type MetricDescription,
  type MetricsFormat,
  pageEnd,
  registryText,
} from './metricsFormat';
import { registerProcess } from './processMetrics';
import { SERVICE_METRICS, serviceMetrics } from './serviceMetrics';
import { registerInterfaces, registerSockets } from './socketMetrics';
import { registerStages } from './stageMetrics';
import { registerTables } from './tableMetrics';
import { registerReasons, registerWorkers } from './workerMetrics';

/** What the exporter knows of a worker. */
export interface WorkerState {
  readonly control: Int32Array;
  readonly ready: WorkerReady;
  readonly alive: boolean;
  /** How often it died and was replaced. */
  readonly restarts: number;
  readonly data: Pick<WorkerData, 'cpu' | 'mode' | 'ringSize'>;
}

/** What the exporter reads. */
export interface MetricsSource {
  readonly director: Director;
  readonly program: Pick<XdpProgram, 'verdicts'>;
  readonly verdictNames: readonly string[];
  readonly socketCounters: readonly string[];
  /** Interface name by link slot. */
  readonly interfaces: readonly string[];
  /** "native" or "generic" by interface. */
  readonly xdpModes: ReadonlyMap<string, string>;
  readonly workers: readonly WorkerState[];
  readonly log: LogCounts;
  /** Ticks of 100 ms, as workers count them. */
  readonly nowTick: () => number;
}

/** All metrics: those the library keeps, and those of services, which are made as they are sent. */
export class Exporter {
  readonly #registry: Registry;
  readonly #director: Director;

  constructor(registry: Registry, director: Director) {
    this.#registry = registry;
    this.#director = director;
  }

  async describe(): Promise<MetricDescription[]> {
    return [...(await describeRegistry(this.#registry)), ...SERVICE_METRICS];
  }

  /** The page, in pieces: of many services it is long. */
  async *page(format: MetricsFormat = 'text'): AsyncGenerator<string> {
    yield await registryText(this.#registry, format);
    yield* serviceMetrics(this.#director, format);
    const end = pageEnd(format);
    if (end !== '') yield end;
  }
}

export function createExporter(source: MetricsSource): Exporter {
  const registry = new Registry();
  registerWorkers(registry, source);
  registerStages(registry, source);
  registerReasons(registry, source);
  registerSockets(registry, source);
  registerInterfaces(registry, source);
  registerTables(registry, source);
  registerStates(registry, source);
  registerProcess(registry);
  registerLog(registry, source.log);
  return new Exporter(registry, source.director);
}
