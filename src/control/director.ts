/**
 * The director: what services and real servers there are, and the shared tables that say so to
 * the workers. Every change is checked first, then applied whole.
 *
 * Removed servers go to the trash: their slot, with its counts, is found again when the same
 * server of the same service is added anew, and is freed when nothing refers to it for two minutes.
 */
import { addressWords, parseIpv4 } from '../net/address';
import { schedulerNumber } from '../scheduler/index';
import { realServerTraffic, serviceTraffic, TRAFFIC_STRIDE } from '../table/counter';
import type { Tables } from '../table/memory';
import { TICKS_PER_SECOND } from '../table/setting';
import { ESTABLISHED, FIN_WAIT, UDP_NORMAL } from '../table/state';
import { checkServer, checkServerAddress, checkServerCount, checkService } from './check';
import { DirectorError } from './error';
import { Estimator } from './estimator';
import { LocalAddressKeeper } from './localAddress';
import { buildMaglevTables, POOLED_TABLES_MIN, sharesAfter } from './maglevPool';
import {
  type RealServer,
  type ServiceSpec,
  serverId,
  serviceId,
  type TrashedServer,
  type VirtualService,
} from './model';
import { checkSpecs, planDifference, planGroups, requireRoom, specOf } from './plan';
import type { Pool } from './pool';
import type {
  Command,
  ServerKey,
  ServerSettings,
  ServiceKey,
  ServiceSettings,
  Timeouts,
} from './protocol';
import { SchedulerKeeper, type ServerChange, type SlottedShare } from './schedulerKeeper';
import { ServiceLocks } from './serviceLocks';
import { Sysctls } from './sysctl';
import { PROTOCOL_NUMBERS, schedulerFlags, tableSettings } from './tableValues';

/** How long a removed server is kept at least, once nothing refers to it. */
const TRASH_MS = 120_000;
/** Slots that are tried for a new service: a dead worker may hold the lock of one. */
const SLOT_TRIES = 2;
const FTP_PORT = 21;

/** `command`: what was done; null: more than one, or none that anybody gave. */
type Changed = (command: Command | null) => void;

