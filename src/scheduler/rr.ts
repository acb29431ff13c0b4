/**
 * Round robin (IPVS "rr"): the next eligible server after the last chosen one, in list order
 * (newest first); weights count only as zero or not. `position` 0 stands before the list's head.
 */
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleRoundRobin(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  const last = services.position(service);
  const first = services.firstServer(service);
  let server = last === 0 ? first : realServers.next(last);
  if (server === 0) server = first;
  const start = server;
  while (server !== 0) {
    if (realServers.isEligible(server)) {
      services.setPosition(service, server);
      return server;
    }
    const next = realServers.next(server);
    server = next === 0 ? first : next;
    if (server === start) break;
  }
  return 0;
}
