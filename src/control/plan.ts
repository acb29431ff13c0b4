/**
 * The difference between what services are and what they shall be, as commands in an order that
 * is safe to carry out: what stays is changed first, since that can fail at a service's lock; then
 * services are removed, which makes room; then others are added.
 */
import type { Tables } from '../table/memory';
import { checkServer, checkServerAddress, checkServerCount, checkService } from './check';
import { DirectorError } from './error';
import { checkLocalAddresses } from './localAddress';
import {
  type ServerSpec,
  type ServiceSpec,
  serverId,
  serviceId,
  type VirtualService,
} from './model';
import type { Command, ServerKey, ServiceKey } from './protocol';
import { isSameServer, isSameService } from './sameSettings';

/** Up to so many are compared each with each: quicker than their names are made. */
const FEW = 16;

/** Throws a DirectorError for the first spec that cannot be, or that stands there twice. */
export function checkSpecs(specs: readonly ServiceSpec[]): void {
  const services = new Set<string>();
  for (const spec of specs) {
    const { service, settings, servers } = spec;
    checkService(service, settings);
    checkLocalAddresses(spec);
    const id = serviceId(service);
    if (services.has(id)) {
      throw new DirectorError('ERR_SERVICE_EXISTS', `service ${id} stands there twice`);
    }
    services.add(id);
    checkServerCount(service, settings.scheduler, servers.length);
    for (const { server, settings: serverSettings } of servers) {
      checkServer(service, server, serverSettings);
      checkServerAddress(service, server);
    }
    const twice = firstTwice(servers);
    if (twice !== null) {
      const message = `service ${id}: real server ${serverId(twice)} stands there twice`;
      throw new DirectorError('ERR_SERVER_EXISTS', message);
    }
  }
}

function firstTwice(servers: readonly ServerSpec[]): ServerKey | null {
  if (servers.length <= FEW) {
    for (let at = 1; at < servers.length; at++) {
      const { address, port } = servers[at]!.server;
      for (let before = 0; before < at; before++) {
        const { server } = servers[before]!;
        if (server.port === port && server.address === address) return server;
      }
    }
    return null;
  }
  const seen = new Set<string>();
  for (const { server } of servers) {
    const id = serverId(server);
    if (seen.has(id)) return server;
    seen.add(id);
  }
  return null;
}

/** Throws when the tables have no slot for all that `plan` adds. `kept`: it has its slot still. */
export function requireRoom(
  plan: readonly Command[],
  tables: Tables,
  kept: (service: ServiceKey, server: ServerKey) => boolean,
): void {
  let services = 0;
  let servers = 0;
  let localAddresses = 0;
  for (const command of plan) {
    if (command.command === 'add-service') services++;
    else if (command.command === 'delete-service') services--;
    else if (command.command === 'add-local-address') localAddresses++;
    else if (command.command === 'add-server' && !kept(command.service, command.server)) servers++;
  }
  requireSlots('services', services, tables.services.freeCount);
  requireSlots('local addresses', localAddresses, tables.localAddresses.freeCount);
  // The slot of a removed server stays its own for a while: it makes no room.
  requireSlots('real servers', servers, tables.realServers.freeCount);
}

function requireSlots(what: string, wanted: number, free: number): void {
  if (wanted <= free) return;
  const message = `${wanted} more ${what} are wanted; there is room for ${free}`;
  throw new DirectorError('ERR_TABLE_FULL', message);
}

/** A service as a configuration would have to say it; servers in the order of adding. */
export function specOf(service: VirtualService): ServiceSpec {
  const servers = service.servers.map(({ key, settings }) => ({ server: key, settings }));
  const spec = { service: service.key, settings: service.settings, servers: servers.reverse() };
  const localAddresses = service.localAddresses.map(({ address }) => address);
  return localAddresses.length === 0 ? spec : { ...spec, localAddresses };
}