export class Director {
  readonly tables: Tables;
  readonly sysctls: Sysctls;
  /** How many changes there were of services and servers, and how many servers were removed. */
  changes = 0;
  removals = 0;
  readonly #services = new Map<string, VirtualService>();
  readonly #trash = new Map<string, TrashedServer>();
  readonly #now: () => number;
  readonly #changed: Changed;
  readonly #schedulers: SchedulerKeeper;
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
    this.#changed = changed;
    this.#now = now;
  }

  /** Newest first, as IPVS's hash buckets hold them. */
  get services(): readonly VirtualService[] {
    return [...this.#services.values()].reverse();
  }
  get trash(): readonly TrashedServer[] {
    return [...this.#trash.values()];
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
    this.#dispatch(command);
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
    const kept = (service: ServiceKey, server: ServerKey): boolean =>
      this.#trash.has(trashId(service, server));
    requireRoom(plan, this.tables, kept);
    return plan;
  }

  /**
   * Makes the services what `specs` say, whole or not at all; what stays is not touched. The locks
   * it will need are tried before anything is changed; should one not be had later nonetheless,
   * what was done is undone.
   */
  apply(specs: readonly ServiceSpec[]): readonly Command[] {
    const plan = this.plan(specs);
    this.#locks.require(this.#touched(plan));
    const before = [...this.#services.values()].map(specOf);
    try {
      this.#dispatchAll(plan);
    } catch (error) {
      this.#undo(before);
      throw error;
    } finally {
      this.tables.settings.serviceCount = this.#services.size;
      if (plan.length > 0) this.#changed(null);
    }
    return plan;
  }

  /** Services there are that a plan changes or removes. */
  #touched(plan: readonly Command[]): Set<VirtualService> {
    const touched = new Set<VirtualService>();
    for (const command of plan) {
      const key = 'service' in command ? command.service : null;
      const service = key === null ? undefined : this.find(key);
      if (service !== undefined) touched.add(service);
    }
    return touched;
  }

  #dispatchAll(plan: readonly Command[]): void {
    this.#schedulers.postpone();
    try {
      for (const group of planGroups(plan)) this.#dispatchGroup(group);
    } finally {
      this.#schedulers.resume();
    }
  }

  /** Back to `before`. A service that cannot be locked was not changed, and keeps nothing up. */
  #undo(before: readonly ServiceSpec[]): void {
    const attempt = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        if (!(error instanceof DirectorError)) throw error;
      }
    };
    for (const group of planGroups(planDifference(this.services, before))) {
      attempt(() => this.#dispatchGroup(group));
    }
    for (const spec of before) attempt(() => this.#reorder(this.#require(spec.service), spec));
  }

  /** Puts a service's servers into the order of `spec`, the last one first. */
  #reorder(service: VirtualService, spec: ServiceSpec): void {
    const after = spec.servers.map(({ server }) => this.#requireServer(service, server)).reverse();
    const [first] = after;
    if (first === undefined || after.every((server, at) => server === service.servers[at])) return;
    const { realServers, services } = this.tables;
    this.#changeServers(service, 'delete', after, first, first.settings.weight, () => {
      after.forEach((server, at) => {
        realServers.setNext(server.slot, after[at + 1]?.slot ?? 0);
      });
      services.setFirstServer(service.slot, first.slot);
    });
  }

  /**
   * Removals all together; or the changes of one service, all under one hold of its lock, with its
   * lookup table built after the last one. So a lock that cannot be had stops nothing half way.
   */
  #dispatchGroup(group: readonly Command[]): void {
    const [first] = group;
    if (first === undefined || !('service' in first) || first.service === null) return;
    if (first.command === 'delete-service') {
      const keys = group.map((command) => (command as typeof first).service);
      this.#deleteServices(keys.map((key) => this.#require(key)));
      return;
    }
    let changes = group;
    if (first.command === 'add-service') {
      this.#dispatch(first);
      changes = group.slice(1);
    }
    this.#locks.run(this.#require(first.service), () => {
      try {
        for (const command of changes) this.#dispatch(command);
      } finally {
        this.#schedulers.settle();
      }
    });
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

  #dispatch(command: Command): void {
    this.changes++;
    switch (command.command) {
      case 'add-service':
        this.#addService(command.service, command.settings);
        break;
      case 'edit-service':
        this.#editService(command.service, command.settings);
        break;
      case 'delete-service':
        this.#deleteServices([this.#require(command.service)]);
        break;
      case 'add-server':
        this.#addServer(command.service, command.server, command.settings);
        break;
      case 'edit-server':
        this.#editServer(command.service, command.server, command.settings);
        break;
      case 'delete-server':
        this.#deleteServer(command.service, command.server);
        break;
      case 'add-local-address':
        this.#localAddresses.add(this.#require(command.service), command.address);
        break;
      case 'delete-local-address':
        this.#localAddresses.remove(this.#require(command.service), command.address);
        break;
      case 'flush':
        this.#deleteServices(this.services);
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

  #addService(key: ServiceKey, settings: ServiceSettings): void {
    const id = serviceId(key);
    if (this.#services.has(id)) {
      throw new DirectorError('ERR_SERVICE_EXISTS', `service ${id} exists already`);
    }
    checkService(key, settings);
    for (let attempt = 1; !this.#tryAddService(key, settings); attempt++) {
      if (attempt < SLOT_TRIES) continue;
      throw new DirectorError('ERR_BUSY', `service ${id}: its slot is locked by a worker`);
    }
    this.#countKind(key, 1);
  }

  /** False: the lock of the slot could not be had, and nothing has changed. */
  #tryAddService(key: ServiceKey, settings: ServiceSettings): boolean {
    const { services } = this.tables;
    const id = serviceId(key);
    const slot = services.create(
      {
        family: key.family,
        protocol: PROTOCOL_NUMBERS[key.protocol],
        address: addressWords(key.address),
        port: key.port,
        fwmark: key.fwmark,
      },
      schedulerNumber(settings.scheduler),
    );
    if (slot === 0) throw new DirectorError('ERR_TABLE_FULL', `service ${id}: no slot is free`);
    const zero = this.sum(serviceTraffic(slot));
    const estimator = new Estimator(zero);
    const service: VirtualService = {
      slot,
      key,
      settings,
      zero,
      estimator,
      servers: [],
      localAddresses: [],
    };
    this.#configure(service, settings);
    try {
      this.#begin(service, settings);
    } catch (error) {
      services.remove(slot);
      if ((error as DirectorError).code === 'ERR_BUSY') return false;
      throw error;
    }
    this.#services.set(id, service);
    return true;
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
      () => service.servers.map((server) => this.#share(server, server.settings.weight)),
      (change) => this.#locks.run(service, change),
    );
  }

  #share(server: RealServer, weight: number): SlottedShare {
    const { slot, key } = server;
    const lastWeight = weight === 0 ? this.tables.realServers.lastWeight(slot) : weight;
    return { slot, address: addressWords(key.address), port: key.port, weight, lastWeight };
  }

  /** The servers of a service become `after` by `apply`; `changed`, if in it, with `weight`. */
  #changeServers(
    service: VirtualService,
    change: ServerChange,
    after: readonly RealServer[],
    changed: RealServer,
    weight: number,
    apply: () => void,
  ): void {
    const shareOf = (server: RealServer): SlottedShare => {
      if (server !== changed) return this.#share(server, server.settings.weight);
      const share = this.#share(server, weight);
      return change === 'add' ? { ...share, lastWeight: weight } : share;
    };
    const locked = (step: () => void): void => this.#locks.run(service, step);
    this.#schedulers.change(service.slot, change, () => after.map(shareOf), locked, apply);
    service.servers = [...after];
  }

  /** Of the services themselves, or none: throws ERR_BUSY before anything is changed. */
  #deleteServices(services: readonly VirtualService[]): void {
    this.#locks.runAll(services, (service) => this.#deleteService(service));
  }

  /** Its lock is held. */
  #deleteService(service: VirtualService): void {
    this.changes++;
    for (const server of service.servers) {
      this.tables.realServers.setAvailable(server.slot, 0, false);
    }
    this.#schedulers.end(service.slot);
    this.tables.services.remove(service.slot);
    this.#localAddresses.removeAll(service);
    for (const server of service.servers) this.#discard(service, server);
    this.#services.delete(serviceId(service.key));
    this.#countKind(service.key, -1);
  }

  #findServer(service: VirtualService, key: ServerKey): RealServer | undefined {
    return service.servers.find(
      (server) => server.key.address === key.address && server.key.port === key.port,
    );
  }

  #requireServer(service: VirtualService, key: ServerKey): RealServer {
    const server = this.#findServer(service, key);
    if (server === undefined) {
      throw new DirectorError(
        'ERR_SERVER_UNKNOWN',
        `service ${serviceId(service.key)} has no real server ${serverId(key)}`,
      );
    }
    return server;
  }

  #addServer(serviceKey: ServiceKey, key: ServerKey, settings: ServerSettings): void {
    const service = this.#require(serviceKey);
    checkServer(serviceKey, key, settings);
    if (this.#findServer(service, key) !== undefined) {
      throw new DirectorError(
        'ERR_SERVER_EXISTS',
        `service ${serviceId(serviceKey)} has real server ${serverId(key)} already`,
      );
    }
    checkServerAddress(serviceKey, key);
    checkServerCount(serviceKey, service.settings.scheduler, service.servers.length + 1);
    const id = trashId(service.key, key);
    const revived = this.#trash.get(id)?.server;
    const server = revived ?? this.#create(service, key, settings);
    try {
      this.#link(service, server, settings);
    } catch (error) {
      if (revived === undefined) this.tables.realServers.free(server.slot);
      throw error;
    }
    this.#trash.delete(id);
    server.settings = settings;
  }

  /** Puts a server at the head of its service's list, for workers to see. */
  #link(service: VirtualService, server: RealServer, settings: ServerSettings): void {
    const { realServers, services } = this.tables;
    const after = [server, ...service.servers];
    this.#changeServers(service, 'add', after, server, settings.weight, () => {
      realServers.configure(server.slot, tableSettings(settings));
      realServers.forgetLastWeight(server.slot);
      realServers.setNext(server.slot, services.firstServer(service.slot));
      realServers.setAvailable(server.slot, service.slot, true);
      services.setFirstServer(service.slot, server.slot);
    });
  }

  #create(service: VirtualService, key: ServerKey, settings: ServerSettings): RealServer {
    const slot = this.tables.realServers.create(service.slot, {
      family: key.family,
      address: addressWords(key.address),
      port: key.port,
    });
    if (slot === 0) {
      throw new DirectorError('ERR_TABLE_FULL', `real server ${serverId(key)}: no slot is free`);
    }
    const zero = this.sum(realServerTraffic(slot));
    return { slot, key, settings, zero, estimator: new Estimator(zero) };
  }

  #editServer(serviceKey: ServiceKey, key: ServerKey, settings: ServerSettings): void {
    const service = this.#require(serviceKey);
    checkServer(serviceKey, key, settings);
    const server = this.#requireServer(service, key);
    this.#changeServers(service, 'edit', service.servers, server, settings.weight, () => {
      this.tables.realServers.configure(server.slot, tableSettings(settings));
    });
    server.settings = settings;
  }

  #deleteServer(serviceKey: ServiceKey, key: ServerKey): void {
    const service = this.#require(serviceKey);
    const server = this.#requireServer(service, key);
    const { realServers, services } = this.tables;
    const at = service.servers.indexOf(server);
    const before = at === 0 ? 0 : service.servers[at - 1]!.slot;
    const next = realServers.next(server.slot);
    const after = service.servers.filter((other) => other !== server);
    this.#changeServers(service, 'delete', after, server, 0, () => {
      if (before === 0) services.setFirstServer(service.slot, next);
      else realServers.setNext(before, next);
      if (services.position(service.slot) === server.slot) {
        services.setPosition(service.slot, before);
      }
      realServers.setAvailable(server.slot, service.slot, false);
    });
    this.#discard(service, server);
  }

  #discard(service: VirtualService, server: RealServer): void {
    this.removals++;
    this.#trash.set(trashId(service.key, server.key), {
      service: service.key,
      server,
      sinceMs: this.#now(),
    });
  }

  /** Is there anything that ends with connections? Then emptyTrash has something to do. */
  get waitsForConnections(): boolean {
    return this.#trash.size > 0 || this.#localAddresses.hasRetired;
  }

  /** Frees removed servers that nothing refers to any more. To be called every minute or so. */
  emptyTrash(): void {
    const { realServers } = this.tables;
    let freed = 0;
    for (const [id, trashed] of this.#trash) {
      if (this.#now() - trashed.sinceMs < TRASH_MS) continue;
      if (realServers.references(trashed.server.slot) > 0) continue;
      realServers.free(trashed.server.slot);
      this.#trash.delete(id);
      freed++;
    }
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

  /** Traffic counters at `at`, summed over all workers: TRAFFIC_STRIDE doubles. */
  sum(at: number): Float64Array {
    const total = new Float64Array(TRAFFIC_STRIDE);
    for (const counters of this.tables.counters) {
      for (let i = 0; i < TRAFFIC_STRIDE; i++) total[i]! += counters[at + i]!;
    }
    return total;
  }
}

function trashId(service: ServiceKey, server: ServerKey): string {
  return `${serviceId(service)} > ${serverId(server)}`;
}
