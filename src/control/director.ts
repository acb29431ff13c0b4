/**
 * The director: what services and real servers there are, and the shared tables that say so to
 * the workers. Every change is checked first, then applied whole. Real servers are kept by
 * serverKeeper.ts, many changes at once are carried out by wholeChange.ts.
 */
import { addressWords, parseIpv4 } from '../net/address';
import { schedulerNumber } from '../scheduler/index';
import { realServerTraffic, serviceTraffic } from '../table/counter';
import type { Tables } from '../table/memory';
import { TICKS_PER_SECOND } from '../table/setting';
import { ESTABLISHED, FIN_WAIT, UDP_NORMAL } from '../table/state';
import { checkServerCount, checkService } from './check';
import { DirectorError } from './error';
import { Estimator } from './estimator';
import { LocalAddressKeeper } from './localAddress';
import { checkLocalServers } from './localServer';
import { buildMaglevTables, POOLED_TABLES_MIN, sharesAfter } from './maglevPool';
import { type ServiceSpec, serviceId, type TrashedServer, type VirtualService } from './model';
import { checkSpecs, planDifference, requireRoom } from './plan';
import type { Pool } from './pool';
import type { Command, ServiceKey, ServiceSettings, Timeouts } from './protocol';
import { SchedulerKeeper } from './schedulerKeeper';
import { ServerKeeper } from './serverKeeper';
import { ServiceLocks } from './serviceLocks';
import { Sysctls } from './sysctl';
import { PROTOCOL_NUMBERS, schedulerFlags } from './tableValues';
import { sumTraffic } from './traffic';
import { WholeChange } from './wholeChange';

const FTP_PORT = 21;
const NOTHING = (): void => {};

/** `command`: what was done; null: more than one, or none that anybody gave. */
type Changed = (command: Command | null) => void;

export class Director {
  readonly tables: Tables;
  readonly sysctls: Sysctls;
  /** How many changes there were of services and servers. */
  changes = 0;
  readonly #services = new Map<string, VirtualService>();
  readonly #changed: Changed;
  readonly #schedulers: SchedulerKeeper;
  readonly #servers: ServerKeeper;
  readonly #localAddresses: LocalAddressKeeper;
  readonly #locks: ServiceLocks;
  #lastKey: ServiceKey | undefined;
  #lastId = '';

  /** `changed` is called after each change of services, servers or the trash. */
  constructor(tables: Tables, changed: Changed = () => {}, now: () => number = Date.now) {
    this.tables = tables;
    this.sysctls = new Sysctls(tables.settings);
    this.#schedulers = new SchedulerKeeper(tables);
    this.#localAddresses = new LocalAddressKeeper(tables);
    this.#locks = new ServiceLocks(tables.services);
    this.#servers = new ServerKeeper(tables, this.#schedulers, this.#locks, now);
    this.#changed = changed;
  }

