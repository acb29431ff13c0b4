/**
 * The director: what services and real servers there are, and the shared tables that say so to
 * the workers. Every change is checked first, then applied whole.
 *
 * Removed servers go to the trash: their slot, with its counts, is found again when the same
 * server of the same service is added anew, and is freed when nothing refers to it for two minutes.
 */
import { addressWords } from '../net/address';
import { schedulerNumber } from '../scheduler/index';
import { realServerTraffic, serviceTraffic, TRAFFIC_STRIDE } from '../table/counter';
import { CONTROL_OWNER } from '../table/lock';
import type { Tables } from '../table/memory';
import {
  METHOD_BYPASS,
  METHOD_DR,
  METHOD_FULLNAT,
  METHOD_LOCAL,
  METHOD_NAT,
  METHOD_TUNNEL,
  type RealServerSettings,
} from '../table/realServer';
import { TICKS_PER_SECOND } from '../table/setting';
import { ESTABLISHED, FIN_WAIT, UDP_NORMAL } from '../table/state';
import { checkServer, checkService } from './check';
import { DirectorError } from './error';
import { Estimator } from './estimator';
import {
  type RealServer,
  type ServiceSpec,
  serverId,
  serviceId,
  type TrashedServer,
  type VirtualService,
} from './model';
import { planDifference } from './plan';
import type {
  Command,
  ForwardingMethodName,
  ServerKey,
  ServerSettings,
  ServiceKey,
  ServiceSettings,
  Timeouts,
} from './protocol';

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const METHOD_NUMBERS: Readonly<Record<ForwardingMethodName, number>> = {
  nat: METHOD_NAT,
  local: METHOD_LOCAL,
  tunnel: METHOD_TUNNEL,
  dr: METHOD_DR,
  bypass: METHOD_BYPASS,
  fullnat: METHOD_FULLNAT,
};
/** How long a removed server is kept at least, once nothing refers to it. */
const TRASH_MS = 120_000;
const LOCK_TRIES = 100;

export class Director {
  readonly tables: Tables;
  readonly #services = new Map<string, VirtualService>();
  readonly #trash = new Map<string, TrashedServer>();
  readonly #now: () => number;
  readonly #changed: () => void;

