/**
 * The real servers of services: their slots and lists in the shared tables, in step with what the
 * control plane knows of them, and the trash.
 *
 * Removed servers go to the trash: their slot, with its counts, is found again when the same
 * server of the same service is added anew, and is freed when nothing refers to it for two minutes.
 */
import { addressWords } from '../net/address';
import { realServerTraffic } from '../table/counter';
import type { Tables } from '../table/memory';
import { checkServer, checkServerAddress, checkServerCount } from './check';
import { DirectorError } from './error';
import { Estimator } from './estimator';
import { checkLocalServer } from './localServer';
import { type RealServer, serverId, serviceId, type VirtualService } from './model';
import type { ServerKey, ServerSettings, ServiceKey } from './protocol';
import type { SchedulerKeeper, ServerChange, SlottedShare } from './schedulerKeeper';
import type { ServiceLocks } from './serviceLocks';
import { tableSettings } from './tableValues';
import { sumTraffic } from './traffic';
import { Trash } from './trash';

/** How long a removed server is kept at least, once nothing refers to it. */
const TRASH_MS = 120_000;

export class ServerKeeper {
  readonly trash = new Trash();
  /** How many servers were removed. */
  removals = 0;
  readonly #tables: Tables;
  readonly #schedulers: SchedulerKeeper;
  readonly #locks: ServiceLocks;
  readonly #now: () => number;

  constructor(tables: Tables, schedulers: SchedulerKeeper, locks: ServiceLocks, now: () => number) {
    this.#tables = tables;
    this.#schedulers = schedulers;
    this.#locks = locks;
    this.#now = now;
  }