  /** Newest first, as IPVS's hash buckets hold them. */
  get services(): readonly VirtualService[] {
    return [...this.#services.values()].reverse();
  }
  get trash(): readonly TrashedServer[] {
    return this.#servers.trash.list();
  }
  /** How many servers were removed. */
  get removals(): number {
    return this.#servers.removals;
  }
  get serviceCount(): number {
    return this.#services.size;
  }
  find(key: ServiceKey): VirtualService | undefined {
    // A plan's commands of one service carry one key.
    if (key !== this.#lastKey) {
      this.#lastKey = key;
      this.#lastId = serviceId(key);
    }
    return this.#services.get(this.#lastId);
  }

  /** Does one command, or throws a DirectorError and changes nothing. */
  execute(command: Command): void {
    this.#dispatch(command, false);
    this.tables.settings.serviceCount = this.#services.size;
    this.#changed(command);
  }

  /**
   * What would make the services what `specs` say, by difference. Throws a DirectorError when any
   * of it could not be done.
   */
  plan(specs: readonly ServiceSpec[]): readonly Command[] {
    checkSpecs(specs);
    const plan = planDifference(this.services, specs);
    checkLocalServers(this, plan);
    requireRoom(plan, this.tables, (service, server) => this.#servers.isKept(service, server));
    return plan;
  }

  /**
   * Makes the services what `specs` say, whole or not at all; what stays is not touched. The locks
   * it will need are tried before anything is changed; should one not be had later nonetheless,
   * what was done is undone.
   */
  apply(specs: readonly ServiceSpec[]): readonly Command[] {
    const plan = this.plan(specs);
    this.applyPlan(plan);
    return plan;
  }

  /** As `apply`, of what `plan` gave; nothing may have changed since. */
  applyPlan(plan: readonly Command[]): void {
    const change = this.#wholeChange(plan);
    try {
      change.run();
    } finally {
      this.tables.settings.serviceCount = this.#services.size;
      if (plan.length > 0) this.#changed(null);
    }
  }

  #wholeChange(plan: readonly Command[]): WholeChange {
    const target = {
      find: (key: ServiceKey) => this.find(key),
      dispatch: (command: Command) => this.#dispatch(command, true),
      addService: (key: ServiceKey, settings: ServiceSettings, rest: () => void) => {
        this.changes++;
        this.#addService(key, settings, rest);
      },
      removeServices: (services: readonly VirtualService[]) => this.#removeServices(services),
      servers: this.#servers,
    };
    return new WholeChange(target, this.tables, this.#locks, this.#schedulers, plan);
  }

  /**
   * Builds beforehand, in the pool's thread, the Maglev tables that `apply` of the same specs will
   * need, if they are many. To be awaited before `apply`; without it they are built there.
   */
  async prepare(specs: readonly ServiceSpec[], pool: Pool): Promise<void> {
    const wanted = specs
      .filter(({ settings }) => settings.scheduler === 'mh')
      .map((spec) => sharesAfter(this.find(spec.service), spec, this.tables.realServers));
    if (wanted.length < POOLED_TABLES_MIN) return;
    const tables = await buildMaglevTables(pool, wanted);
    tables.forEach((places, at) => {
      this.#schedulers.remember(wanted[at]!, places);
    });
  }

  /** What lblc and lblcr have not used for long is forgotten. To be called once a minute. */
  ageLocalities(tick: number): void {
    for (const service of this.#services.values()) {
      this.#schedulers.age(service.slot, tick, (change) => this.#locks.run(service, change));
    }
  }

  /** `isPlanned`: it has been checked that it can be done. */
  #dispatch(command: Command, isPlanned: boolean): void {
    this.changes++;
    switch (command.command) {
      case 'add-service':
        this.#addService(command.service, command.settings, NOTHING);
        break;
      case 'edit-service':
        this.#editService(command.service, command.settings);
        break;
      case 'delete-service':
        this.#removeServices([this.#require(command.service)]);
        break;
      case 'add-server': {
        const service = this.#require(command.service);
        this.#servers.add(service, command.server, command.settings, isPlanned);
        break;
      }
      case 'edit-server': {
        const service = this.#require(command.service);
        this.#servers.edit(service, command.server, command.settings, isPlanned);
        break;
      }
      case 'delete-server':
        this.#servers.remove(this.#require(command.service), command.server);
        break;
      case 'add-local-address':
        this.#localAddresses.add(this.#require(command.service), command.address);
        break;
      case 'delete-local-address':
        this.#localAddresses.remove(this.#require(command.service), command.address);
        break;
      case 'flush':
        this.#removeServices(this.services);
        break;
      case 'zero':
        this.#zero(command.service);
        break;
      case 'set-timeouts':
        this.#setTimeouts(command.timeouts);
        break;
    }
  }

  #require(key: ServiceKey): VirtualService {
    const service = this.find(key);
    if (service === undefined) {
      throw new DirectorError('ERR_SERVICE_UNKNOWN', `service ${serviceId(key)} does not exist`);
    }
    return service;
  }