  /** `changed` is called after each change of services, servers or the trash. */
  constructor(tables: Tables, changed: () => void = () => {}, now: () => number = Date.now) {
    this.tables = tables;
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
  find(key: ServiceKey): VirtualService | undefined {
    return this.#services.get(serviceId(key));
  }

  /** Does one command, or throws a DirectorError and changes nothing. */
  execute(command: Command): void {
    this.#dispatch(command);
    this.tables.settings.serviceCount = this.#services.size;
    this.#changed();
  }

  /** Makes the services what `specs` say, by difference. All of it is checked first. */
  apply(specs: readonly ServiceSpec[]): number {
    for (const spec of specs) {
      checkService(spec.service, spec.settings);
      for (const server of spec.servers) checkServer(spec.service, server.server, server.settings);
    }
    const plan = planDifference(this.services, specs);
    for (const command of plan) this.#dispatch(command);
    this.tables.settings.serviceCount = this.#services.size;
    if (plan.length > 0) this.#changed();
    return plan.length;
  }

  #dispatch(command: Command): void {
    switch (command.command) {
      case 'add-service':
        this.#addService(command.service, command.settings);
        break;
      case 'edit-service':
        this.#editService(command.service, command.settings);
        break;
      case 'delete-service':
        this.#deleteService(this.#require(command.service));
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
      case 'flush':
        for (const service of this.services) this.#deleteService(service);
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
    const slot = this.tables.services.create(
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
    this.#services.set(id, { slot, key, settings, zero, estimator, servers: [] });
  }

  #editService(key: ServiceKey, settings: ServiceSettings): void {
    const service = this.#require(key);
    checkService(key, settings);
    if (settings.scheduler !== service.settings.scheduler) {
      this.#locked(service, () => {
        this.tables.services.setScheduler(service.slot, schedulerNumber(settings.scheduler));
        this.tables.services.setPosition(service.slot, 0);
      });
    }
    service.settings = settings;
  }

  #deleteService(service: VirtualService): void {
    this.#locked(service, () => {
      for (const server of service.servers) {
        this.tables.realServers.setAvailable(server.slot, 0, false);
      }
      this.tables.services.remove(service.slot);
    });
    for (const server of service.servers) this.#discard(service, server);
    this.#services.delete(serviceId(service.key));
  }

  #findServer(service: VirtualService, key: ServerKey): RealServer | undefined {
    const id = serverId(key);
    return service.servers.find((server) => serverId(server.key) === id);
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
    if (this.#findServer(service, key) !== undefined) {
      throw new DirectorError(
        'ERR_SERVER_EXISTS',
        `service ${serviceId(serviceKey)} has real server ${serverId(key)} already`,
      );
    }
    checkServer(serviceKey, key, settings);
    const server = this.#revive(service, key, settings) ?? this.#create(service, key, settings);
    const { realServers, services } = this.tables;
    this.#locked(service, () => {
      realServers.configure(server.slot, tableSettings(settings));
      realServers.setNext(server.slot, services.firstServer(service.slot));
      realServers.setAvailable(server.slot, service.slot, true);
      services.setFirstServer(service.slot, server.slot);
    });
    service.servers.unshift(server);
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

  #revive(
    service: VirtualService,
    key: ServerKey,
    settings: ServerSettings,
  ): RealServer | undefined {
    const id = trashId(service.key, key);
    const trashed = this.#trash.get(id);
    if (trashed === undefined) return undefined;
    this.#trash.delete(id);
    trashed.server.settings = settings;
    return trashed.server;
  }

  #editServer(serviceKey: ServiceKey, key: ServerKey, settings: ServerSettings): void {
    const service = this.#require(serviceKey);
    const server = this.#requireServer(service, key);
    checkServer(serviceKey, key, settings);
    this.#locked(service, () => {
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
    const after = realServers.next(server.slot);
    this.#locked(service, () => {
      if (before === 0) services.setFirstServer(service.slot, after);
      else realServers.setNext(before, after);
      if (services.position(service.slot) === server.slot) {
        services.setPosition(service.slot, before);
      }
      realServers.setAvailable(server.slot, service.slot, false);
    });
    service.servers.splice(at, 1);
    this.#discard(service, server);
  }

  #discard(service: VirtualService, server: RealServer): void {
    this.#trash.set(trashId(service.key, server.key), {
      service: service.key,
      server,
      sinceMs: this.#now(),
    });
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
    if (freed > 0) this.#changed();
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

  #locked(service: VirtualService, change: () => void): void {
    for (let attempt = 0; attempt < LOCK_TRIES; attempt++) {
      if (!this.tables.services.lock(service.slot, CONTROL_OWNER)) continue;
      change();
      this.tables.services.unlock(service.slot, CONTROL_OWNER);
      return;
    }
    throw new DirectorError('ERR_BUSY', `service ${serviceId(service.key)} is locked by a worker`);
  }
}

function trashId(service: ServiceKey, server: ServerKey): string {
  return `${serviceId(service)} > ${serverId(server)}`;
}

const TUNNEL_TYPES = ['ipip', 'gue', 'gre'] as const;
const TUNNEL_CHECKSUMS = ['nocsum', 'csum', 'remcsum'] as const;

function tableSettings(settings: ServerSettings): RealServerSettings {
  return {
    method: METHOD_NUMBERS[settings.method],
    weight: settings.weight,
    upperThreshold: settings.upperThreshold,
    lowerThreshold: settings.lowerThreshold,
    tunnelType: TUNNEL_TYPES.indexOf(settings.tunnel.type),
    tunnelPort: settings.tunnel.port,
    tunnelChecksum: TUNNEL_CHECKSUMS.indexOf(settings.tunnel.checksum),
  };
}
