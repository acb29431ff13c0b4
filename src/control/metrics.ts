/**
 * The exporter: Prometheus metrics read from the shared counters at each scrape, by the main
 * thread; workers do nothing for it. Served over HTTP beside /healthz and /readyz.
 */
import { createServer, type Server } from 'node:http';
import { Counter, Gauge, Registry } from 'prom-client';
import type { XdpProgram } from '../port/addon';
import { COUNTER, DROP, DROP_REASONS, PASS, PASS_REASONS } from '../table/counter';
import {
  CONTROL_CHUNKS,
  CONTROL_FREE_CHUNKS,
  CONTROL_WAITING,
  type WorkerReady,
} from '../worker/contract';
import type { Director } from './director';
import { type MetricDescription, SERVICE_METRICS, serviceMetrics } from './serviceMetrics';
import { send } from './slice';

/** What the exporter reads. */
export interface MetricsSource {
  readonly director: Director;
  readonly program: XdpProgram;
  readonly verdictNames: readonly string[];
  readonly socketCounters: readonly string[];
  /** Interface name by link slot. */
  readonly interfaces: readonly string[];
  readonly workers: readonly { readonly control: Int32Array; readonly ready: WorkerReady }[];
}

type Labels = Record<string, string>;
type Sample = readonly [Labels, number];

/** Registers a metric whose samples are made at each scrape. */
function register(
  registry: Registry,
  kind: 'counter' | 'gauge',
  name: string,
  help: string,
  labelNames: readonly string[],
  samples: () => Iterable<Sample>,
): void {
  const options = { name, help, labelNames: [...labelNames], registers: [registry] };
  if (kind === 'counter') {
    new Counter({
      ...options,
      collect() {
        this.reset();
        for (const [labels, value] of samples()) this.inc(labels, value);
      },
    });
    return;
  }
  new Gauge({
    ...options,
    collect() {
      this.reset();
      for (const [labels, value] of samples()) this.set(labels, value);
    },
  });
}

/** All metrics: those the library keeps, and those of services, which are made as they are sent. */
export class Exporter {
  readonly contentType: string;
  readonly #registry: Registry;
  readonly #director: Director;

  constructor(registry: Registry, director: Director) {
    this.contentType = registry.contentType;
    this.#registry = registry;
    this.#director = director;
  }

