/**
 * Lookup tables of the hashing schedulers (sh, dh, mh): for each service slot two halves of server
 * slots, 16 bits each, 0 = none. The control plane writes the half that is not in use and then
 * turns the service to it, under the service's lock, under which workers read it. Memory is only
 * touched where a service uses such a scheduler: 1 kB for sh and dh, 16 kB for mh.
 */
import { REAL_SERVERS_MAX } from './realServer';
import { SCHEDULER_STATE, SERVICES_MAX, type ServiceTable } from './service';

/** Slots of a half: mh's 4093 fit. */
export const LOOKUP_SLOTS = 4096;
const { half: HALF } = SCHEDULER_STATE;

if (REAL_SERVERS_MAX > 0x10000) throw new RangeError('real-server slots do not fit 16 bits');

export class SchedulerTable {
  readonly slots: Uint16Array;
  readonly #services: ServiceTable;

  constructor(buffer: SharedArrayBuffer, services: ServiceTable) {
    this.slots = new Uint16Array(buffer);
    this.#services = services;
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(SERVICES_MAX * 2 * LOOKUP_SLOTS * 2);
  }

  /** First slot of the half in use. */
  active(service: number): number {
    return (service * 2 + this.#services.schedulerState(service, HALF)) * LOOKUP_SLOTS;
  }

  /**
   * Writes the idle half. To be followed by `turn`, under the service's lock.
   * @param places places in `servers`, from 1; 0 where there is none
   */
  write(service: number, places: Uint16Array, servers: readonly number[]): void {
    const idle = 1 - this.#services.schedulerState(service, HALF);
    const first = (service * 2 + idle) * LOOKUP_SLOTS;
    const { slots } = this;
    for (let at = 0; at < places.length; at++) {
      const place = places[at]!;
      slots[first + at] = place === 0 ? 0 : servers[place - 1]!;
    }
  }

  /** Empties both halves. */
  clear(service: number): void {
    const first = service * 2 * LOOKUP_SLOTS;
    this.slots.fill(0, first, first + 2 * LOOKUP_SLOTS);
  }

  turn(service: number): void {
    const idle = 1 - this.#services.schedulerState(service, HALF);
    this.#services.setSchedulerState(service, HALF, idle);
  }
}
