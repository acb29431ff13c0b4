/**
 * Lookup tables of the hashing schedulers (sh, dh, mh): for each service slot two halves of server
 * slots, 0 = none. The control plane writes the half that is not in use and then
 * turns the service to it, under the service's lock, under which workers read it. The
 * buffer is 2 GiB of addresses; memory is only taken where a service uses such a scheduler: a page
 * or two for sh and dh, 32 kB for mh.
 */
import { SCHEDULER_STATE, SERVICES_MAX, type ServiceTable } from './service';

/** Slots of a half: mh's 4093 fit. */
export const LOOKUP_SLOTS = 4096;
const { half: HALF } = SCHEDULER_STATE;

export class SchedulerTable {
  readonly slots: Int32Array;
  private readonly services: ServiceTable;

  constructor(buffer: SharedArrayBuffer, services: ServiceTable) {
    this.slots = new Int32Array(buffer);
    this.services = services;
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(SERVICES_MAX * 2 * LOOKUP_SLOTS * 4);
  }

  /** First slot of the half in use. */
  active(service: number): number {
    return (service * 2 + this.services.schedulerState(service, HALF)) * LOOKUP_SLOTS;
  }

  /**
   * Writes the idle half. To be followed by `turn`, under the service's lock.
   * @param places places in `servers`, from 1; 0 where there is none
   */
  write(service: number, places: Uint16Array, servers: readonly number[]): void {
    const idle = 1 - this.services.schedulerState(service, HALF);
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
    const idle = 1 - this.services.schedulerState(service, HALF);
    this.services.setSchedulerState(service, HALF, idle);
  }
}