  #find(service: VirtualService, key: ServerKey): RealServer | undefined {
    for (const server of service.servers) {
      if (server.key.port === key.port && server.key.address === key.address) return server;
    }
    return undefined;
  }

  require(service: VirtualService, key: ServerKey): RealServer {
    const server = this.#find(service, key);
    if (server !== undefined) return server;
    throw new DirectorError(
      'ERR_SERVER_UNKNOWN',
      `service ${serviceId(service.key)} has no real server ${serverId(key)}`,
    );
  }

  /** `isPlanned`: all of it has been checked, and that there is no such server. */
  add(service: VirtualService, key: ServerKey, settings: ServerSettings, isPlanned: boolean): void {
    if (!isPlanned) this.#checkAddition(service, key, settings);
    const revived = this.trash.find(service.key, key);
    const server = revived ?? this.#create(service, key, settings);
    try {
      this.#link(service, server, settings);
    } catch (error) {
      if (revived === undefined) this.#tables.realServers.free(server.slot);
      throw error;
    }
    if (revived !== undefined) this.trash.take(service.key, key);
    server.settings = settings;
  }

  #checkAddition(service: VirtualService, key: ServerKey, settings: ServerSettings): void {
    checkServer(service.key, key, settings);
    if (this.#find(service, key) !== undefined) {
      throw new DirectorError(
        'ERR_SERVER_EXISTS',
        `service ${serviceId(service.key)} has real server ${serverId(key)} already`,
      );
    }
    checkServerAddress(service.key, key);
    checkLocalServer(this.#tables.nextHops, service.key, key, settings.method);
    checkServerCount(service.key, service.settings.scheduler, service.servers.length + 1);
  }

  /** Puts a server at the head of its service's list, for workers to see. */
  #link(service: VirtualService, server: RealServer, settings: ServerSettings): void {
    const { realServers, services } = this.#tables;
    const after = [server, ...service.servers];
    this.#change(service, 'add', after, server, settings.weight, () => {
      realServers.configure(server.slot, tableSettings(settings));
      realServers.forgetLastWeight(server.slot);
      realServers.setNext(server.slot, services.firstServer(service.slot));
      realServers.setAvailable(server.slot, service.slot, true);
      services.setFirstServer(service.slot, server.slot);
    });
  }

  #create(service: VirtualService, key: ServerKey, settings: ServerSettings): RealServer {
    const slot = this.#tables.realServers.create(service.slot, {
      family: key.family,
      address: addressWords(key.address),
      port: key.port,
    });
    if (slot === 0) {
      throw new DirectorError('ERR_TABLE_FULL', `real server ${serverId(key)}: no slot is free`);
    }
    const zero = sumTraffic(this.#tables.counters, realServerTraffic(slot));
    return { slot, key, settings, zero, estimator: new Estimator(zero) };
  }

  edit(
    service: VirtualService,
    key: ServerKey,
    settings: ServerSettings,
    isPlanned: boolean,
  ): void {
    if (!isPlanned) checkServer(service.key, key, settings);
    const server = this.require(service, key);
    if (!isPlanned && settings.method !== server.settings.method) {
      checkLocalServer(this.#tables.nextHops, service.key, key, settings.method);
    }
    this.#change(service, 'edit', service.servers, server, settings.weight, () => {
      this.#tables.realServers.configure(server.slot, tableSettings(settings));
    });
    server.settings = settings;
  }

  remove(service: VirtualService, key: ServerKey): void {
    const server = this.require(service, key);
    const { realServers, services } = this.#tables;
    const at = service.servers.indexOf(server);
    const before = at === 0 ? 0 : service.servers[at - 1]!.slot;
    const next = realServers.next(server.slot);
    const after = service.servers.filter((other) => other !== server);
    this.#change(service, 'delete', after, server, 0, () => {
      if (before === 0) services.setFirstServer(service.slot, next);
      else realServers.setNext(before, next);
      if (services.position(service.slot) === server.slot) {
        services.setPosition(service.slot, before);
      }
      realServers.setAvailable(server.slot, service.slot, false);
    });
    this.#discard(service, [server]);
  }

  /** Of a service that goes, and that no worker finds any more. */
  removeAll(service: VirtualService): void {
    for (const server of service.servers) {
      this.#tables.realServers.setAvailable(server.slot, 0, false);
    }
    this.#discard(service, service.servers);
  }

  #discard(service: VirtualService, servers: readonly RealServer[]): void {
    this.removals += servers.length;
    this.trash.put(service, servers, this.#now());
  }

  /** Puts a service's servers into the order of `keys`, the last one first. */
  reorder(service: VirtualService, keys: readonly ServerKey[]): void {
    const after = keys.map((key) => this.require(service, key)).reverse();
    const [first] = after;
    if (first === undefined || after.every((server, at) => server === service.servers[at])) return;
    const { realServers, services } = this.#tables;
    this.#change(service, 'delete', after, first, first.settings.weight, () => {
      after.forEach((server, at) => {
        realServers.setNext(server.slot, after[at + 1]?.slot ?? 0);
      });
      services.setFirstServer(service.slot, first.slot);
    });
  }

  /** As lookup tables name them. */
  shares(service: VirtualService): SlottedShare[] {
    return service.servers.map((server) => this.#share(server, server.settings.weight));
  }

  #share(server: RealServer, weight: number): SlottedShare {
    const { slot, key } = server;
    const lastWeight = weight === 0 ? this.#tables.realServers.lastWeight(slot) : weight;
    return { slot, address: addressWords(key.address), port: key.port, weight, lastWeight };
  }

  /** The servers of a service become `after` by `apply`; `changed`, if in it, with `weight`. */
  #change(
    service: VirtualService,
    change: ServerChange,
    after: RealServer[],
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
    service.servers = after;
  }

  /** Has the trash a slot for it? */
  isKept(service: ServiceKey, server: ServerKey): boolean {
    return this.trash.find(service, server) !== undefined;
  }

  /** Frees removed servers that nothing refers to any more. How many. */
  emptyTrash(): number {
    const { realServers } = this.#tables;
    const now = this.#now();
    return this.trash.empty(({ server, sinceMs }) => {
      if (now - sinceMs < TRASH_MS || realServers.references(server.slot) > 0) return false;
      realServers.free(server.slot);
      return true;
    });
  }
}
