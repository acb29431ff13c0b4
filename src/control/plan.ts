/**
 * The difference between what services are and what they shall be, as commands in an order that
 * is safe to carry out: removals first, then services, then their servers.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Tables } from '../table/memory';
import { checkServer, checkServerCount, checkService } from './check';
import { DirectorError } from './error';
import { type ServiceSpec, serverId, serviceId, type VirtualService } from './model';
import type { Command, ServerKey, ServiceKey } from './protocol';

/** Throws a DirectorError for the first spec that cannot be, or that stands there twice. */
export function checkSpecs(specs: readonly ServiceSpec[]): void {
  const services = new Set<string>();
  for (const { service, settings, servers } of specs) {
    checkService(service, settings);
    const id = serviceId(service);
    if (services.has(id)) {
      throw new DirectorError('ERR_SERVICE_EXISTS', `service ${id} stands there twice`);
    }
    services.add(id);
    checkServerCount(service, settings.scheduler, servers.length);
    const addresses = new Set<string>();
    for (const { server, settings: serverSettings } of servers) {
      checkServer(service, server, serverSettings);
      const address = serverId(server);
      if (addresses.has(address)) {
        const message = `service ${id}: real server ${address} stands there twice`;
        throw new DirectorError('ERR_SERVER_EXISTS', message);
      }
      addresses.add(address);
    }
  }
}

/** Throws when the tables have no slot for all that `plan` adds. `kept`: it has its slot still. */
export function requireRoom(
  plan: readonly Command[],
  tables: Tables,
  kept: (service: ServiceKey, server: ServerKey) => boolean,
): void {
  let services = 0;
  let servers = 0;
  for (const command of plan) {
    if (command.command === 'add-service') services++;
    else if (command.command === 'delete-service') services--;
    else if (command.command === 'add-server' && !kept(command.service, command.server)) servers++;
  }
  requireSlots('services', services, tables.services.freeCount);
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
  return { service: service.key, settings: service.settings, servers: servers.reverse() };
}

export function planDifference(
  current: readonly VirtualService[],
  wanted: readonly ServiceSpec[],
): Command[] {
  const known = new Map(current.map((service) => [serviceId(service.key), service]));
  const wantedIds = new Set(wanted.map((spec) => serviceId(spec.service)));
  const plan: Command[] = [];
  for (const service of current) {
    if (!wantedIds.has(serviceId(service.key))) {
      plan.push({ command: 'delete-service', service: service.key });
    }
  }
  for (const spec of wanted) {
    const service = known.get(serviceId(spec.service));
    for (const command of planService(service, spec)) plan.push(command);
  }
  return plan;
}

function planService(current: VirtualService | undefined, spec: ServiceSpec): Command[] {
  const { service, settings } = spec;
  const plan: Command[] = [];
  if (current === undefined) plan.push({ command: 'add-service', service, settings });
  else if (!isDeepStrictEqual(current.settings, settings)) {
    plan.push({ command: 'edit-service', service, settings });
  }
  const wantedIds = new Set(spec.servers.map((server) => serverId(server.server)));
  const known = new Map((current?.servers ?? []).map((server) => [serverId(server.key), server]));
  for (const [id, server] of known) {
    if (!wantedIds.has(id)) plan.push({ command: 'delete-server', service, server: server.key });
  }
  for (const server of spec.servers) {
    const before = known.get(serverId(server.server));
    const change = { service, server: server.server, settings: server.settings };
    if (before === undefined) plan.push({ command: 'add-server', ...change });
    else if (!isDeepStrictEqual(before.settings, server.settings)) {
      plan.push({ command: 'edit-server', ...change });
    }
  }
  return plan;
}
