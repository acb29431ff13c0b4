/**
 * Which service is a packet for that has no connection? In IPVS's order (spec 3.2): by firewall
 * mark; by address and port; VIP:21 for FTP's data; by address alone (port 0).
 */
import { PROTOCOL_TCP } from '../net/ipv4';
import type { MarkTable } from '../table/mark';
import type { Tables } from '../table/memory';
import type { NextHopTable } from '../table/nextHop';
import { ROUTE_UNICAST } from '../table/route';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [TCP, UNICAST] = [PROTOCOL_TCP, ROUTE_UNICAST];
const [IPV4, IPV6] = [4, 6];
const FTP_PORT = 21;
const FTP_DATA_PORT = 20;
/** First port that needs no privilege: passive FTP data goes to one of these. */
const UNPRIVILEGED_PORT = 1024;

export class ServiceLookup {
  private readonly services: ServiceTable;
  private readonly settings: Settings;
  private readonly marks: MarkTable;
  private readonly hops: NextHopTable;

  constructor(tables: Tables) {
    this.services = tables.services;
    this.settings = tables.settings;
    this.marks = tables.marks;
    this.hops = tables.nextHops;
  }

  /** Slot of the service, 0 when there is none. `ports`: source << 16 | destination. */
  find4(
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    const services = this.services;
    const port = ports & 0xffff;
    if (this.marks.count !== 0) {
      const mark = this.marks.mark4(protocol, source, destination, ports, interfaceSlot);
      const service = mark === 0 ? 0 : services.findMark(IPV4, mark);
      if (service !== 0 && !this.isForwarded(destination)) return service;
    }
    const exact = services.find4(protocol, destination, port);
    if (exact !== 0) return exact;
    if (
      this.settings.ftpServices !== 0 &&
      protocol === TCP &&
      (port === FTP_DATA_PORT || port >= UNPRIVILEGED_PORT)
    ) {
      const ftp = services.find4(protocol, destination, FTP_PORT);
      if (ftp !== 0) return ftp;
    }
    if (this.settings.anyPortServices === 0) return 0;
    return services.find4(protocol, destination, 0);
  }

  /** As find4; `sourceAt`, `destinationAt`: byte offsets of the addresses in `view`. */
  find6(
    protocol: number,
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    const services = this.services;
    const port = ports & 0xffff;
    const marks = this.marks;
    if (marks.count !== 0) {
      const mark = marks.mark6(
        protocol,
        view.getInt32(sourceAt),
        view.getInt32(sourceAt + 4),
        view.getInt32(sourceAt + 8),
        view.getInt32(sourceAt + 12),
        view.getInt32(destinationAt),
        view.getInt32(destinationAt + 4),
        view.getInt32(destinationAt + 8),
        view.getInt32(destinationAt + 12),
        ports,
        interfaceSlot,
      );
      const service = mark === 0 ? 0 : services.findMark(IPV6, mark);
      if (service !== 0 && !this.isForwarded6(view, destinationAt)) return service;
    }
    const exact = services.find6(protocol, view, destinationAt, port);
    if (exact !== 0) return exact;
    if (
      this.settings.ftpServices !== 0 &&
      protocol === TCP &&
      (port === FTP_DATA_PORT || port >= UNPRIVILEGED_PORT)
    ) {
      const ftp = services.find6(protocol, view, destinationAt, FTP_PORT);
      if (ftp !== 0) return ftp;
    }
    if (this.settings.anyPortServices === 0) return 0;
    return services.find6(protocol, view, destinationAt, 0);
  }

  /**
   * IPVS sees what the host would keep for itself. Rules without a destination mark what the host
   * forwards too, a real server's own traffic among it: that is left alone. With cache_bypass the
   * service is a transparent one, for destinations beyond the director.
   */
  private isForwarded(destination: number): boolean {
    if (this.settings.cacheBypass !== 0) return false;
    const { routes } = this.hops;
    return routes.kind(routes.lookup(destination)) === UNICAST;
  }

  private isForwarded6(view: DataView, at: number): boolean {
    if (this.settings.cacheBypass !== 0) return false;
    const { routes6 } = this.hops;
    const route = routes6.lookup6(
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
    return routes6.kind(route) === UNICAST;
  }
}
