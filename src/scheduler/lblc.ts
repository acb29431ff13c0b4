/**
 * Locality-based least connections (IPVS "lblc"): an address that clients connect to keeps its
 * server; a new one, or one whose server is gone, quiesced or busier than its weight while another
 * is half idle, gets the least loaded as wlc finds it. For farms of caches, with marks.
 */
import type { LocalityTable } from '../table/locality';
import type { RealServerTable } from '../table/realServer';
import { hash32 } from './hash';
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';
import { leastLoaded } from './wlc';

const CHAIN_BITS = 10;
/** Entries of a service from which the control plane evicts, and at which none is added. */
export const LOCALITIES_WANTED = 16384;
const LOCALITIES_MAX = 24576;

export function scheduleLocality(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  const { localities, realServers, services } = tables;
  const entry = findLocality(localities, service, request);
  const first = services.firstServer(service);
  if (entry !== 0) {
    localities.setLastUse(entry, request.tick);
    const server = localities.server(localities.firstMember(entry));
    const chosen = server !== 0 && realServers.isAvailable(server);
    if (chosen && realServers.weight(server) > 0 && !isBusy(realServers, server, first)) {
      return server;
    }
  }
  const server = leastLoaded(realServers, first);
  if (server === 0) return 0;
  if (entry !== 0) localities.replace(localities.firstMember(entry), server);
  else createLocality(localities, service, server, request);
  return server;
}

export function findLocality(
  localities: LocalityTable,
  service: number,
  request: ScheduleRequest,
): number {
  return localities.find(
    service,
    hash32(request.destinationFold, CHAIN_BITS),
    request.destination0,
    request.destination1,
    request.destination2,
    request.destination3,
  );
}

/** Remembers a server for the request's address; when there is no room, it is not remembered. */
export function createLocality(
  localities: LocalityTable,
  service: number,
  server: number,
  request: ScheduleRequest,
): void {
  if (localities.count(service) >= LOCALITIES_MAX) return;
  localities.create(
    service,
    hash32(request.destinationFold, CHAIN_BITS),
    request.destination0,
    request.destination1,
    request.destination2,
    request.destination3,
    server,
    request.tick,
    request.owner,
  );
}

/** More active connections than its weight, while another server of the list is half idle. */
export function isBusy(realServers: RealServerTable, server: number, first: number): boolean {
  if (realServers.active(server) <= realServers.weight(server)) return false;
  for (let other = first; other !== 0; other = realServers.next(other)) {
    if (realServers.active(other) * 2 < realServers.weight(other)) return true;
  }
  return false;
}