  /**
   * Adds a service and does `rest` before its lock is given back: workers find it as it is then.
   * A worker that has died may hold a free slot's lock, each of them one at most: with as many
   * tries as there are workers, and one, there is no lock that this fails for.
   */
  #addService(key: ServiceKey, settings: ServiceSettings, rest: () => void): void {
    const id = serviceId(key);
    if (this.#services.has(id)) {
      throw new DirectorError('ERR_SERVICE_EXISTS', `service ${id} exists already`);
    }
    checkService(key, settings);
    for (let left = this.tables.counters.length; ; left--) {
      const service = this.#reserve(key, settings);
      try {
        this.#locks.run(service, () => this.#publish(service, rest));
        return;
      } catch (error) {
        if (this.tables.services.isInUse(service.slot)) this.tables.services.giveBack(service.slot);
        if (left <= 0 || (error as DirectorError).code !== 'ERR_BUSY') throw error;
      }
    }
  }

  /** A service that no worker finds yet. */
  #reserve(key: ServiceKey, settings: ServiceSettings): VirtualService {
    const slot = this.tables.services.reserve(
      {
        family: key.family,
        protocol: PROTOCOL_NUMBERS[key.protocol],
        address: addressWords(key.address),
        port: key.port,
        fwmark: key.fwmark,
      },
      schedulerNumber(settings.scheduler),
    );
    if (slot === 0) {
      throw new DirectorError('ERR_TABLE_FULL', `service ${serviceId(key)}: no slot is free`);
    }
    const zero = this.sum(serviceTraffic(slot));
    const estimator = new Estimator(zero);
    return { slot, key, settings, zero, estimator, servers: [], localAddresses: [] };
  }

  /** Its lock is held. When `rest` throws it is gone again, and its slot free. */
  #publish(service: VirtualService, rest: () => void): void {
    this.#configure(service, service.settings);
    this.#begin(service, service.settings);
    this.tables.services.publish(service.slot);
    this.#services.set(serviceId(service.key), service);
    this.#countKind(service.key, 1);
    try {
      rest();
    } catch (error) {
      this.#removeHidden(service);
      throw error;
    }
  }

  #editService(key: ServiceKey, settings: ServiceSettings): void {
    const service = this.#require(key);
    checkService(key, settings);
    checkServerCount(key, settings.scheduler, service.servers.length);
    if (settings.scheduler !== service.settings.scheduler) this.#begin(service, settings);
    this.#configure(service, settings);
    service.settings = settings;
  }

  #configure({ slot, key }: VirtualService, settings: ServiceSettings): void {
    const { services } = this.tables;
    services.setSchedulerFlags(slot, schedulerFlags(settings));
    services.setOnePacket(slot, settings.onePacket);
    const netmask = key.family === 4 ? parseIpv4(settings.netmask) : Number(settings.netmask);
    services.setPersistence(slot, settings.persistentTimeout * TICKS_PER_SECOND, netmask);
  }

  /** What workers need not look for when there is none of it. */
  #countKind({ fwmark, port }: ServiceKey, change: number): void {
    const { settings } = this.tables;
    if (fwmark !== 0) return;
    if (port === 0) settings.set('anyPortServices', settings.anyPortServices + change);
    if (port === FTP_PORT) settings.set('ftpServices', settings.ftpServices + change);
  }

  /** A service begins with its scheduler, or with another one. */
  #begin(service: VirtualService, settings: ServiceSettings): void {
    this.#schedulers.begin(
      service.slot,
      schedulerNumber(settings.scheduler),
      () => this.#servers.shares(service),
      (change) => this.#locks.run(service, change),
    );
  }

  /**
   * All or none: throws ERR_BUSY before anything is changed. Each is hidden under its lock, then
   * taken apart without: no worker waits while many others are taken apart.
   */
  #removeServices(removed: readonly VirtualService[]): void {
    const { services } = this.tables;
    this.#locks.require(removed);
    let hidden = 0;
    try {
      for (const service of removed) {
        this.#locks.run(service, () => services.setHidden(service.slot, true));
        hidden++;
      }
    } catch (error) {
      for (const { slot } of removed.slice(0, hidden)) services.setHidden(slot, false);
      throw error;
    }
    for (const service of removed) this.#removeHidden(service);
  }

  /** Of a service that no worker finds, or whose lock is held. */
  #removeHidden(service: VirtualService): void {
    this.changes++;
    this.tables.services.setHidden(service.slot, true);
    this.#schedulers.end(service.slot);
    this.tables.services.remove(service.slot);
    this.#localAddresses.removeAll(service);
    this.#servers.removeAll(service);
    this.#services.delete(serviceId(service.key));
    this.#countKind(service.key, -1);
  }

  /** Is there anything that ends with connections? Then emptyTrash has something to do. */
  get waitsForConnections(): boolean {
    return this.#servers.trash.size > 0 || this.#localAddresses.hasRetired;
  }

  /** Frees removed servers that nothing refers to any more. To be called every minute or so. */
  emptyTrash(): void {
    const freed = this.#servers.emptyTrash();
    this.#localAddresses.forget();
    if (freed > 0) this.#changed(null);
  }

  #zero(key: ServiceKey | null): void {
    for (const service of key === null ? this.services : [this.#require(key)]) {
      service.zero = this.sum(serviceTraffic(service.slot));
      service.estimator.reset();
      for (const server of service.servers) {
        server.zero = this.sum(realServerTraffic(server.slot));
        server.estimator.reset();
      }
    }
  }

  /** To be called every ESTIMATION_SECONDS. */
  estimate(): void {
    if (this.sysctls.value('run_estimation') === 0) return;
    for (const service of this.#services.values()) {
      service.estimator.sample(this.sum(serviceTraffic(service.slot)));
      for (const server of service.servers) {
        server.estimator.sample(this.sum(realServerTraffic(server.slot)));
      }
    }
  }

  #setTimeouts(timeouts: Timeouts): void {
    const ticks = this.tables.settings.timeouts;
    if (timeouts.tcp !== 0) ticks[ESTABLISHED] = timeouts.tcp * TICKS_PER_SECOND;
    if (timeouts.tcpFin !== 0) ticks[FIN_WAIT] = timeouts.tcpFin * TICKS_PER_SECOND;
    if (timeouts.udp !== 0) ticks[UDP_NORMAL] = timeouts.udp * TICKS_PER_SECOND;
  }

  /** Seconds. */
  get timeouts(): Timeouts {
    const ticks = this.tables.settings.timeouts;
    return {
      tcp: ticks[ESTABLISHED]! / TICKS_PER_SECOND,
      tcpFin: ticks[FIN_WAIT]! / TICKS_PER_SECOND,
      udp: ticks[UDP_NORMAL]! / TICKS_PER_SECOND,
    };
  }

  /** Traffic counters at `at`, summed over all workers: TRAFFIC_STRIDE doubles, to be read. */
  sum(at: number): Float64Array {
    return sumTraffic(this.tables.counters, at);
  }
}
