/**
 * Metrics of the AF_XDP sockets, one a worker, interface and queue, and of the interfaces. A
 * socket's own counters begin anew with its worker.
 */
import type { Registry } from 'prom-client';
import type { SocketReport } from '../worker/contract';
import type { MetricsSource } from './metrics';
import { type Labels, register, type Sample } from './metricsRegister';

/** By the addon's name of the counter; the metric's name is made from it. */
const SOCKET_COUNTERS: Readonly<Record<string, string>> = {
  rxFrames: 'Frames received',
  rxBytes: 'Bytes received',
  txFrames: 'Frames queued for transmit',
  txBytes: 'Bytes queued for transmit',
  txWakeups: 'Times the kernel was woken to transmit',
  txWakeupRetries: 'Wake-ups to transmit that the kernel wanted repeated (EAGAIN, EBUSY)',
  txWakeupFailures: 'Wake-ups to transmit that failed',
  txRingFull: 'Frames lost because the transmit ring had no room',
  rxWakeups: 'Times the kernel was woken to receive',
  fillStarved: 'Refills of the fill ring that found no free chunk',
  kernelRxDropped: 'Frames the kernel lost for other reasons than full rings',
  kernelRxInvalid: 'Descriptors of the fill ring that the kernel refused',
  kernelTxInvalid: 'Descriptors of the transmit ring that the kernel refused',
  kernelRxRingFull: 'Frames the kernel lost because the receive ring was full',
  kernelFillRingEmpty: 'Times the kernel found no chunk in the fill ring',
  kernelTxRingEmpty: 'Times the kernel found nothing in the transmit ring',
};
const LEVELS: Readonly<Record<string, string>> = {
  rxRingLevel: 'Frames in the receive ring, two seconds old at most',
  txRingLevel: 'Frames in the transmit ring, two seconds old at most',
  fillRingLevel: 'Chunks in the fill ring, two seconds old at most',
  completionRingLevel: 'Chunks in the completion ring, two seconds old at most',
};
const LABELS = ['worker', 'interface', 'queue'];

function metricName(counter: string): string {
  return `xvs_socket_${counter.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}

export function registerSockets(registry: Registry, source: MetricsSource): void {
  const samples = (value: (socket: SocketReport) => number): Sample[] =>
    source.workers.flatMap(({ ready }, worker) =>
      ready.sockets.map((socket) => [labelsOf(socket, worker), value(socket)] as const),
    );
  source.socketCounters.forEach((counter, at) => {
    const level = LEVELS[counter];
    const name = level === undefined ? `${metricName(counter)}_total` : metricName(counter);
    const help = level ?? SOCKET_COUNTERS[counter] ?? `Counter ${counter} of the addon`;
    register(registry, level === undefined ? 'counter' : 'gauge', name, help, LABELS, () =>
      samples(({ counters }) => new Float64Array(counters)[at]!),
    );
  });
  register(
    registry,
    'gauge',
    'xvs_socket_ring_capacity',
    'Entries that fit each of the four rings',
    LABELS,
    () =>
      source.workers.flatMap(({ ready, data }, worker) =>
        ready.sockets.map((socket): Sample => [labelsOf(socket, worker), data.ringSize]),
      ),
  );
  register(registry, 'gauge', 'xvs_socket_zero_copy', '1: the socket is zero-copy', LABELS, () =>
    samples(({ zeroCopy }) => (zeroCopy ? 1 : 0)),
  );
}

function labelsOf({ interface: name, queue }: SocketReport, worker: number): Labels {
  return { worker: String(worker), interface: name, queue: String(queue) };
}

export function registerInterfaces(registry: Registry, source: MetricsSource): void {
  const { links } = source.director.tables.nextHops;
  const samples = (value: (slot: number) => number): Sample[] =>
    source.interfaces.map((name, slot) => [{ interface: name }, value(slot)] as const);
  register(registry, 'gauge', 'xvs_link_up', '1: the interface is up', ['interface'], () =>
    samples((slot) => links.up(slot)),
  );
  register(
    registry,
    'gauge',
    'xvs_interface_info',
    'How the XDP program is attached: native or generic',
    ['interface', 'xdp_mode'],
    () =>
      source.interfaces.map(
        (name): Sample => [{ interface: name, xdp_mode: source.xdpModes.get(name) ?? 'none' }, 1],
      ),
  );
  register(registry, 'gauge', 'xvs_link_mtu_bytes', 'MTU of the interface', ['interface'], () =>
    samples((slot) => links.mtu(slot)),
  );
}
