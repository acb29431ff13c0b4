/** Least connections (IPVS "lc"): the lowest load; of equals the first in the list. */
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleLeastConnections(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  let least = 0;
  let leastLoad = 0;
  const first = services.firstServer(service);
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (!realServers.isEligible(server)) continue;
    const load = realServers.load(server);
    if (least !== 0 && load >= leastLoad) continue;
    least = server;
    leastLoad = load;
  }
  return least;
}
