/** Services, real servers, interfaces and addresses by the names that an operator knows. */
import { formatIpv4 } from '../../net/address';
import { formatIpv6 } from '../../net/formatIpv6';
import {
  realServerTraffic,
  serviceTraffic,
  TRAFFIC_IN_PACKETS,
  TRAFFIC_OUT_PACKETS,
} from '../../table/counter';
import type { RealServerTable } from '../../table/realServer';
import type { Director } from '../director';
import { type RealServer, serverId, serviceId, type VirtualService } from '../model';

export class Names {
  /** Of the served interfaces, in slot order. */
  readonly interfaces: readonly string[];
  readonly #services = new Map<number, VirtualService>();
  readonly #servers = new Map<number, RealServer>();

  constructor(director: Director, interfaces: readonly string[]) {
    this.interfaces = interfaces;
    for (const service of director.services) {
      this.#services.set(service.slot, service);
      for (const server of service.servers) this.#servers.set(server.slot, server);
    }
    for (const { server } of director.trash) this.#servers.set(server.slot, server);
  }

  /** "tcp 198.51.100.1:80" */
  service(slot: number): string {
    const service = this.#services.get(slot);
    return service === undefined ? `service in slot ${slot}` : serviceId(service.key);
  }

  scheduler(slot: number): string {
    return this.#services.get(slot)?.settings.scheduler ?? 'none';
  }

  usesScheduler(...schedulers: readonly string[]): boolean {
    const services = [...this.#services.values()];
    return services.some(({ settings }) => schedulers.includes(settings.scheduler));
  }

  usesMethod(method: string): boolean {
    return [...this.#servers.values()].some(({ settings }) => settings.method === method);
  }

  isPersistent(slot: number): boolean {
    return (this.#services.get(slot)?.settings.persistentTimeout ?? 0) > 0;
  }

  /** One above the highest slot that a real server has. */
  get serversEnd(): number {
    let last = 0;
    for (const slot of this.#servers.keys()) last = Math.max(last, slot);
    return last + 1;
  }

  /** "10.0.2.11:8000"; slot 0 is the server of a connection that bypasses all. */
  server(slot: number): string {
    if (slot === 0) return 'no real server (bypass)';
    const server = this.#servers.get(slot);
    return server === undefined ? `real server in slot ${slot}` : serverId(server.key);
  }

  method(slot: number): string {
    return this.#servers.get(slot)?.settings.method ?? 'bypass';
  }

  /** "10.0.2.11:8000, nat, weight 1, 3 active and 2 inactive connections" */
  serverInFull(slot: number, table: RealServerTable): string {
    const counts = `${table.active(slot)} active and ${table.inactive(slot)} inactive connections`;
    return `${this.server(slot)}, ${this.method(slot)}, weight ${table.weight(slot)}, ${counts}`;
  }

  /** Whose packets a worker's counters count; null: nobody's. */
  counted(counters: Float64Array): { service: string | null; server: string | null } {
    const has = (at: number): boolean =>
      counters[at + TRAFFIC_IN_PACKETS]! + counters[at + TRAFFIC_OUT_PACKETS]! > 0;
    const service = [...this.#services.keys()].find((slot) => has(serviceTraffic(slot)));
    const server = [...this.#servers.keys()].find((slot) => has(realServerTraffic(slot)));
    return {
      service: service === undefined ? null : this.service(service),
      server: server === undefined ? null : this.server(server),
    };
  }

  interface(slot: number): string {
    return this.interfaces[slot] ?? `interface in slot ${slot}`;
  }
}

/** Of four words, IPv4 in the first: as real servers and local addresses hold them. */
export function addressText(family: number, words: ArrayLike<number>, at = 0): string {
  if (family === 4) return formatIpv4(words[at]!);
  return formatIpv6(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}

/** Of an IPv6 address at a byte offset of a frame. */
export function addressText6(view: DataView, at: number): string {
  const words = [0, 4, 8, 12].map((offset) => view.getInt32(at + offset));
  return addressText(6, words);
}

/** "10.0.0.1:80", "[2001:db8::1]:80" */
export function endText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** "02:00:00:00:00:01" of a MAC's two words. */
export function macText(high: number, low: number): string {
  const text =
    (high >>> 0).toString(16).padStart(8, '0') + (low & 0xffff).toString(16).padStart(4, '0');
  return text.replace(/(..)(?=.)/g, '$1:');
}
