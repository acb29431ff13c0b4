/**
 * The schedulers by name and number. One algorithm a file, one signature: chooses a server slot
 * for a new connection to a service whose lock the caller holds; 0 = none is eligible.
 */
import type { RealServerTable } from '../table/realServer';
import type { ServiceTable } from '../table/service';
import { scheduleRoundRobin } from './rr';

/** A scheduler's number is its place here. */
export const SCHEDULER_NAMES: readonly string[] = ['rr'];
const ROUND_ROBIN = 0;

/** Number of a scheduler, -1 when there is none of that name. */
export function schedulerNumber(name: string): number {
  return SCHEDULER_NAMES.indexOf(name);
}

export function schedule(
  services: ServiceTable,
  realServers: RealServerTable,
  service: number,
): number {
  switch (services.scheduler(service)) {
    case ROUND_ROBIN:
      return scheduleRoundRobin(services, realServers, service);
    default:
      return 0;
  }
}
