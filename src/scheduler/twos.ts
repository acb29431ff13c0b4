/**
 * Power of two choices (IPVS "twos"): two servers drawn at random by weight, the less loaded per
 * weight of them; of equals the first drawn. A draw is one of 0 to the sum of weights, as IPVS
 * draws: the head of the list has a chance of one more than its weight.
 */
import type { RealServerTable } from '../table/realServer';
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

export function scheduleTwoChoices(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  const first = services.firstServer(service);
  let sum = 0;
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (realServers.isEligible(server)) sum += realServers.weight(server);
  }
  if (sum === 0) return 0;
  const one = atDraw(realServers, first, request.draw(sum + 1));
  const other = atDraw(realServers, first, request.draw(sum + 1));
  const oneLoad = realServers.weight(other) * realServers.load(one);
  const otherLoad = realServers.weight(one) * realServers.load(other);
  return oneLoad > otherLoad ? other : one;
}

/** The eligible server at which `draw`, lowered by weight after weight, is no longer above 0. */
function atDraw(realServers: RealServerTable, first: number, draw: number): number {
  let left = draw;
  let last = 0;
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (!realServers.isEligible(server)) continue;
    last = server;
    left -= realServers.weight(server);
    if (left <= 0) break;
  }
  // Overload flags change without the lock: the sum may have been of more servers.
  return last;
}
