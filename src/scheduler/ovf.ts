/**
 * Weighted overflow (IPVS "ovf"): the highest weight among servers with at most as many active
 * connections as their weight, so that each takes its weight plus one before the next comes.
 */
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleOverflow(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  let highest = 0;
  let highestWeight = 0;
  const first = services.firstServer(service);
  for (let server = first; server !== 0; server = realServers.next(server)) {
    const weight = realServers.weight(server);
    if (weight <= highestWeight || realServers.isOverloaded(server)) continue;
    if (realServers.active(server) > weight) continue;
    highest = server;
    highestWeight = weight;
  }
  return highest;
}
