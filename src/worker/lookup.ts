/**
 * Which service is a packet for that has no connection? In IPVS's order (spec 3.2): by firewall
 * mark; by address and port; VIP:21 for FTP's data; by address alone (port 0).
 */
import { PROTOCOL_TCP } from '../net/ipv4';
import type { MarkTable } from '../table/mark';
import type { Tables } from '../table/memory';
import { ROUTE_UNICAST, type RouteTable } from '../table/route';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';

const IPV4 = 4;
const FTP_PORT = 21;
const FTP_DATA_PORT = 20;
/** First port that needs no privilege: passive FTP data goes to one of these. */
const UNPRIVILEGED_PORT = 1024;

export class ServiceLookup {
  readonly #services: ServiceTable;
  readonly #settings: Settings;
  readonly #marks: MarkTable;
  readonly #routes: RouteTable;

  constructor(tables: Tables) {
    this.#services = tables.services;
    this.#settings = tables.settings;
    this.#marks = tables.marks;
    this.#routes = tables.nextHops.routes;
  }

  /** Slot of the service, 0 when there is none. `ports`: source << 16 | destination. */
  find4(
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    const services = this.#services;
    const port = ports & 0xffff;
    if (this.#marks.count !== 0) {
      const mark = this.#marks.mark4(protocol, source, destination, ports, interfaceSlot);
      const service = mark === 0 ? 0 : services.findMark(IPV4, mark);
      if (service !== 0 && !this.#isForwarded(destination)) return service;
    }
    const exact = services.find4(protocol, destination, port);
    if (exact !== 0) return exact;
    if (
      this.#settings.ftpServices !== 0 &&
      protocol === PROTOCOL_TCP &&
      (port === FTP_DATA_PORT || port >= UNPRIVILEGED_PORT)
    ) {
      const ftp = services.find4(protocol, destination, FTP_PORT);
      if (ftp !== 0) return ftp;
    }
    if (this.#settings.anyPortServices === 0) return 0;
    return services.find4(protocol, destination, 0);
  }

  /**
   * IPVS sees what the host would keep for itself. Rules without a destination mark what the host
   * forwards too, a real server's own traffic among it: that is left alone. With cache_bypass the
   * service is a transparent one, for destinations beyond the director.
   */
  #isForwarded(destination: number): boolean {
    if (this.#settings.cacheBypass !== 0) return false;
    return this.#routes.kind(this.#routes.lookup(destination)) === ROUTE_UNICAST;
  }
}
