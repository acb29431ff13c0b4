/**
 * All shared memory of a director: made by the main thread, handed to every worker as one plain
 * object of SharedArrayBuffers, attached there with `attachTables`.
 */
import { type ConnectionBuffers, ConnectionTable } from './connection';
import { counterBuffer } from './counter';
import { EndpointTable } from './endpoint';
import { FragmentTable } from './fragment';
import { type LocalAddressBuffers, LocalAddressTable } from './localAddress';
import { LocalityTable } from './locality';
import { type LocalPortBuffers, LocalPortTable } from './localPort';
import { MarkTable } from './mark';
import { type NextHopBuffers, type NextHopCapacity, NextHopTable } from './nextHop';
import { RealServerTable } from './realServer';
import { SchedulerTable } from './schedulerTable';
import { ServiceTable } from './service';
import { Settings } from './setting';
import { DEFAULT_TIMEOUTS } from './state';
import { TimerWheel } from './timer';

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
  /** One of each per worker. */
  readonly wheels: readonly SharedArrayBuffer[];
  readonly counters: readonly SharedArrayBuffer[];
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
  readonly wheels: readonly TimerWheel[];
  readonly counters: readonly Float64Array[];
}

export interface MemoryOptions {
  readonly workers: number;
  readonly connectionCapacity: number;
  /** Random, so that clients cannot choose their buckets. */
  readonly hashSeed: number;
  /** Default: what a host with few routes needs. */
  readonly nextHops?: NextHopCapacity;
}

export function createMemory(options: MemoryOptions): DirectorMemory {
  return {
    settings: Settings.buffer(options.hashSeed, DEFAULT_TIMEOUTS),
    services: ServiceTable.buffer(),
    realServers: RealServerTable.buffer(),
    schedulerTable: SchedulerTable.buffer(),
    localities: LocalityTable.buffer(),
    localAddresses: LocalAddressTable.buffers(),
    localPorts: LocalPortTable.buffers(localPortMaps(options.connectionCapacity)),
    connections: ConnectionTable.buffers(options.connectionCapacity),
    endpoints: EndpointTable.buffer(),
    fragments: FragmentTable.buffer(),
    marks: MarkTable.buffer(),
    nextHops: NextHopTable.buffers(options.nextHops),
    wheels: Array.from({ length: options.workers }, () => TimerWheel.buffer()),
    counters: Array.from({ length: options.workers }, () => counterBuffer()),
  };
}

/** Pairs of local address and real server with connections at a time; memory when it is used. */
function localPortMaps(connectionCapacity: number): number {
  return Math.max(LOCAL_PORT_MAPS_MIN, Math.min(LOCAL_PORT_MAPS_MAX, connectionCapacity >>> 5));
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
    wheels: memory.wheels.map((buffer) => new TimerWheel(buffer, connections)),
    counters: memory.counters.map((buffer) => new Float64Array(buffer)),
  };
}
