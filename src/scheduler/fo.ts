/** Weighted failover (IPVS "fo"): the highest weight; of equals the first in the list. */
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleFailover(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  let highest = 0;
  let weight = 0;
  const first = services.firstServer(service);
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (realServers.isOverloaded(server) || realServers.weight(server) <= weight) continue;
    highest = server;
    weight = realServers.weight(server);
  }
  return highest;
}