  async describe(): Promise<MetricDescription[]> {
    const kept = (await this.#registry.getMetricsAsJSON()) as unknown as MetricDescription[];
    return [...kept, ...SERVICE_METRICS];
  }

  /** The page, in pieces: of many services it is long. */
  async *page(): AsyncGenerator<string> {
    yield `${await this.#registry.metrics()}\n`;
    yield* serviceMetrics(this.#director);
  }
}

export function createExporter(source: MetricsSource): Exporter {
  const registry = new Registry();
  registerWorkers(registry, source);
  registerReasons(registry, source);
  registerSockets(registry, source);
  registerTables(registry, source);
  return new Exporter(registry, source.director);
}

const WORKER_METRICS = [
  ['xvs_worker_receive_packets_total', 'Frames received', COUNTER.rx_frames, 1],
  [
    'xvs_worker_receive_bytes_total',
    'Bytes received, Ethernet header included',
    COUNTER.rx_bytes,
    1,
  ],
  ['xvs_worker_transmit_packets_total', 'Frames staged for transmit', COUNTER.tx_frames, 1],
  ['xvs_worker_transmit_bytes_total', 'Bytes staged for transmit', COUNTER.tx_bytes, 1],
  [
    'xvs_worker_foreign_packets_total',
    'Packets of connections another worker made',
    COUNTER.foreign_packets,
    1,
  ],
  ['xvs_worker_connections_created_total', 'Connections made', COUNTER.connections_created, 1],
  ['xvs_worker_connections_expired_total', 'Connections ended', COUNTER.connections_expired, 1],
  ['xvs_worker_icmp_sent_total', 'ICMP errors sent', COUNTER.icmp_sent, 1],
  [
    'xvs_worker_icmp_limited_total',
    'ICMP errors not sent for their rate',
    COUNTER.icmp_rate_limited,
    1,
  ],
  [
    'xvs_worker_checksums_requested_total',
    'Unfinished checksums left to the port',
    COUNTER.checksums_unfinished,
    1,
  ],
  [
    'xvs_worker_neighbour_waits_total',
    'Frames that waited for a neighbour',
    COUNTER.neighbour_waited,
    1,
  ],
  ['xvs_worker_bursts_total', 'Bursts received', COUNTER.bursts, 1],
  ['xvs_worker_empty_polls_total', 'Rounds that received nothing', COUNTER.empty_polls, 1],
  ['xvs_worker_sleeps_total', 'Times the worker slept in poll()', COUNTER.sleeps, 1],
  [
    'xvs_worker_timer_mail_lost_total',
    'Requests to shorten a timer that found no room',
    COUNTER.timer_mail_lost,
    1,
  ],
  [
    'xvs_worker_toa_inserted_total',
    "FULLNAT: packets that told a real server the client's address",
    COUNTER.toa_inserted,
    1,
  ],
  ['xvs_worker_toa_failed_total', 'FULLNAT: packets without room for that', COUNTER.toa_failed, 1],
  [
    'xvs_worker_resets_sent_total',
    'FULLNAT: TCP resets to ends of connections that expired',
    COUNTER.resets_sent,
    1,
  ],
  [
    'xvs_worker_fragments_held_total',
    'Later fragments that came before their first one',
    COUNTER.fragments_held,
    1,
  ],
  [
    'xvs_worker_fragments_rejoined_total',
    'Held fragments whose first one came',
    COUNTER.fragments_rejoined,
    1,
  ],
  [
    'xvs_worker_fragments_timed_out_total',
    'Held fragments whose first one did not come within a second',
    COUNTER.fragments_timed_out,
    1,
  ],
  [
    'xvs_worker_fragments_crowded_out_total',
    'Held fragments that gave way to newer ones',
    COUNTER.fragments_crowded_out,
    1,
  ],
  [
    'xvs_worker_fragments_displaced_total',
    'Fragmented packets that gave way to others in the table of fragments',
    COUNTER.fragments_displaced,
    1,
  ],
  ['xvs_worker_packets_split_total', 'Packets cut to the MTU', COUNTER.packets_split, 1],
  [
    'xvs_worker_busy_seconds_total',
    'Time in rounds that had work',
    COUNTER.busy_microseconds,
    1e-6,
  ],
  [
    'xvs_worker_seconds_total',
    'Time since the worker began; busy over this is its load',
    COUNTER.total_microseconds,
    1e-6,
  ],
] as const;

function registerWorkers(registry: Registry, source: MetricsSource): void {
  const { counters } = source.director.tables;
  for (const [name, help, at, scale] of WORKER_METRICS) {
    register(registry, 'counter', name, help, ['worker'], () =>
      counters.map((block, worker) => [{ worker: String(worker) }, block[at]! * scale] as const),
    );
  }
  const levels = [
    ['xvs_worker_umem_chunks', 'Chunks of the UMEM', CONTROL_CHUNKS],
    [
      'xvs_worker_umem_free_chunks',
      'Chunks on the free stack, two seconds old at most',
      CONTROL_FREE_CHUNKS,
    ],
    ['xvs_worker_waiting_frames', 'Frames waiting for a neighbour', CONTROL_WAITING],
  ] as const;
  for (const [name, help, at] of levels) {
    register(registry, 'gauge', name, help, ['worker'], () =>
      source.workers.map(
        ({ control }, worker) => [{ worker: String(worker) }, control[at]!] as const,
      ),
    );
  }
}

function registerReasons(registry: Registry, source: MetricsSource): void {
  const { counters } = source.director.tables;
  const samples = (reasons: readonly string[], index: Readonly<Record<string, number>>): Sample[] =>
    counters.flatMap((block, worker) =>
      reasons.map(
        (reason) => [{ worker: String(worker), reason }, block[index[reason]!]!] as const,
      ),
    );
  register(
    registry,
    'counter',
    'xvs_drops_total',
    'Frames dropped, by reason',
    ['worker', 'reason'],
    () => samples(DROP_REASONS, DROP),
  );
  register(
    registry,
    'counter',
    'xvs_host_passes_total',
    "Frames given back to the host's stack, by reason",
    ['worker', 'reason'],
    () => samples(PASS_REASONS, PASS),
  );
  register(
    registry,
    'counter',
    'xvs_xdp_verdicts_total',
    'Frames the XDP program decided on',
    ['verdict'],
    () =>
      source.program
        .verdicts()
        .map((count, at) => [{ verdict: source.verdictNames[at]! }, count] as const),
  );
}

function registerSockets(registry: Registry, source: MetricsSource): void {
  const sockets = (): { labels: Labels; counters: Float64Array }[] =>
    source.workers.flatMap(({ ready }, worker) =>
      ready.sockets.map((socket) => ({
        labels: {
          worker: String(worker),
          interface: socket.interface,
          queue: String(socket.queue),
        },
        counters: new Float64Array(socket.counters),
      })),
    );
  const labels = ['worker', 'interface', 'queue'];
  source.socketCounters.forEach((counter, at) => {
    const level = counter.endsWith('Level');
    const name = `xvs_socket_${counter.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
    register(
      registry,
      level ? 'gauge' : 'counter',
      level ? name : `${name}_total`,
      level ? 'Entries in the ring, two seconds old at most' : `AF_XDP socket counter ${counter}`,
      labels,
      () => sockets().map(({ labels, counters }) => [labels, counters[at]!] as const),
    );
  });
  register(registry, 'gauge', 'xvs_socket_zero_copy', '1: the socket is zero-copy', labels, () =>
    source.workers.flatMap(({ ready }, worker) =>
      ready.sockets.map(
        (socket) =>
          [
            { worker: String(worker), interface: socket.interface, queue: String(socket.queue) },
            socket.zeroCopy ? 1 : 0,
          ] as const,
      ),
    ),
  );
}

function registerTables(registry: Registry, source: MetricsSource): void {
  const { connections } = source.director.tables;
  register(registry, 'gauge', 'xvs_connection_table_capacity', 'Connections that fit', [], () => [
    [{}, connections.capacity],
  ]);
  register(
    registry,
    'gauge',
    'xvs_connection_table_entries',
    'Connections and persistence templates in the table',
    [],
    () => [[{}, connections.capacity - connections.freeCount]],
  );
  register(registry, 'gauge', 'xvs_link_up', '1: the interface is up', ['interface'], () =>
    source.interfaces.map(
      (name, slot) =>
        [{ interface: name }, source.director.tables.nextHops.links.up(slot)] as const,
    ),
  );
}

/** /metrics, /healthz, /readyz. */
export function createMetricsServer(exporter: Exporter, isReady: () => boolean): Server {
  return createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0];
    if (path === '/metrics') {
      response.writeHead(200, { 'content-type': exporter.contentType });
      // Its head is out: only the connection's end can say that the rest does not come.
      send(response, exporter.page()).catch(() => response.destroy());
    } else if (path === '/healthz') response.writeHead(200).end('ok\n');
    else if (path === '/readyz') {
      const ready = isReady();
      response.writeHead(ready ? 200 : 503).end(ready ? 'ready\n' : 'not ready\n');
    } else response.writeHead(404).end('/metrics, /healthz and /readyz are served here\n');
  });
}
