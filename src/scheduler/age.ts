/**
 * Forgetting what lblc and lblcr remember, once a minute, by the control plane: every half hour
 * what was not used for lblc_expiration or lblcr_expiration (a day), in between what was not used
 * for six minutes as far as there is too much of it (those minutes do not count towards the half
 * hour, as in IPVS).
 */
import { CHAINS } from '../table/locality';
import { SCHEDULER_STATE } from '../table/service';
import { TICKS_PER_SECOND } from '../table/setting';
import { SCHEDULER } from './index';
import { LOCALITIES_WANTED } from './lblc';
import type { SchedulerTables } from './tables';

const { minutes: MINUTES, rover: ROVER } = SCHEDULER_STATE;
const FULL_SWEEP_MINUTES = 30;
const SURPLUS_TICKS = 360 * TICKS_PER_SECOND;
/** Chains that are swept in one go: workers wait for the service's lock meanwhile. */
const GO_CHAINS = 32;

/**
 * One minute has passed.
 * @param locked calls what it is given while it holds the service's lock as `owner`
 * @returns how many entries were forgotten
 */
export function ageLocalities(
  tables: SchedulerTables,
  service: number,
  tick: number,
  owner: number,
  locked: (change: () => void) => void,
): number {
  const { localities, services } = tables;
  const minutes = services.schedulerState(service, MINUTES) + 1;
  const isFull = minutes >= FULL_SWEEP_MINUTES;
  const surplus = localities.count(service) - LOCALITIES_WANTED;
  if (!isFull && surplus <= 0) {
    services.setSchedulerState(service, MINUTES, minutes);
    return 0;
  }
  const idleTicks = isFull ? expirationTicks(tables, service) : SURPLUS_TICKS;
  const most = Math.min(Math.floor((surplus * 4) / 3), LOCALITIES_WANTED / 2);
  const goal = isFull ? Number.POSITIVE_INFINITY : most;
  let chain = services.schedulerState(service, ROVER);
  let removed = 0;
  const sweep = (): void => {
    for (let i = 0; i < GO_CHAINS && removed < goal; i++) {
      chain = (chain + 1) % CHAINS;
      removed += localities.sweep(service, chain, idleTicks, tick, owner);
    }
  };
  for (let i = 0; i < CHAINS && removed < goal; i += GO_CHAINS) locked(sweep);
  services.setSchedulerState(service, ROVER, chain);
  if (isFull) services.setSchedulerState(service, MINUTES, 0);
  return removed;
}

function expirationTicks({ services, settings }: SchedulerTables, service: number): number {
  return services.scheduler(service) === SCHEDULER.lblcr
    ? settings.lblcrExpiration
    : settings.lblcExpiration;
}
