/**
 * Real servers that were removed: their slots, with what they counted, are found again when the
 * same server of the same service is added anew.
 */
import {
  type RealServer,
  serverId,
  serviceId,
  type TrashedServer,
  type VirtualService,
} from './model';
import type { ServerKey, ServiceKey } from './protocol';

export class Trash {
  /** By service and server. */
  readonly #services = new Map<string, Map<string, TrashedServer>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  list(): TrashedServer[] {
    return [...this.#services.values()].flatMap((servers) => [...servers.values()]);
  }

  put({ key }: VirtualService, thrown: readonly RealServer[], sinceMs: number): void {
    if (thrown.length === 0) return;
    const id = serviceId(key);
    const servers = this.#services.get(id) ?? new Map<string, TrashedServer>();
    this.#services.set(id, servers);
    this.#size -= servers.size;
    for (const server of thrown) {
      servers.set(serverId(server.key), { service: key, server, sinceMs });
    }
    this.#size += servers.size;
  }

  find(service: ServiceKey, server: ServerKey): RealServer | undefined {
    if (this.#size === 0) return undefined;
    return this.#services.get(serviceId(service))?.get(serverId(server))?.server;
  }

  take(service: ServiceKey, server: ServerKey): void {
    const id = serviceId(service);
    const servers = this.#services.get(id);
    if (servers?.delete(serverId(server)) !== true) return;
    this.#size--;
    if (servers.size === 0) this.#services.delete(id);
  }

  /** Takes out all for which `isOver`. How many. */
  empty(isOver: (trashed: TrashedServer) => boolean): number {
    const before = this.#size;
    for (const [id, servers] of this.#services) {
      for (const [key, trashed] of servers) {
        if (!isOver(trashed)) continue;
        servers.delete(key);
        this.#size--;
      }
      if (servers.size === 0) this.#services.delete(id);
    }
    return before - this.#size;
  }
}
