/** What tools are shown: services with their servers and counters, connections. */
import { formatIpv4 } from '../net/address';
import {
  CONNECTION,
  CONNECTION_TEMPLATE,
  type ConnectionTable,
  TEMPLATE_ASSURED,
  TEMPLATE_OF_MARK,
  templateKind,
} from '../table/connection';
import { realServerTraffic, serviceTraffic } from '../table/counter';
import { TICKS_PER_SECOND } from '../table/setting';
import { NONE, STATE_NAMES } from '../table/state';
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
  const { key, settings } = service;
  // Written out: spreading a hundred thousand of them takes the main thread a second.
  return {
    family: key.family,
    protocol: key.protocol,
    address: key.address,
    port: key.port,
    fwmark: key.fwmark,
    scheduler: settings.scheduler,
    persistentTimeout: settings.persistentTimeout,
    netmask: settings.netmask,
    onePacket: settings.onePacket,
    schedulerFlags: settings.schedulerFlags,
    persistenceEngine: settings.persistenceEngine,
    statistics: statistics(director.sum(serviceTraffic(service.slot)), service.zero),
    rates: service.estimator.rates,
    servers: service.servers.map((server) => listServer(director, server)),
  };
}

function listServer(director: Director, server: RealServer): ServerListing {
  const { realServers } = director.tables;
  const { key, settings } = server;
  return {
    family: key.family,
    address: key.address,
    port: key.port,
    method: settings.method,
    weight: settings.weight,
    upperThreshold: settings.upperThreshold,
    lowerThreshold: settings.lowerThreshold,
    tunnel: settings.tunnel,
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
  [templateKind(6)]: 'TCP',
  [templateKind(17)]: 'UDP',
  [templateKind(132)]: 'SCTP',
  [TEMPLATE_OF_MARK]: 'IP',
};

/** States as they are listed: those of connections, then what a template says beside NONE. */
export const LISTED_STATES: readonly string[] = [...STATE_NAMES, 'ASSURED'];
const ASSURED = STATE_NAMES.length;

/** Place in LISTED_STATES by an entry's state word. */
export function listedState(word: number): number {
  if ((word & CONNECTION_TEMPLATE) === 0) return word & 0xff;
  return (word & TEMPLATE_ASSURED) === 0 ? NONE : ASSURED;
}

/**
 * An entry's words as a listing shows them; null: free, or expired at `tick`. Templates are listed
 * too, with the client's port 0; of a service by mark the virtual address is the mark.
 */
export function listConnection(words: Int32Array, tick: number): ConnectionListing | null {
  const protocol = PROTOCOLS[words[AT.identity]! & 0xff];
  const left = (words[AT.expiresAt]! - tick) | 0;
  if (protocol === undefined || left <= 0) return null;
  const ports = words[AT.clientPorts]!;
  return {
    protocol,
    family: 4,
    expiresSeconds: Math.floor(left / TICKS_PER_SECOND),
    state: LISTED_STATES[listedState(words[AT.state]!)] ?? 'ERR!',
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
