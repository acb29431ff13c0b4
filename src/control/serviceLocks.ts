/**
 * The control plane's way to the locks of services: held for a change of one service, tried for a
 * change of many that must be whole. A worker holds such a lock for a few hundred nanoseconds; one
 * that stays locked belongs to a worker that has died, until the main thread hears of it and breaks
 * it.
 */
import { CONTROL_OWNER } from '../table/lock';
import type { ServiceTable } from '../table/service';
import { DirectorError } from './error';
import { serviceId, type VirtualService } from './model';

const TRIES = 5;
const PAUSE_MS = 1;
/** A word that nobody changes. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

export class ServiceLocks {
  readonly #services: ServiceTable;
  readonly #held = new Set<number>();

  constructor(services: ServiceTable) {
    this.#services = services;
  }

  /** Does `change` under the service's lock, which may be held already. Throws ERR_BUSY. */
  run(service: VirtualService, change: () => void): void {
    if (this.#held.has(service.slot)) {
      change();
      return;
    }
    this.#acquire(service);
    try {
      change();
    } finally {
      this.#release(service);
    }
  }

  /** Throws ERR_BUSY when one of them cannot be locked; holds none afterwards. */
  require(services: Iterable<VirtualService>): void {
    for (const service of services) {
      this.#acquire(service);
      this.#release(service);
    }
  }

  #acquire(service: VirtualService): void {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      if (this.#services.lock(service.slot, CONTROL_OWNER)) {
        this.#held.add(service.slot);
        return;
      }
      // Its owner has lost its CPU, maybe to this thread.
      Atomics.wait(NEVER, 0, 0, PAUSE_MS);
    }
    throw new DirectorError('ERR_BUSY', `service ${serviceId(service.key)} is locked by a worker`);
  }

  #release({ slot }: VirtualService): void {
    this.#held.delete(slot);
    this.#services.unlock(slot, CONTROL_OWNER);
  }
}
