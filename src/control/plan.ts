/**
 * The difference between what services are and what they shall be, as commands in an order that
 * is safe to carry out: removals first, then services, then their servers.
 */
import { type ServiceSpec, serverId, serviceId, type VirtualService } from './model';
import type { Command } from './protocol';

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
  for (const spec of wanted) plan.push(...planService(known.get(serviceId(spec.service)), spec));
  return plan;
}

function planService(current: VirtualService | undefined, spec: ServiceSpec): Command[] {
  const { service, settings } = spec;
  const plan: Command[] = [];
  if (current === undefined) plan.push({ command: 'add-service', service, settings });
  else if (!same(current.settings, settings)) {
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
    else if (!same(before.settings, server.settings)) {
      plan.push({ command: 'edit-server', ...change });
    }
  }
  return plan;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
