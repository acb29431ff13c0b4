/**
 * Shortest expected delay (IPVS "sed"): the lowest (active connections + 1) per weight; of equals
 * the first in the list.
 */
import type { RealServerTable } from '../table/realServer';
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleShortestExpectedDelay(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  return shortestDelay(tables.realServers, tables.services.firstServer(service));
}

/** The server of the list that begins with `first` whose delay is shortest, 0: none eligible. */
export function shortestDelay(realServers: RealServerTable, first: number): number {
  let best = 0;
  let bestDelay = 0;
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (!realServers.isEligible(server)) continue;
    const delay = realServers.active(server) + 1;
    if (best !== 0 && bestDelay * realServers.weight(server) <= delay * realServers.weight(best)) {
      continue;
    }
    best = server;
    bestDelay = delay;
  }
  return best;
}
