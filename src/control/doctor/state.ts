/**
 * What a running daemon tells `xvs doctor` of itself that nobody else can see: GET /v1/doctor of
 * the admin socket. Read from shared counters; workers do nothing for it.
 */
import { DROP, DROP_REASONS, PASS, PASS_REASONS } from '../../table/counter';
import { CONTROL_CHUNKS, CONTROL_FREE_CHUNKS, type WorkerReady } from '../../worker/contract';
import type { Config, InterfaceConfig } from '../config';
import type { Director } from '../director';
import { serverId } from '../model';

export interface SocketState {
  readonly interface: string;
  readonly queue: number;
  readonly zeroCopy: boolean;
  readonly busyPoll: boolean;
  /** SOCKET_COUNTERS by name. */
  readonly counters: Readonly<Record<string, number>>;
}

export interface WorkerState {
  /** -1: not pinned. */
  readonly cpu: number;
  /** Why it could not be pinned, '' when it is. */
  readonly pinning: string;
  readonly restarts: number;
  readonly chunks: number;
  readonly freeChunks: number;
  readonly sockets: readonly SocketState[];
}

export interface DaemonState {
  readonly pid: number;
  readonly interfaces: readonly InterfaceConfig[];
  readonly workersWanted: Config['workers'];
  /** "native" or "generic" by interface. */
  readonly xdpModes: Readonly<Record<string, string>>;
  readonly workers: readonly WorkerState[];
  /** The device by which frames go back to the host. */
  readonly tap: string;
  readonly connections: { readonly capacity: number; readonly entries: number };
  /** Since the start, by reason, over all workers. */
  readonly drops: Readonly<Record<string, number>>;
  readonly passes: Readonly<Record<string, number>>;
  /** Bytes that a packet to a tunnelled server may have, as ICMP errors told, by ADDRESS:PORT. */
  readonly pathMtus: Readonly<Record<string, number>>;
}

export interface RunningWorker {
  readonly control: Int32Array;
  readonly ready: WorkerReady;
  readonly restarts: number;
  readonly data: { readonly cpu: number };
}

export interface StateSource {
  readonly config: Config;
  readonly director: Director;
  readonly workers: readonly RunningWorker[];
  readonly socketCounters: readonly string[];
  readonly xdpModes: ReadonlyMap<string, string>;
  readonly tap: string;
  readonly nowTick: number;
}

export function daemonState(source: StateSource): DaemonState {
  const { config, director } = source;
  const { connections } = director.tables;
  return {
    pid: process.pid,
    interfaces: config.interfaces,
    workersWanted: config.workers,
    xdpModes: Object.fromEntries(source.xdpModes),
    workers: source.workers.map((worker) => workerState(worker, source.socketCounters)),
    tap: source.tap,
    connections: {
      capacity: connections.capacity,
      entries: connections.capacity - connections.freeCount,
    },
    drops: summed(director, DROP_REASONS, DROP),
    passes: summed(director, PASS_REASONS, PASS),
    pathMtus: pathMtus(director, source.nowTick),
  };
}

function workerState(
  { control, ready, restarts, data }: RunningWorker,
  names: readonly string[],
): WorkerState {
  return {
    cpu: data.cpu,
    pinning: ready.pinning,
    restarts,
    chunks: control[CONTROL_CHUNKS]!,
    freeChunks: control[CONTROL_FREE_CHUNKS]!,
    sockets: ready.sockets.map((socket) => {
      const counters = new Float64Array(socket.counters);
      return {
        interface: socket.interface,
        queue: socket.queue,
        zeroCopy: socket.zeroCopy,
        busyPoll: socket.busyPoll,
        counters: Object.fromEntries(names.map((name, at) => [name, counters[at]!])),
      };
    }),
  };
}

function summed(
  director: Director,
  reasons: readonly string[],
  index: Readonly<Record<string, number>>,
): Record<string, number> {
  const { counters } = director.tables;
  return Object.fromEntries(
    reasons.map((reason) => [
      reason,
      counters.reduce((sum, block) => sum + block[index[reason]!]!, 0),
    ]),
  );
}

function pathMtus(director: Director, tick: number): Record<string, number> {
  const { realServers } = director.tables;
  const learned: Record<string, number> = {};
  for (const { servers } of director.services) {
    for (const { key, slot, settings } of servers) {
      if (settings.method !== 'tunnel' || !realServers.hasPathMtu(slot)) continue;
      const mtu = realServers.pathMtu(slot, tick);
      if (mtu > 0) learned[serverId(key)] = mtu;
    }
  }
  return learned;
}
