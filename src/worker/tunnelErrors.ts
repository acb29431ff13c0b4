/**
 * ICMP errors about our own tunnel packets, sent to the director by a router between it and a real
 * server, or by the server itself. The client, whose packet was inside, knows nothing of the
 * tunnel: it is told the same about its own packet, by a fresh error from the address it wrote to.
 *
 *   | IP, ICMP | outer IP | - / UDP, GUE / GRE | client's packet ...
 *                                              becomes the quoted packet of the new error
 *
 * A quoted packet counts as ours when the client's packet in it belongs to a connection whose real
 * server has the tunnel's type, address and port; so path MTUs are learned from nobody who has not
 * seen one of them. Errors that quote too little of it go to the host.
 */
import { isErrorWhole, QuotedPacket } from '../forward/icmpQuoted';
import { TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import { GRE_BYTES, GRE_CHECKSUM_BYTES, greFlags, greProtocol, PROTOCOL_GRE } from '../net/gre';
import { GUE_BYTES, gueHeaderBytes, gueProtocol } from '../net/gue';
import {
  CODE_FRAGMENTATION_NEEDED,
  CODE_HOST_UNREACHABLE,
  CODE_TTL_EXCEEDED,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  icmpCode,
  icmpRest,
  icmpType,
} from '../net/icmp';
import {
  CODE6_ADDRESS_UNREACHABLE,
  CODE6_HOP_LIMIT,
  ICMP6_TIME_EXCEEDED,
  ICMP6_TOO_BIG,
  ICMP6_UNREACHABLE,
} from '../net/icmp6';
import {
  FLAG_DONT_FRAGMENT,
  ipv4Destination,
  ipv4Fragment,
  ipv4Source,
  PROTOCOL_UDP,
} from '../net/ipv4';
import { IPV6_DESTINATION, IPV6_MTU_MIN, IPV6_SOURCE } from '../net/ipv6';
import { ports } from '../net/transport';
import { UDP_BYTES } from '../net/udp';
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  type ConnectionTable,
  connectionHash,
  connectionHash6,
  FROM_CLIENT,
  FROM_SERVER,
  kindOf6,
} from '../table/connection';
import { DROP, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import {
  METHOD_TUNNEL,
  type RealServerTable,
  TUNNEL_GRE,
  TUNNEL_GUE,
  TUNNEL_IPIP,
} from '../table/realServer';
import type { IcmpSender } from './icmp';
import type { Packet } from './packet';
import type { Tracker } from './track';

const { state: STATE, realServer: REAL_SERVER, identity: IDENTITY } = CONNECTION.at;
const PROTOCOL_IPIP = 4;
const PROTOCOL_IPV6 = 41;
const MTU_BITS = 0xffff;
/** A router of before RFC 1191 names no MTU; then Linux falls back to this one. */
const MTU_UNTOLD = 552;
const NO_TUNNEL = -1;
// Bound here: a rare branch that has to look one up fails when it is first taken.
const [UNREACHABLE4, TIME_EXCEEDED4] = [ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED];
const [UNREACHABLE6, TIME_EXCEEDED6] = [ICMP6_UNREACHABLE, ICMP6_TIME_EXCEEDED];
const [NEEDS_FRAGMENTS, TOO_BIG6] = [CODE_FRAGMENTATION_NEEDED, ICMP6_TOO_BIG];
const [TTL_EXCEEDED4, HOST_UNREACHABLE4] = [CODE_TTL_EXCEEDED, CODE_HOST_UNREACHABLE];
const [HOP_LIMIT6, ADDRESS_UNREACHABLE6] = [CODE6_HOP_LIMIT, CODE6_ADDRESS_UNREACHABLE];
const [MTU_MIN4, MTU_MIN6] = [68, IPV6_MTU_MIN];

export class TunnelErrors {
  private readonly view: DataView;
  private readonly connections: ConnectionTable;
  private readonly realServers: RealServerTable;
  private readonly tracker: Tracker;
  private readonly icmp: IcmpSender;
  private readonly seed: number;
  private readonly inner = new QuotedPacket();
  /** What `type` found: family and offset of the packet inside, GUE's port. */
  private innerAt = 0;
  private isInnerIpv4 = true;
  private port = 0;

  constructor(tables: Tables, view: DataView, tracker: Tracker, icmp: IcmpSender) {
    this.view = view;
    this.connections = tables.connections;
    this.realServers = tables.realServers;
    this.seed = tables.settings.hashSeed;
    this.tracker = tracker;
    this.icmp = icmp;
  }

  /** `outer`: the packet that the error quotes. PASS.no_connection when it is none of ours. */
  process(packet: Packet, outer: QuotedPacket): number {
    const type = this.type(outer);
    if (type === NO_TUNNEL) return PASS.no_connection;
    const inner = this.inner;
    if (!inner.read(this.view, this.innerAt, outer.end, this.isInnerIpv4)) {
      return PASS.no_connection;
    }
    if (!inner.isFollowed) {
      return PASS.no_connection;
    }
    const entry = this.find(packet.tick);
    if (entry === 0) return PASS.no_connection;
    const { entries } = this.connections;
    const base = entry << 4;
    const identity = entries[base + IDENTITY]!;
    const method = (entries[base + STATE]! >>> CONNECTION_METHOD_SHIFT) & 0xf;
    const server = entries[base + REAL_SERVER]! & CONNECTION_SERVER_BITS;
    if (method !== METHOD_TUNNEL || entries[base + IDENTITY] !== identity) {
      return PASS.no_connection;
    }
    if (!this.isTunnelOf(server, type, outer)) return PASS.no_connection;
    if (!isErrorWhole(this.view, packet.ip, packet.transport, packet.total))
      return DROP.icmp_checksum;
    return this.tell(packet, outer, server);
  }

  /** Type of the tunnel that the quoted packet is of, or NO_TUNNEL. */
  private type(outer: QuotedPacket): number {
    const { protocol, transport } = outer;
    if (protocol === PROTOCOL_IPIP || protocol === PROTOCOL_IPV6) {
      this.innerAt = transport;
      this.isInnerIpv4 = protocol === PROTOCOL_IPIP;
      return TUNNEL_IPIP;
    }
    if (protocol === PROTOCOL_GRE) return this.gre(outer);
    return protocol === PROTOCOL_UDP ? this.gue(outer) : NO_TUNNEL;
  }

  private gre(outer: QuotedPacket): number {
    const view = this.view;
    const at = outer.transport;
    if (outer.end - at < GRE_BYTES) return NO_TUNNEL;
    const type = greProtocol(view, at);
    const bytes = greFlags(view, at) === 0 ? GRE_BYTES : GRE_CHECKSUM_BYTES;
    if (type !== TYPE_IPV4 && type !== TYPE_IPV6) return NO_TUNNEL;
    this.innerAt = at + bytes;
    this.isInnerIpv4 = type === TYPE_IPV4;
    return TUNNEL_GRE;
  }

  private gue(outer: QuotedPacket): number {
    const view = this.view;
    const gue = outer.transport + UDP_BYTES;
    if (outer.end - gue < GUE_BYTES) return NO_TUNNEL;
    const protocol = gueProtocol(view, gue);
    if (protocol !== PROTOCOL_IPIP && protocol !== PROTOCOL_IPV6) return NO_TUNNEL;
    this.innerAt = gue + gueHeaderBytes(view, gue);
    this.isInnerIpv4 = protocol === PROTOCOL_IPIP;
    this.port = ports(view, outer.transport) & 0xffff;
    return TUNNEL_GUE;
  }

  /** The connection of the packet inside, which is a client's; 0 = none. */
  private find(tick: number): number {
    const view = this.view;
    const connections = this.connections;
    const { ip, isIpv4, connectionProtocol: protocol } = this.inner;
    const pair = this.inner.ports(view);
    if (isIpv4) {
      const source = ipv4Source(view, ip);
      const destination = ipv4Destination(view, ip);
      const hash = connectionHash(this.seed, protocol, source, destination, pair);
      const entry = connections.find(hash, protocol, source, destination, pair, tick);
      if (entry === 0) return 0;
      const direction = connections.match(entry, protocol, source, destination, pair, tick);
      return direction === FROM_CLIENT ? entry : 0;
    }
    const kind = kindOf6(protocol);
    const source = ip + IPV6_SOURCE;
    const destination = ip + IPV6_DESTINATION;
    const hash = connectionHash6(this.seed, kind, view, source, destination, pair);
    const entry = connections.find6(hash, kind, view, source, destination, pair, tick);
    if (entry === 0) return 0;
    const direction = connections.match6(entry, kind, view, source, destination, pair, tick);
    return direction === FROM_CLIENT ? entry : 0;
  }

  /** Does the quoted outer header lead to this server, the way its settings have it? */
  private isTunnelOf(server: number, type: number, outer: QuotedPacket): boolean {
    const servers = this.realServers;
    const view = this.view;
    if (servers.tunnelType(server) !== type) return false;
    if (type === TUNNEL_GUE && servers.tunnelPort(server) !== this.port) return false;
    if (servers.family(server) !== (outer.isIpv4 ? 4 : 6)) return false;
    if (outer.isIpv4) return servers.addressWord(server, 0) === ipv4Destination(view, outer.ip);
    const destination = outer.ip + IPV6_DESTINATION;
    for (let word = 0; word < 4; word++) {
      if (servers.addressWord(server, word) !== view.getInt32(destination + 4 * word)) return false;
    }
    return true;
  }

  /** Tells the client; learns the path's MTU. */
  private tell(packet: Packet, outer: QuotedPacket, server: number): number {
    const view = this.view;
    const inner = this.inner;
    const icmp = packet.transport;
    const type = icmpType(view, icmp);
    const code = icmpCode(view, icmp);
    let told = type;
    let toldCode = code;
    let rest = 0;
    if (isTooBig(outer.isIpv4, type, code)) {
      const overhead = inner.ip - outer.ip;
      rest = this.learn(server, outer.isIpv4, icmpRest(view, icmp), packet.tick) - overhead;
      // Who allows fragments gets them: the tunnel cuts what is too long from now on.
      if (inner.isIpv4 && (ipv4Fragment(view, inner.ip) & FLAG_DONT_FRAGMENT) === 0) {
        return DROP.tunnel_error;
      }
      rest = Math.max(rest, inner.isIpv4 ? MTU_MIN4 : MTU_MIN6);
      told = inner.isIpv4 ? UNREACHABLE4 : TOO_BIG6;
      toldCode = inner.isIpv4 ? NEEDS_FRAGMENTS : 0;
    } else if (inner.isIpv4 !== outer.isIpv4) {
      told = otherType(inner.isIpv4, type);
      toldCode = otherCode(inner.isIpv4, type);
    }
    const bytes = inner.end - inner.ip;
    this.tracker.count(server, FROM_SERVER, bytes);
    const verdict = DROP.tunnel_error;
    return this.icmp.relay(packet, verdict, inner.ip, bytes, inner.isIpv4, told, toldCode, rest);
  }

  /** The MTU that holds for the server's path now. It never grows by an error. */
  private learn(server: number, isIpv4: boolean, rest: number, tick: number): number {
    const named = isIpv4 ? rest & MTU_BITS : rest >>> 0;
    const mtu = named === 0 ? MTU_UNTOLD : named;
    this.realServers.learnPathMtu(server, mtu, tick);
    return this.realServers.pathMtu(server, tick);
  }
}

/** "Fragmentation needed", "packet too big". */
export function isTooBig(isIpv4: boolean, type: number, code: number): boolean {
  if (!isIpv4) return type === ICMP6_TOO_BIG;
  return type === ICMP_UNREACHABLE && code === CODE_FRAGMENTATION_NEEDED;
}

// The same in the other family's words (RFC 7915 4.2, 5.2), as far as a client has a use for it.
function otherType(toIpv4: boolean, type: number): number {
  if (toIpv4) return type === TIME_EXCEEDED6 ? TIME_EXCEEDED4 : UNREACHABLE4;
  return type === TIME_EXCEEDED4 ? TIME_EXCEEDED6 : UNREACHABLE6;
}
function otherCode(toIpv4: boolean, type: number): number {
  if (toIpv4) return type === TIME_EXCEEDED6 ? TTL_EXCEEDED4 : HOST_UNREACHABLE4;
  return type === TIME_EXCEEDED4 ? HOP_LIMIT6 : ADDRESS_UNREACHABLE6;
}
