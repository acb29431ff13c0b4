/**
 * Never queue (IPVS "nq"): the first server in the list without an active connection; when there
 * is none, as sed.
 */
import type { ScheduleRequest } from './request';
import { shortestDelay } from './sed';
import type { SchedulerTables } from './tables';

export function scheduleNeverQueue(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  const first = services.firstServer(service);
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (realServers.isEligible(server) && realServers.active(server) === 0) return server;
  }
  return shortestDelay(realServers, first);
}
