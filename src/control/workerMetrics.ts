/**
 * Metrics of the workers: what each of them counted, what it is and how it is doing, and why frames
 * were dropped or given to the host. Read from shared memory; workers do nothing for it.
 */
import type { Registry } from 'prom-client';
import { COUNTER, DROP, DROP_REASONS, PASS, PASS_REASONS } from '../table/counter';
import { CONTROL_CHUNKS, CONTROL_FREE_CHUNKS, CONTROL_WAITING } from '../worker/contract';
import type { MetricsSource, WorkerState } from './metrics';
import { register, type Sample } from './metricsRegister';

/** Name, what it is, its place in a worker's counters, factor to base units. */
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

/** Levels that a worker writes about once a second. */
const WORKER_LEVELS = [
  ['xvs_worker_umem_chunks', 'Chunks of the UMEM', CONTROL_CHUNKS],
  [
    'xvs_worker_umem_free_chunks',
    'Chunks on the free stack, two seconds old at most',
    CONTROL_FREE_CHUNKS,
  ],
  ['xvs_worker_waiting_frames', 'Frames waiting for a neighbour', CONTROL_WAITING],
] as const;

export function registerWorkers(registry: Registry, source: MetricsSource): void {
  const { counters } = source.director.tables;
  for (const [name, help, at, scale] of WORKER_METRICS) {
    register(registry, 'counter', name, help, ['worker'], () =>
      counters.map((block, worker) => [{ worker: String(worker) }, block[at]! * scale] as const),
    );
  }
  const levels = (value: (worker: WorkerState) => number): Sample[] =>
    source.workers.map((state, worker) => [{ worker: String(worker) }, value(state)] as const);
  for (const [name, help, at] of WORKER_LEVELS) {
    register(registry, 'gauge', name, help, ['worker'], () =>
      levels(({ control }) => control[at]!),
    );
  }
  register(
    registry,
    'gauge',
    'xvs_worker_up',
    '1: the worker runs; 0: it has died and its successor does not run yet',
    ['worker'],
    () => levels(({ alive }) => (alive ? 1 : 0)),
  );
  register(
    registry,
    'counter',
    'xvs_worker_restarts_total',
    'Times the worker died and another one took its place',
    ['worker'],
    () => levels(({ restarts }) => restarts),
  );
  register(
    registry,
    'gauge',
    'xvs_worker_info',
    'CPU that the worker is pinned to (none: -1, or it could not be pinned), and its mode',
    ['worker', 'cpu', 'mode', 'tx_metadata'],
    () =>
      source.workers.map(({ data, ready }, worker) => [
        {
          worker: String(worker),
          cpu: ready.pinning === '' ? String(data.cpu) : '-1',
          mode: data.mode,
          tx_metadata: String(ready.txMetadata),
        },
        1,
      ]),
  );
}

export function registerReasons(registry: Registry, source: MetricsSource): void {
  const { counters } = source.director.tables;
  const samples = (reasons: readonly string[], index: Readonly<Record<string, number>>): Sample[] =>
    counters.flatMap((block, worker) =>
      reasons.map(
        (reason) => [{ worker: String(worker), reason }, block[index[reason]!]!] as const,
      ),
    );
  const labels = ['worker', 'reason'];
  register(registry, 'counter', 'xvs_drops_total', 'Frames dropped, by reason', labels, () =>
    samples(DROP_REASONS, DROP),
  );
  register(
    registry,
    'counter',
    'xvs_host_passes_total',
    "Frames given back to the host's stack, by reason",
    labels,
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
