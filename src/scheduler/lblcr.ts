/**
 * Locality-based least connections with replication (IPVS "lblcr"): as lblc, but an address has a
 * set of servers, of which the least loaded is chosen. When that one is busy or there is none, the
 * least loaded of all joins the set; when a set has not changed for lblcr_expiration (a day) it
 * loses its most loaded member.
 */
import type { LocalityTable } from '../table/locality';
import type { RealServerTable } from '../table/realServer';
import { createLocality, findLocality, isBusy } from './lblc';
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';
import { leastLoaded } from './wlc';

export function scheduleReplicatedLocality(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  const { localities, realServers, services } = tables;
  const { owner, tick } = request;
  const first = services.firstServer(service);
  const entry = findLocality(localities, service, request);
  if (entry === 0) {
    const server = leastLoaded(realServers, first);
    if (server !== 0) createLocality(localities, service, server, request);
    return server;
  }
  localities.setLastUse(entry, tick);
  const member = leastMember(localities, realServers, entry);
  if (
    localities.memberCount(entry) > 1 &&
    ((tick - localities.lastChange(entry)) | 0) > tables.settings.lblcrExpiration
  ) {
    const most = mostMember(localities, realServers, entry);
    if (most !== 0) localities.leave(entry, most, tick, owner);
  }
  if (member !== 0 && !isBusy(realServers, member, first)) return member;
  const server = leastLoaded(realServers, first);
  if (server !== 0) localities.join(entry, server, tick, owner);
  return server;
}

/** The set's least loaded server, as wlc compares; 0 when none may be chosen. */
function leastMember(
  localities: LocalityTable,
  realServers: RealServerTable,
  entry: number,
): number {
  let least = 0;
  let leastLoad = 0;
  let member = localities.firstMember(entry);
  for (; member !== 0; member = localities.nextMember(member)) {
    const server = localities.server(member);
    if (!realServers.isChoosable(server)) continue;
    const load = realServers.load(server);
    if (least !== 0 && leastLoad * realServers.weight(server) <= load * realServers.weight(least)) {
      continue;
    }
    least = server;
    leastLoad = load;
  }
  return least;
}

/** The set's most loaded server of those with a weight; 0 when there is none. */
function mostMember(
  localities: LocalityTable,
  realServers: RealServerTable,
  entry: number,
): number {
  let most = 0;
  let mostLoad = 0;
  let member = localities.firstMember(entry);
  for (; member !== 0; member = localities.nextMember(member)) {
    const server = localities.server(member);
    if (realServers.weight(server) <= 0) continue;
    const load = realServers.load(server);
    if (most !== 0 && mostLoad * realServers.weight(server) >= load * realServers.weight(most)) {
      continue;
    }
    most = server;
    mostLoad = load;
  }
  return most;
}