export function planDifference(
  current: readonly VirtualService[],
  wanted: readonly ServiceSpec[],
): Command[] {
  const known = new Map(current.map((service) => [serviceId(service.key), service]));
  const wantedIds = new Set(wanted.map((spec) => serviceId(spec.service)));
  const changes: Command[] = [];
  const removals: Command[] = [];
  const additions: Command[] = [];
  for (const service of current) {
    if (!wantedIds.has(serviceId(service.key))) {
      removals.push({ command: 'delete-service', service: service.key });
    }
  }
  for (const spec of wanted) {
    const service = known.get(serviceId(spec.service));
    const plan = service === undefined ? additions : changes;
    planService(service, spec, plan);
  }
  if (changes.length === 0 && removals.length === 0) return additions;
  return changes.concat(removals, additions);
}

/** A plan in parts that each can be carried out whole: all removals, else service by service. */
export function planGroups(plan: readonly Command[]): Command[][] {
  const groups: Command[][] = [];
  let group: Command[] = [];
  let last: Subject | undefined;
  for (const command of plan) {
    const subject = subjectOf(command);
    if (group.length === 0 || subject !== last) {
      group = [];
      groups.push(group);
    }
    group.push(command);
    last = subject;
  }
  return groups;
}

/** Commands of one service carry one key. */
type Subject = ServiceKey | 'removals' | null;
function subjectOf(command: Command): Subject {
  if (command.command === 'delete-service') return 'removals';
  return 'service' in command ? command.service : null;
}

function planService(
  current: VirtualService | undefined,
  spec: ServiceSpec,
  plan: Command[],
): void {
  const { service, settings } = spec;
  if (current === undefined) plan.push({ command: 'add-service', service, settings });
  else if (!isSameService(current.settings, settings)) {
    plan.push({ command: 'edit-service', service, settings });
  }
  if (spec.localAddresses !== undefined || (current?.localAddresses.length ?? 0) > 0) {
    plan.push(...planLocalAddresses(current, spec));
  }
  if (current === undefined) {
    for (const { server, settings: wanted } of spec.servers) {
      plan.push({ command: 'add-server', service, server, settings: wanted });
    }
  } else planServers(current, spec, plan);
}

/** Of a service that stays. */
function planServers({ servers }: VirtualService, spec: ServiceSpec, plan: Command[]): void {
  const { service } = spec;
  if (isSameList(servers, spec)) {
    const last = servers.length - 1;
    for (const [at, { server, settings }] of spec.servers.entries()) {
      if (isSameServer(servers[last - at]!.settings, settings)) continue;
      plan.push({ command: 'edit-server', service, server, settings });
    }
    return;
  }
  const wantedIds = new Set(spec.servers.map((server) => serverId(server.server)));
  const known = new Map(servers.map((server) => [serverId(server.key), server]));
  for (const [id, server] of known) {
    if (!wantedIds.has(id)) plan.push({ command: 'delete-server', service, server: server.key });
  }
  for (const { server, settings } of spec.servers) {
    const before = known.get(serverId(server));
    if (before === undefined) plan.push({ command: 'add-server', service, server, settings });
    else if (!isSameServer(before.settings, settings)) {
      plan.push({ command: 'edit-server', service, server, settings });
    }
  }
}

/** The same servers, added in the same order? */
function isSameList(servers: VirtualService['servers'], spec: ServiceSpec): boolean {
  const last = servers.length - 1;
  if (spec.servers.length !== servers.length) return false;
  for (let at = 0; at <= last; at++) {
    const { address, port } = spec.servers[at]!.server;
    const { key } = servers[last - at]!;
    if (key.port !== port || key.address !== address) return false;
  }
  return true;
}

/** Those that stay keep their place; connections from one that goes live on. */
function planLocalAddresses(current: VirtualService | undefined, spec: ServiceSpec): Command[] {
  const { service, localAddresses = [] } = spec;
  const known = (current?.localAddresses ?? []).map(({ address }) => address);
  const change = (command: 'add-local-address' | 'delete-local-address') => (address: string) => ({
    command,
    service,
    address,
  });
  return [
    ...known
      .filter((address) => !localAddresses.includes(address))
      .map(change('delete-local-address')),
    ...localAddresses
      .filter((address) => !known.includes(address))
      .map(change('add-local-address')),
  ];
}
