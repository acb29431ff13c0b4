/** What tools are shown: services with their servers and counters, connections. */
import { formatIpv4 } from '../net/address';
import { CONNECTION, type ConnectionTable } from '../table/connection';
import { realServerTraffic, serviceTraffic } from '../table/counter';
import { TICKS_PER_SECOND } from '../table/setting';
import { STATE_NAMES } from '../table/state';
import type { Director } from './director';
import type { RealServer, VirtualService } from './model';
import type {
  ConnectionListing,
  ServerListing,
  ServiceList,
  ServiceListing,
  Statistics,
} from './protocol';

export function listServices(director: Director): ServiceList {
  return {
    connectionTableSize: director.tables.connections.buckets,
    services: director.services.map((service) => listService(director, service)),
  };
}

function listService(director: Director, service: VirtualService): ServiceListing {
  return {
    ...service.key,
    ...service.settings,
    statistics: statistics(director.sum(serviceTraffic(service.slot)), service.zero),
    rates: service.estimator.rates,
    servers: service.servers.map((server) => listServer(director, server)),
  };
}

function listServer(director: Director, server: RealServer): ServerListing {
  const { realServers } = director.tables;
  return {
    ...server.key,
    ...server.settings,
    active: realServers.active(server.slot),
    inactive: Math.max(0, realServers.inactive(server.slot)),
    persistent: realServers.persistent(server.slot),
    overloaded: realServers.isOverloaded(server.slot),
    statistics: statistics(director.sum(realServerTraffic(server.slot)), server.zero),
    rates: server.estimator.rates,
  };
}

function statistics(total: Float64Array, zero: Float64Array): Statistics {
  const value = (at: number): number => total[at]! - zero[at]!;
  return {
    connections: value(0),
    inPackets: value(1),
    outPackets: value(2),
    inBytes: value(3),
    outBytes: value(4),
  };
}

const AT = CONNECTION.at;
const PROTOCOLS: Readonly<Record<number, ConnectionListing['protocol']>> = {
  6: 'TCP',
  17: 'UDP',
  132: 'SCTP',
};

/** An entry's words as a listing shows them; null: free, or expired at `tick`. */
export function listConnection(words: Int32Array, tick: number): ConnectionListing | null {
  const protocol = PROTOCOLS[words[AT.identity]! & 0xff];
  const left = (words[AT.expiresAt]! - tick) | 0;
  if (protocol === undefined || left <= 0) return null;
  const ports = words[AT.clientPorts]!;
  return {
    protocol,
    family: 4,
    expiresSeconds: Math.floor(left / TICKS_PER_SECOND),
    state: STATE_NAMES[words[AT.state]! & 0xff] ?? 'ERR!',
    client: formatIpv4(words[AT.client]!),
    clientPort: ports >>> 16,
    virtual: formatIpv4(words[AT.virtual]!),
    virtualPort: ports & 0xffff,
    real: formatIpv4(words[AT.real]!),
    realPort: words[AT.replyPorts]! >>> 16,
  };
}

/** Connections that have not expired at `tick`, in the table's order. */
export function listConnections(table: ConnectionTable, tick: number): ConnectionListing[] {
  const list: ConnectionListing[] = [];
  for (let entry = 1; entry < table.usedEnd; entry++) {
    const words = table.entries.slice(entry << 4, (entry + 1) << 4);
    const connection = listConnection(words, tick);
    if (connection !== null) list.push(connection);
  }
  return list;
}
