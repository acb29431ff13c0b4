/**
 * Carries a plan out, whole or not at all. The locks it will need are tried before anything is
 * changed. Services that stay are changed first, each under one hold of its lock; should one not be
 * had any more, what was done is undone, the scheduler's place in the list included. Then services
 * are removed, all or none; what is added after that can take any free slot, so that no lock that a
 * worker holds is in its way.
 */

import type { Tables } from '../table/memory';
import { SCHEDULER_STATE } from '../table/service';
import { DirectorError } from './error';
import { type ServiceSpec, serviceId, type VirtualService } from './model';
import { planDifference, planGroups, specOf } from './plan';
import type { Command, ServiceKey, ServiceSettings } from './protocol';
import type { SchedulerKeeper } from './schedulerKeeper';
import type { ServerKeeper } from './serverKeeper';
import type { ServiceLocks } from './serviceLocks';

/** What wrr remembers; the other schedulers remember no more than a place. */
const WRR_STATE = [
  SCHEDULER_STATE.currentWeight,
  SCHEDULER_STATE.topWeight,
  SCHEDULER_STATE.step,
] as const;

/** What a plan is carried out on. */
export interface Changeable {
  find(key: ServiceKey): VirtualService | undefined;
  /** A command that was planned. */
  dispatch(command: Command): void;
  /** Adds a service and does `rest` while it is locked, whole or not at all. */
  addService(key: ServiceKey, settings: ServiceSettings, rest: () => void): void;
  /** All or none. */
  removeServices(services: readonly VirtualService[]): void;
  readonly servers: ServerKeeper;
}

/** Where a service's scheduler was, before its servers changed. */
interface Place {
  readonly position: number;
  readonly state: readonly number[];
}

export class WholeChange {
  readonly #target: Changeable;
  readonly #tables: Tables;
  readonly #locks: ServiceLocks;
  readonly #schedulers: SchedulerKeeper;
  /** Of services that stay and were changed. */
  readonly #places = new Map<string, Place>();
  /** Services there were that the plan changes or removes. */
  readonly #before: readonly ServiceSpec[];
  readonly #plan: readonly Command[];

  constructor(
    target: Changeable,
    tables: Tables,
    locks: ServiceLocks,
    schedulers: SchedulerKeeper,
    plan: readonly Command[],
  ) {
    this.#target = target;
    this.#tables = tables;
    this.#locks = locks;
    this.#schedulers = schedulers;
    this.#plan = plan;
    const touched = this.#touched();
    this.#locks.require(touched);
    this.#before = touched.map(specOf);
  }

  /** Services there are that the plan speaks of. */
  #touched(): VirtualService[] {
    const touched = new Set<VirtualService>();
    let last: ServiceKey | null = null;
    for (const command of this.#plan) {
      const key = 'service' in command ? command.service : null;
      if (key === null || key === last) continue;
      last = key;
      const service = this.#target.find(key);
      if (service !== undefined) touched.add(service);
    }
    return [...touched];
  }

  run(): void {
    this.#schedulers.postpone();
    try {
      for (const group of planGroups(this.#plan)) this.#dispatchGroup(group);
    } catch (error) {
      this.#undo();
      throw error;
    } finally {
      this.#schedulers.resume();
    }
  }

  /**
   * Removals all together; or the changes of one service, all under one hold of its lock, with its
   * lookup table built after the last one. So a lock that cannot be had stops nothing half way.
   */
  #dispatchGroup(group: readonly Command[]): void {
    const [first] = group;
    if (first === undefined || !('service' in first) || first.service === null) return;
    if (first.command === 'delete-service') {
      const removals = group as readonly (typeof first)[];
      this.#target.removeServices(removals.map(({ service }) => this.#require(service)));
    } else if (first.command === 'add-service') {
      const rest = group.slice(1);
      this.#target.addService(first.service, first.settings, () => this.#dispatchAll(rest));
    } else {
      const service = this.#require(first.service);
      this.#locks.run(service, () => {
        this.#notePlace(service);
        this.#dispatchAll(group);
      });
    }
  }

  #dispatchAll(commands: readonly Command[]): void {
    try {
      for (const command of commands) this.#target.dispatch(command);
    } finally {
      this.#schedulers.settle();
    }
  }

  #require(key: ServiceKey): VirtualService {
    const service = this.#target.find(key);
    if (service !== undefined) return service;
    throw new DirectorError('ERR_SERVICE_UNKNOWN', `service ${serviceId(key)} does not exist`);
  }

  #notePlace({ key, slot }: VirtualService): void {
    const { services } = this.#tables;
    const id = serviceId(key);
    if (this.#places.has(id)) return;
    const state = WRR_STATE.map((word) => services.schedulerState(slot, word));
    this.#places.set(id, { position: services.position(slot), state });
  }

  /** A service that cannot be locked was not changed, and keeps nothing up. */
  #undo(): void {
    const attempt = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        if (!(error instanceof DirectorError)) throw error;
      }
    };
    for (const group of planGroups(planDifference(this.#touched(), this.#before))) {
      attempt(() => this.#dispatchGroup(group));
    }
    for (const { service: key, servers } of this.#before) {
      attempt(() => {
        const service = this.#require(key);
        const keys = servers.map(({ server }) => server);
        this.#locks.run(service, () => {
          this.#target.servers.reorder(service, keys);
          this.#schedulers.settle();
          this.#restorePlace(service);
        });
      });
    }
  }

  #restorePlace({ key, slot, servers }: VirtualService): void {
    const { services } = this.#tables;
    const place = this.#places.get(serviceId(key));
    if (place === undefined) return;
    const { position, state } = place;
    if (position !== 0 && !servers.some((server) => server.slot === position)) return;
    services.setPosition(slot, position);
    for (const [at, word] of WRR_STATE.entries())
      services.setSchedulerState(slot, word, state[at]!);
  }
}
