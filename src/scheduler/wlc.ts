/**
 * Weighted least connections (IPVS "wlc"): the lowest load per weight; of equals the first in the
 * list. Compared by products, which stay below 2^53: loads below 2^33, weights below 2^16.
 */
import type { RealServerTable } from '../table/realServer';
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleWeightedLeastConnections(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  return leastLoaded(tables.realServers, tables.services.firstServer(service));
}

/** The least loaded of the list that begins with `first`, 0 when none is eligible. */
export function leastLoaded(realServers: RealServerTable, first: number): number {
  let least = 0;
  let leastLoad = 0;
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (!realServers.isEligible(server)) continue;
    const load = realServers.load(server);
    if (least !== 0 && leastLoad * realServers.weight(server) <= load * realServers.weight(least)) {
      continue;
    }
    least = server;
    leastLoad = load;
  }
  return least;
}
