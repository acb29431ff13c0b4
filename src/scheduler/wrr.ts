/**
 * Weighted round robin (IPVS "wrr"): rounds over the list in which a server takes part while its
 * weight is at least the current one; each round lowers that by the weights' common divisor, from
 * the largest weight to the lowest level and up again. Any change of servers starts a round anew,
 * at the current weight: servers added one by one to a fresh service begin with a plain round.
 */
import type { RealServerTable } from '../table/realServer';
import { SCHEDULER_STATE, type ServiceTable } from '../table/service';
import type { ScheduleRequest } from './request';
import type { SchedulerTables } from './tables';

const { currentWeight: CURRENT, topWeight: TOP, step: STEP } = SCHEDULER_STATE;

export function scheduleWeightedRoundRobin(
  tables: SchedulerTables,
  service: number,
  _request: ScheduleRequest,
): number {
  const { services, realServers } = tables;
  const top = services.schedulerState(service, TOP);
  if (top === 0) return 0;
  const step = services.schedulerState(service, STEP);
  const current = services.schedulerState(service, CURRENT);
  const last = services.position(service);
  const first = services.firstServer(service);

  // The rest of the round that is under way.
  const server = nextOfWeight(realServers, last === 0 ? first : realServers.next(last), current);
  if (server !== 0) return choose(services, service, server, current);

  const most = highestEligible(realServers, first);
  if (most === 0) return giveUp(services, service, last, current, step, top);
  // Rounds that nobody takes part in are left out.
  let level = current - step;
  if (level <= 0) level = top;
  if (level > most) level -= Math.ceil((level - most) / step) * step;
  return choose(services, service, nextOfWeight(realServers, first, level), level);
}

function choose(services: ServiceTable, service: number, server: number, level: number): number {
  services.setSchedulerState(service, CURRENT, level);
  services.setPosition(service, server);
  return server;
}

/**
 * All servers are overloaded. Where the search for one has come to an end decides who is first
 * once they are not.
 */
function giveUp(
  services: ServiceTable,
  service: number,
  last: number,
  current: number,
  step: number,
  top: number,
): number {
  // A search that began on the lowest level goes round once more, up to where it began.
  const roundAgain = last !== 0 && current <= step;
  const lowest = ((top - 1) % step) + 1;
  services.setSchedulerState(service, CURRENT, roundAgain ? lowest : top);
  services.setPosition(service, roundAgain ? last : 0);
  return 0;
}

function nextOfWeight(realServers: RealServerTable, from: number, weight: number): number {
  let server = from;
  while (server !== 0) {
    if (realServers.weight(server) >= weight && !realServers.isOverloaded(server)) return server;
    server = realServers.next(server);
  }
  return 0;
}

function highestEligible(realServers: RealServerTable, first: number): number {
  let most = 0;
  for (let server = first; server !== 0; server = realServers.next(server)) {
    if (realServers.weight(server) > most && !realServers.isOverloaded(server)) {
      most = realServers.weight(server);
    }
  }
  return most;
}

/** The scheduler begins (`fresh`), or the service's servers have changed. Under its lock. */
export function restartWeightedRoundRobin(
  tables: SchedulerTables,
  service: number,
  fresh: boolean,
): void {
  const { services, realServers } = tables;
  let divisor = 0;
  let most = 0;
  const first = services.firstServer(service);
  for (let server = first; server !== 0; server = realServers.next(server)) {
    const weight = realServers.weight(server);
    if (weight > 0) divisor = greatestCommonDivisor(divisor, weight);
    if (weight > most) most = weight;
  }
  const step = divisor === 0 ? 1 : divisor;
  const top = most - (step - 1);
  const before = services.schedulerState(service, CURRENT);
  let current = before;
  if (fresh || before > top || before === 0) current = top;
  else if (step > 1) current = Math.floor(before / step) * step + 1;
  services.setPosition(service, 0);
  services.setSchedulerState(service, STEP, step);
  services.setSchedulerState(service, TOP, top);
  services.setSchedulerState(service, CURRENT, current);
}

export function greatestCommonDivisor(a: number, b: number): number {
  let larger = a;
  let smaller = b;
  while (smaller !== 0) {
    const rest = larger % smaller;
    larger = smaller;
    smaller = rest;
  }
  return larger;
}
