/**
 * The schedulers by name and number. One algorithm a file, one signature: chooses a server slot
 * for a new connection to a service whose lock the caller holds; 0 = none is to be had. Each
 * follows IPVS's scheduler of the same name (kernel 6.12), sequence for sequence.
 */
import { scheduleDestinationHash } from './dh';
import { scheduleFailover } from './fo';
import { scheduleLocality } from './lblc';
import { scheduleReplicatedLocality } from './lblcr';
import { scheduleLeastConnections } from './lc';
import { scheduleMaglev } from './mh';
import { scheduleNeverQueue } from './nq';
import { scheduleOverflow } from './ovf';
import type { ScheduleRequest } from './request';
import { scheduleRoundRobin } from './rr';
import { scheduleShortestExpectedDelay } from './sed';
import { scheduleSourceHash } from './sh';
import type { SchedulerTables } from './tables';
import { scheduleTwoChoices } from './twos';
import { scheduleWeightedLeastConnections } from './wlc';
import { scheduleWeightedRoundRobin } from './wrr';

/** Numbers, as services hold them. */
export const SCHEDULER = {
  rr: 0,
  wrr: 1,
  lc: 2,
  wlc: 3,
  sed: 4,
  nq: 5,
  dh: 6,
  sh: 7,
  mh: 8,
  fo: 9,
  ovf: 10,
  twos: 11,
  lblc: 12,
  lblcr: 13,
} as const;
const { rr: RR, wrr: WRR, lc: LC, wlc: WLC, sed: SED, nq: NQ, dh: DH } = SCHEDULER;
const { sh: SH, mh: MH, fo: FO, ovf: OVF, twos: TWOS, lblc: LBLC, lblcr: LBLCR } = SCHEDULER;

/** A scheduler's number is its place here. */
export const SCHEDULER_NAMES: readonly string[] = Object.keys(SCHEDULER);

/** Chooses nobody: to switch a service off without forgetting it. */
export const NO_SCHEDULER = 'none';
const NO_SCHEDULER_NUMBER = SCHEDULER_NAMES.length;

/** Number of a scheduler, -1 when there is not one of that name. */
export function schedulerNumber(name: string): number {
  return name === NO_SCHEDULER ? NO_SCHEDULER_NUMBER : SCHEDULER_NAMES.indexOf(name);
}

export function schedule(
  tables: SchedulerTables,
  service: number,
  request: ScheduleRequest,
): number {
  switch (tables.services.scheduler(service)) {
    case RR:
      return scheduleRoundRobin(tables, service, request);
    case WRR:
      return scheduleWeightedRoundRobin(tables, service, request);
    case LC:
      return scheduleLeastConnections(tables, service, request);
    case WLC:
      return scheduleWeightedLeastConnections(tables, service, request);
    case SED:
      return scheduleShortestExpectedDelay(tables, service, request);
    case NQ:
      return scheduleNeverQueue(tables, service, request);
    case DH:
      return scheduleDestinationHash(tables, service, request);
    case SH:
      return scheduleSourceHash(tables, service, request);
    case MH:
      return scheduleMaglev(tables, service, request);
    case FO:
      return scheduleFailover(tables, service, request);
    case OVF:
      return scheduleOverflow(tables, service, request);
    case TWOS:
      return scheduleTwoChoices(tables, service, request);
    case LBLC:
      return scheduleLocality(tables, service, request);
    case LBLCR:
      return scheduleReplicatedLocality(tables, service, request);
    default:
      return 0;
  }
}
