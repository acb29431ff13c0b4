/**
 * A connection that begins with an ICMP error (sysctl schedule_icmp): a director that took over, or
 * forgot, has no entry for what the quoted packet belongs to, and makes one, in no state yet.
 * Address and ports are those of the quoted packet turned round, as a client would write to us.
 */

import type { QuotedPacket } from '../forward/icmpQuoted';
import { IPV4_DESTINATION, IPV4_SOURCE, ipv4Destination, ipv4Source } from '../net/ipv4';
import { IPV6_DESTINATION, IPV6_SOURCE, writeIpv6Address } from '../net/ipv6';
import type { Port } from '../port/port';
import { CONNECTION, type ConnectionTable } from '../table/connection';
import type { Tables } from '../table/memory';
import { TICKS_PER_SECOND } from '../table/setting';
import type { Arrival } from './arrival';
import type { Expiry } from './expire';
import { FAMILY_IPV4, FAMILY_IPV6, FRAGMENT_NONE, Packet } from './packet';

/**
 * Where the addresses are written for the rooms that read a packet's: so many bytes in front of the
 * frame, in the headroom of its chunk, where room for an IP header is.
 */
const SCRATCH_BYTES = 64;
/** How long it lives until the client itself is heard of: 3 s, as in IPVS. */
const FIRST_TICKS = 3 * TICKS_PER_SECOND;
const EXPIRES_AT = CONNECTION.at.expiresAt;

export class ErrorArrival {
  private readonly view: DataView;
  private readonly connections: ConnectionTable;
  private readonly expiry: Expiry;
  private readonly arrival: Arrival;
  private readonly packet: Packet;

  /** `port`: any; each packet brings its own. */
  constructor(tables: Tables, view: DataView, expiry: Expiry, arrival: Arrival, port: Port) {
    this.view = view;
    this.connections = tables.connections;
    this.expiry = expiry;
    this.arrival = arrival;
    this.packet = new Packet(port);
  }

  /** Why `connect` gave none. */
  get verdict(): number {
    return this.arrival.verdict;
  }

  /**
   * The new connection of what `packet`, an error, quotes; 0 = none. `kind`, `ports`, `hash`: as a
   * packet of the client would have them.
   */
  connect(packet: Packet, quoted: QuotedPacket, kind: number, ports: number, hash: number): number {
    const turned = this.packet;
    const ip = packet.at - SCRATCH_BYTES;
    turned.port = packet.port;
    turned.at = packet.at;
    turned.ip = ip;
    turned.total = packet.total;
    turned.transport = packet.transport;
    turned.protocol = quoted.protocol;
    turned.kind = kind;
    turned.ports = ports;
    turned.flags = 0;
    turned.hash = hash;
    turned.fragment = FRAGMENT_NONE;
    turned.tick = packet.tick;
    if (quoted.isIpv4) this.turn4(turned, quoted);
    else this.turn6(turned, quoted);
    const entry = this.arrival.connectQuoted(turned);
    if (entry !== 0) this.shorten(entry, packet.tick);
    return entry;
  }

  private shorten(entry: number, tick: number): void {
    if (this.connections.born[entry] !== tick) return;
    this.connections.entries[(entry << 4) + EXPIRES_AT] = (tick + FIRST_TICKS) | 0;
    this.expiry.sooner(entry, tick);
  }

  private turn4(turned: Packet, quoted: QuotedPacket): void {
    const view = this.view;
    turned.family = FAMILY_IPV4;
    turned.sourceAt = turned.ip + IPV4_SOURCE;
    turned.destinationAt = turned.ip + IPV4_DESTINATION;
    view.setInt32(turned.sourceAt, ipv4Destination(view, quoted.ip));
    view.setInt32(turned.destinationAt, ipv4Source(view, quoted.ip));
  }

  private turn6(turned: Packet, quoted: QuotedPacket): void {
    turned.family = FAMILY_IPV6;
    turned.sourceAt = turned.ip + IPV6_SOURCE;
    turned.destinationAt = turned.ip + IPV6_DESTINATION;
    this.copy(turned.sourceAt, quoted.ip + IPV6_DESTINATION);
    this.copy(turned.destinationAt, quoted.ip + IPV6_SOURCE);
  }

  private copy(to: number, from: number): void {
    const view = this.view;
    writeIpv6Address(
      view,
      to,
      view.getInt32(from),
      view.getInt32(from + 4),
      view.getInt32(from + 8),
      view.getInt32(from + 12),
    );
  }
}
