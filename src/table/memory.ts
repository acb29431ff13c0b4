/**
 * All shared memory of a director: made by the main thread, handed to every worker as one plain
 * object of SharedArrayBuffers, attached there with `attachTables`.
 */
import { type ConnectionBuffers, ConnectionTable } from './connection';
import type { LineOffset } from './connectionBuffers';
import { counterBuffer } from './counter';
import { EndpointTable } from './endpoint';
import { FragmentTable } from './fragment';
import { type LocalAddressBuffers, LocalAddressTable } from './localAddress';
import { LocalityTable } from './locality';
import { type LocalPortBuffers, LocalPortTable } from './localPort';
import { WORKERS_MAX } from './lock';
import { MarkTable } from './mark';
import { type NextHopBuffers, type NextHopCapacity, NextHopTable } from './nextHop';
import { RealServerTable } from './realServer';
import { SchedulerTable } from './schedulerTable';
import { ServiceTable } from './service';
import { Settings } from './setting';
import { StageHistograms } from './stage';
import { DEFAULT_TIMEOUTS } from './state';
import { TimerWheel } from './timer';
import { TraceTable } from './trace';

const LOCAL_PORT_MAPS_MIN = 64;
const LOCAL_PORT_MAPS_MAX = 1 << 15;

export interface DirectorMemory {
  readonly settings: SharedArrayBuffer;
  readonly services: SharedArrayBuffer;
  readonly realServers: SharedArrayBuffer;
  readonly schedulerTable: SharedArrayBuffer;
  readonly localities: SharedArrayBuffer;
  readonly localAddresses: LocalAddressBuffers;
  readonly localPorts: LocalPortBuffers;
  readonly connections: ConnectionBuffers;
  readonly endpoints: SharedArrayBuffer;
  readonly fragments: SharedArrayBuffer;
  readonly marks: SharedArrayBuffer;
  readonly nextHops: NextHopBuffers;
  readonly trace: SharedArrayBuffer;
  /** One of each per worker. */
  readonly wheels: readonly SharedArrayBuffer[];
  readonly counters: readonly SharedArrayBuffer[];
  readonly stages: readonly SharedArrayBuffer[];
}

export interface Tables {
  readonly settings: Settings;
  readonly services: ServiceTable;
  readonly realServers: RealServerTable;
  readonly schedulerTable: SchedulerTable;
  readonly localities: LocalityTable;
  readonly localAddresses: LocalAddressTable;
  readonly localPorts: LocalPortTable;
  readonly connections: ConnectionTable;
  readonly endpoints: EndpointTable;
  readonly fragments: FragmentTable;
  readonly marks: MarkTable;
  readonly nextHops: NextHopTable;
  readonly trace: TraceTable;
  readonly wheels: readonly TimerWheel[];
  readonly counters: readonly Float64Array[];
  readonly stages: readonly StageHistograms[];
}

export interface MemoryOptions {
  readonly workers: number;
  readonly connectionCapacity: number;
  /** Random, so that clients cannot choose their buckets. */
  readonly hashSeed: number;
  /** Default: what a host with few routes needs. */
  readonly nextHops?: NextHopCapacity;
  /** Default: what is right for large tables. */
  readonly lineOffset?: LineOffset;
}

/** Throws a RangeError for what cannot be. */
export function createMemory(options: MemoryOptions): DirectorMemory {
  if (options.workers > WORKERS_MAX) {
    throw new RangeError(`${options.workers} workers: at most ${WORKERS_MAX} are allowed`);
  }
  return {
    settings: Settings.buffer(options.hashSeed, DEFAULT_TIMEOUTS),
    services: ServiceTable.buffer(),
    realServers: RealServerTable.buffer(),
    schedulerTable: SchedulerTable.buffer(),
    localities: LocalityTable.buffer(),
    localAddresses: LocalAddressTable.buffers(),
    localPorts: LocalPortTable.buffers(localPortMaps(options.connectionCapacity)),
    connections: ConnectionTable.buffers(options.connectionCapacity, options.lineOffset),
    endpoints: EndpointTable.buffer(),
    fragments: FragmentTable.buffer(),
    marks: MarkTable.buffer(),
    nextHops: NextHopTable.buffers(options.nextHops),
    trace: TraceTable.buffer(options.workers),
    wheels: Array.from({ length: options.workers }, () => TimerWheel.buffer()),
    counters: Array.from({ length: options.workers }, () => counterBuffer()),
    stages: Array.from({ length: options.workers }, () => StageHistograms.buffer()),
  };
}

/** Pairs of local address and real server with connections at a time; memory when it is used. */
function localPortMaps(connectionCapacity: number): number {
  return Math.max(LOCAL_PORT_MAPS_MIN, Math.min(LOCAL_PORT_MAPS_MAX, connectionCapacity >>> 5));
}

/** Tables that packets look into at random, all over: huge pages save walks of page tables. */
export function scatteredTables({ connections }: DirectorMemory): SharedArrayBuffer[] {
  const { entries, index, extension, born } = connections;
  return [entries, index, extension, born];
}

/** `ring`: wakes the control plane after a request was noted in shared memory. */
export function attachTables(memory: DirectorMemory, ring: () => void): Tables {
  const settings = new Settings(memory.settings);
  const connections = new ConnectionTable(memory.connections, settings.hashSeed);
  const services = new ServiceTable(memory.services);
  const realServers = new RealServerTable(memory.realServers);
  return {
    settings,
    services,
    realServers,
    schedulerTable: new SchedulerTable(memory.schedulerTable, services),
    localities: new LocalityTable(memory.localities, services, realServers),
    localAddresses: new LocalAddressTable(memory.localAddresses),
    localPorts: new LocalPortTable(memory.localPorts, settings.hashSeed),
    connections,
    endpoints: new EndpointTable(memory.endpoints),
    fragments: new FragmentTable(memory.fragments, settings.hashSeed),
    marks: new MarkTable(memory.marks),
    nextHops: new NextHopTable(memory.nextHops, ring),
    trace: new TraceTable(memory.trace),
    wheels: memory.wheels.map((buffer) => new TimerWheel(buffer, connections)),
    counters: memory.counters.map((buffer) => new Float64Array(buffer)),
    stages: memory.stages.map((buffer) => new StageHistograms(buffer)),
  };
}
