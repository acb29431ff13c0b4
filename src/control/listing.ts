/**
 * What tools are shown of services, with their servers and counters: as objects, or as the same in
 * JSON, made row by row for a table that would hold the main thread up.
 */
import { realServerTraffic, serviceTraffic } from '../table/counter';
import type { Director } from './director';
import { listLocalAddresses } from './localAddress';
import type { RealServer, VirtualService } from './model';
import type { ServerListing, ServiceList, ServiceListing, Statistics } from './protocol';
import { inSlices } from './slice';

export { listConnections } from './connectionListing';

export function listServices(director: Director): ServiceList {
  return {
    connectionTableSize: director.tables.connections.buckets,
    services: director.services.map((service) =>
      listService(
        director,
        service,
        service.servers.map((server) => listServer(director, server)),
      ),
    ),
  };
}

function listService(
  director: Director,
  service: VirtualService,
  servers: readonly ServerListing[],
): ServiceListing {
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
    statistics: statistics(director, serviceTraffic(service.slot), service.zero),
    rates: service.estimator.rates,
    ...(service.localAddresses.length > 0 && {
      localAddresses: listLocalAddresses(director.tables, service),
    }),
    servers,
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
    statistics: statistics(director, realServerTraffic(server.slot), server.zero),
    rates: server.estimator.rates,
  };
}

/** One of the counters at `at`, over all workers, since it was zeroed. See TRAFFIC_*. */
export function counted(director: Director, at: number, zero: Float64Array, which: number): number {
  const { counters } = director.tables;
  let total = -zero[which]!;
  for (let worker = 0; worker < counters.length; worker++) total += counters[worker]![at + which]!;
  return total;
}

function statistics(director: Director, at: number, zero: Float64Array): Statistics {
  return {
    connections: counted(director, at, zero, 0),
    inPackets: counted(director, at, zero, 1),
    outPackets: counted(director, at, zero, 2),
    inBytes: counted(director, at, zero, 3),
    outBytes: counted(director, at, zero, 4),
  };
}

/** JSON of a ServiceList. `brief`: without statistics and rates. */
export function streamServices(director: Director, brief: boolean): AsyncGenerator<string> {
  return inSlices(listRows(director, brief));
}

/** What is there when it begins is listed as it is when its row is made. */
function* listRows(director: Director, brief: boolean): Generator<string> {
  yield `{"connectionTableSize":${director.tables.connections.buckets},"services":[`;
  let comma = '';
  for (const service of director.services) {
    yield `${comma}${serviceText(director, service, brief)},"servers":[`;
    comma = ',';
    let between = '';
    for (const server of service.servers) {
      yield between + serverText(director, server, brief);
      between = ',';
    }
    yield ']}';
  }
  yield ']}';
}

/** Without its end, where the servers stand. */
function serviceText(director: Director, service: VirtualService, brief: boolean): string {
  const { servers, statistics, rates, ...plain } = listService(director, service, []);
  const text = JSON.stringify(brief ? plain : { ...plain, statistics, rates });
  return text.slice(0, -1);
}

/** Written out, since there are many of them; none of their texts holds what JSON escapes. */
function serverText(director: Director, server: RealServer, brief: boolean): string {
  const { realServers } = director.tables;
  const { slot, key, settings } = server;
  const { type, port, checksum } = settings.tunnel;
  const text =
    `{"family":${key.family},"address":"${key.address}","port":${key.port},` +
    `"method":"${settings.method}","weight":${settings.weight},` +
    `"upperThreshold":${settings.upperThreshold},"lowerThreshold":${settings.lowerThreshold},` +
    `"tunnel":{"type":"${type}","port":${port},"checksum":"${checksum}"},` +
    `"active":${realServers.active(slot)},` +
    `"inactive":${Math.max(0, realServers.inactive(slot))},` +
    `"persistent":${realServers.persistent(slot)},"overloaded":${realServers.isOverloaded(slot)}`;
  if (brief) return `${text}}`;
  const counts = statisticsText(statistics(director, realServerTraffic(slot), server.zero));
  return `${text},"statistics":${counts},"rates":${statisticsText(server.estimator.rates)}}`;
}

function statisticsText(statistics: Statistics): string {
  const { connections, inPackets, outPackets, inBytes, outBytes } = statistics;
  return (
    `{"connections":${connections},"inPackets":${inPackets},"outPackets":${outPackets},` +
    `"inBytes":${inBytes},"outBytes":${outBytes}}`
  );
}
