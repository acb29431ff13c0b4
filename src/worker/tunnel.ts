/**
 * The tunnel room: sends a connection's packet to its real server inside an outer packet, in any
 * mix of families (forward/tunnel.ts writes it).
 *
 * What the outer headers to a server have in common (addresses, type, port) is kept in a cache of
 * this worker, by the server's slot, and renewed when routes, links or the server's settings have
 * changed: a packet costs no route look-up. The source address is the one that the host would use
 * towards the server.
 *
 * Length. What fits is the MTU of link and route, or what an ICMP error told of the way to the
 * server, less the headers. What does not fit: an IPv6 packet, or one with "don't fragment", is
 * answered with the length that would; others go in fragments, as does everything IPv4 with
 * pmtu_disc 0. A whole packet is cut after the outer header is on, as IPVS does it; what came as a
 * fragment is cut before: the server puts it together anyway, and what decapsulates without
 * looking at the next packet can do so.
 */
import { finishSctp } from '../forward/natUnusual';
import { completeChecksum } from '../forward/split';
import {
  encapsulate,
  flowPort,
  innerChecksum,
  OuterHeader,
  tunnelOverhead,
} from '../forward/tunnel';
import { ETHERNET_BYTES } from '../net/ethernet';
import { FLAG_DONT_FRAGMENT, ipv4Fragment, ipv4HeaderBytes, ipv4Ttl } from '../net/ipv4';
import { IPV6_MTU_MIN, ipv6HopLimit } from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';
import type { Port } from '../port/port';
import { CONNECTION, CONNECTION_SERVER_BITS } from '../table/connection';
import { COUNTER, DROP, FORWARDED, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import { HOP_HOST, HOP_LOCAL, HOP_WAIT, type NextHopTable } from '../table/nextHop';
import { type RealServerTable, TUNNEL_CHECKSUM } from '../table/realServer';
import type { Settings } from '../table/setting';
import type { Departure } from './departure';
import type { Egress } from './egress';
import { ERROR_TIME_EXCEEDED, ERROR_TOO_BIG, type IcmpSender } from './icmp';
import { FAMILY_IPV4, FRAGMENT_LATER, FRAGMENT_NONE, Packet } from './packet';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const IPV4 = FAMILY_IPV4;
const WHOLE = FRAGMENT_NONE;
const ETHERNET = ETHERNET_BYTES;
const WAIT = HOP_WAIT;
const STAGED = FORWARDED;
const WITH_CHECKSUM = TUNNEL_CHECKSUM;
const SCTP = PROTOCOL_SCTP;
const DONT_FRAGMENT = FLAG_DONT_FRAGMENT;
const SERVER_BITS = CONNECTION_SERVER_BITS;
const UNFINISHED = COUNTER.checksums_unfinished;
const {
  client: CLIENT,
  clientPorts: CLIENT_PORTS,
  identity: IDENTITY,
  realServer: REAL_SERVER,
  serverHop: SERVER_HOP,
} = CONNECTION.at;

/** Real servers whose outer header a worker keeps at hand; a power of two. */
const CACHE_SLOTS = 1024;
/** Below that a link is no link for the outer family: RFC 791 3.2, RFC 8200 5. */
const MTU4_MIN = 68;
const MTU6_MIN = IPV6_MTU_MIN;

/** A line of the cache. */
class ServerTunnel extends OuterHeader {
  slot = 0;
  generation = -1;
  revision = -1;
  /** Bytes in front of a packet whose own checksum is complete. */
  overhead = 0;
  /** False: the director has no address to send from. */
  hasSource = false;
}

export class Tunnel {
  private readonly view: DataView;
  private readonly entries: Int32Array;
  private readonly realServers: RealServerTable;
  private readonly hops: NextHopTable;
  private readonly settings: Settings;
  private readonly counters: Float64Array;
  private readonly departure: Departure;
  private readonly egress: Egress;
  private readonly icmp: IcmpSender;
  private readonly cache: readonly ServerTunnel[];
  /** A part of a packet that was cut; that it is one is all that matters of its fragment field. */
  private readonly piece: Packet;
  /** Of the outer IPv4 header; each worker begins elsewhere, since all send from one address. */
  private id: number;

  /** `port`: any; pieces of a packet have none of their own. */
  constructor(
    tables: Tables,
    worker: number,
    view: DataView,
    port: Port,
    departure: Departure,
    egress: Egress,
    icmp: IcmpSender,
  ) {
    this.view = view;
    this.entries = tables.connections.entries;
    this.realServers = tables.realServers;
    this.hops = tables.nextHops;
    this.settings = tables.settings;
    this.counters = tables.counters[worker]!;
    this.departure = departure;
    this.egress = egress;
    this.icmp = icmp;
    this.cache = Array.from({ length: CACHE_SLOTS }, () => new ServerTunnel());
    this.piece = new Packet(port);
    this.piece.family = IPV4;
    this.piece.fragment = FRAGMENT_LATER;
    this.id = Math.imul(worker + 1, 0x9e3779b1 | 0) >>> 16;
  }

  /**
   * Sends a packet from the client. FORWARDED, or the verdict: then the frame is still the
   * caller's, at `packet.at` and `packet.total` bytes long.
   */
  forward(packet: Packet, entry: number): number {
    const entries = this.entries;
    const base = entry << 4;
    const slot = entries[base + REAL_SERVER]! & SERVER_BITS;
    const outer = this.tunnelTo(slot);
    const remembered = this.departure.remembered(base + SERVER_HOP);
    const hop = remembered > 0 ? remembered : this.hop(outer, base + SERVER_HOP);
    if (hop <= 0 && hop !== WAIT) return refusal(hop);
    if (!outer.hasSource) return DROP.tunnel_source;
    // The entry may have ended and be another's by now: then these are not this packet's.
    if (entries[base + IDENTITY] !== packet.identity) return PASS.no_connection;
    const view = this.view;
    const isIpv4 = packet.family === IPV4;
    if ((isIpv4 ? ipv4Ttl(view, packet.ip) : ipv6HopLimit(view, packet.ip)) <= 1) {
      return this.icmp.answer(packet, DROP.ttl_exceeded, ERROR_TIME_EXCEEDED, 0, true, entry);
    }
    const checksum = this.checksum(packet, outer);
    const overhead = checksum === 0 ? outer.overhead : tunnelOverhead(outer, true);
    const port = flowPort(entries[base + CLIENT]! ^ entries[base + CLIENT_PORTS]!);
    const lengthBytes = packet.total + overhead;
    if (!this.isClear(slot, hop, lengthBytes)) {
      const mtu = this.mtu(outer, slot, hop, lengthBytes, packet.tick);
      if (lengthBytes > mtu)
        return this.sendTooLong(packet, outer, hop, checksum, port, mtu, entry);
    }
    const request = this.wrap(packet, outer, checksum, this.isKept(packet), port);
    if (hop > 0) {
      return this.egress.sendFitting(packet.at, packet.frameBytes, request, hop, packet.tick);
    }
    return this.leave(outer, packet.at, packet.frameBytes, request, hop, packet.tick);
  }

  /** Does an outer packet of that length fit, without another look? */
  private isClear(slot: number, hop: number, lengthBytes: number): boolean {
    return hop > 0 && this.hops.fits(hop, lengthBytes) && !this.realServers.hasPathMtu(slot);
  }

  /** Has the outer header "don't fragment"? */
  private isKept(packet: Packet): boolean {
    if (packet.family !== IPV4 || this.settings.pmtuDisc === 0) return false;
    return (ipv4Fragment(this.view, packet.ip) & DONT_FRAGMENT) !== 0;
  }

  /** Of a packet whose outer one would be longer than `mtu`. */
  private sendTooLong(
    packet: Packet,
    outer: ServerTunnel,
    hop: number,
    checksum: number,
    port: number,
    mtu: number,
    entry: number,
  ): number {
    const isIpv4 = packet.family === IPV4;
    const room = mtu - tunnelOverhead(outer, checksum !== 0);
    if (room < (outer.family === IPV4 ? MTU4_MIN : MTU6_MIN)) return DROP.mtu_exceeded;
    if (this.isKept(packet) || (!isIpv4 && !this.isSmallest(packet, outer))) {
      const told = isIpv4 || room > MTU6_MIN ? room : MTU6_MIN;
      return this.icmp.answer(packet, DROP.mtu_exceeded, ERROR_TOO_BIG, told, true, entry);
    }
    return this.sendInPieces(packet, outer, hop, checksum, port, mtu);
  }

  /**
   * The request for the inner checksum, 0 when it is complete. Inside an outer checksum it is
   * completed here: on a virtual link the device finishes nothing, and who verifies the outer
   * checksum without the kernel's notes on the frame, as an XDP program does, would find it wrong.
   */
  private checksum(packet: Packet, outer: ServerTunnel): number {
    const checksum = innerChecksum(this.view, packet);
    if (checksum === 0 && packet.protocol !== SCTP) return 0;
    return this.finishChecksum(packet, outer, checksum);
  }

  private finishChecksum(packet: Packet, outer: ServerTunnel, checksum: number): number {
    const view = this.view;
    if (checksum === 0) {
      if (packet.fragment === WHOLE) {
        finishSctp(view, packet.transport, packet.transportBytes);
      }
      return 0;
    }
    this.counters[UNFINISHED]! += 1;
    if (outer.checksum !== WITH_CHECKSUM) return checksum;
    completeChecksum(view, packet.at, packet.frameBytes, checksum);
    return 0;
  }

  private hop(outer: ServerTunnel, word: number): number {
    if (outer.family === IPV4) return this.departure.hop4(word, outer.destination0);
    return this.departure.hop6(
      word,
      outer.destination0,
      outer.destination1,
      outer.destination2,
      outer.destination3,
    );
  }

  /**
   * IPv6 that no sender makes shorter: where IPv4 has less room than that, its outer packet goes in
   * fragments (RFC 4213 3.2.1).
   */
  private isSmallest(packet: Packet, outer: ServerTunnel): boolean {
    return outer.family === IPV4 && packet.total <= MTU6_MIN;
  }

  /** Sends a packet that is too long for the way in pieces that fit `mtu`. */
  private sendInPieces(
    packet: Packet,
    outer: ServerTunnel,
    hop: number,
    checksum: number,
    port: number,
    mtu: number,
  ): number {
    const isIpv4 = packet.family === IPV4;
    const mayBeCut = isIpv4 && (ipv4Fragment(this.view, packet.ip) & DONT_FRAGMENT) === 0;
    if (mayBeCut && (packet.fragment !== WHOLE || outer.family !== IPV4)) {
      return this.cutBefore(packet, outer, hop, checksum, port, mtu);
    }
    const request = this.wrap(packet, outer, checksum, false, port);
    const splitter = this.egress.splitter;
    const count = splitter.cut(packet.at, packet.frameBytes, request, mtu);
    const refusal = splitter.verdict;
    if (count === 0) return refusal;
    for (let piece = 0; piece < count; piece++) {
      const frame = splitter.frames[piece]!;
      const lengthBytes = splitter.lengths[piece]!;
      const verdict = this.leave(outer, frame, lengthBytes, 0, hop, packet.tick);
      this.egress.settle(verdict, frame, lengthBytes, 0);
    }
    return STAGED;
  }

  /** Cuts the packet itself; each piece has an outer header of its own. */
  private cutBefore(
    packet: Packet,
    outer: ServerTunnel,
    hop: number,
    checksum: number,
    port: number,
    mtu: number,
  ): number {
    const splitter = this.egress.splitter;
    const room = mtu - tunnelOverhead(outer, false);
    const count = splitter.cut(packet.at, packet.frameBytes, checksum, room);
    const refusal = splitter.verdict;
    if (count === 0) return refusal;
    const piece = this.piece;
    for (let number = 0; number < count; number++) {
      piece.at = splitter.frames[number]!;
      piece.ip = piece.at + ETHERNET;
      piece.transport = piece.ip + ipv4HeaderBytes(this.view, piece.ip);
      piece.total = splitter.lengths[number]! - ETHERNET;
      piece.protocol = packet.protocol;
      const request = this.wrap(piece, outer, 0, false, port);
      const { at, frameBytes } = piece;
      const verdict = this.leave(outer, at, frameBytes, request, hop, packet.tick);
      this.egress.settle(verdict, at, frameBytes, 0);
    }
    return STAGED;
  }

  /** Puts the outer header on. `isKept`: with "don't fragment". Returns the checksum request. */
  private wrap(
    packet: Packet,
    outer: ServerTunnel,
    checksum: number,
    isKept: boolean,
    port: number,
  ): number {
    const id = isKept ? 0 : this.nextId();
    const fragment = isKept ? DONT_FRAGMENT : 0;
    return encapsulate(this.view, packet, outer, checksum, id, fragment, port);
  }

  private leave(
    outer: ServerTunnel,
    at: number,
    lengthBytes: number,
    request: number,
    hop: number,
    tick: number,
  ): number {
    if (outer.family === IPV4) {
      return this.egress.send(at, lengthBytes, request, hop, outer.destination0, tick);
    }
    return this.egress.send6(
      at,
      lengthBytes,
      request,
      hop,
      outer.destination0,
      outer.destination1,
      outer.destination2,
      outer.destination3,
      tick,
    );
  }

  /** 1 to 65,535: 0 means "no id" to some. */
  private nextId(): number {
    this.id = (this.id & 0xffff) === 0xffff ? 1 : this.id + 1;
    return this.id;
  }

  /** Longest outer packet for which there is room on the way to the server. */
  private mtu(
    outer: ServerTunnel,
    slot: number,
    hop: number,
    lengthBytes: number,
    tick: number,
  ): number {
    const hops = this.hops;
    const { destination0, destination1, destination2, destination3 } = outer;
    let mtu: number;
    if (outer.family === IPV4) {
      mtu = hop > 0 ? hops.mtu4(hop, destination0, lengthBytes) : hops.pathMtu4(destination0);
    } else if (hop > 0) {
      mtu = hops.mtu6(hop, destination0, destination1, destination2, destination3, lengthBytes);
    } else mtu = hops.pathMtu6(destination0, destination1, destination2, destination3);
    const learned = this.realServers.pathMtu(slot, tick);
    return learned !== 0 && learned < mtu ? learned : mtu;
  }

  /** The outer header to a real server, up to date. */
  private tunnelTo(slot: number): ServerTunnel {
    const tunnel = this.cache[slot & (CACHE_SLOTS - 1)]!;
    if (
      tunnel.slot !== slot ||
      tunnel.generation !== this.hops.generation ||
      tunnel.revision !== this.realServers.revision(slot)
    ) {
      this.renew(tunnel, slot);
    }
    return tunnel;
  }

  /** What is read first is older than the rest, so that a change in between is noticed next. */
  private renew(tunnel: ServerTunnel, slot: number): void {
    const servers = this.realServers;
    const hops = this.hops;
    tunnel.slot = slot;
    tunnel.generation = hops.generation;
    tunnel.revision = servers.revision(slot);
    tunnel.family = servers.family(slot);
    tunnel.type = servers.tunnelType(slot);
    tunnel.port = servers.tunnelPort(slot);
    tunnel.checksum = servers.tunnelChecksum(slot);
    tunnel.overhead = tunnelOverhead(tunnel, false);
    tunnel.destination0 = servers.addressWord(slot, 0);
    tunnel.destination1 = servers.addressWord(slot, 1);
    tunnel.destination2 = servers.addressWord(slot, 2);
    tunnel.destination3 = servers.addressWord(slot, 3);
    if (tunnel.family === IPV4) {
      tunnel.source0 = hops.source4(tunnel.destination0);
      tunnel.source1 = 0;
      tunnel.source2 = 0;
      tunnel.source3 = 0;
      tunnel.hasSource = tunnel.source0 !== 0;
      return;
    }
    const { destination0, destination1, destination2, destination3 } = tunnel;
    tunnel.hasSource = hops.source6(destination0, destination1, destination2, destination3);
    tunnel.source0 = hops.sourceWords[0]!;
    tunnel.source1 = hops.sourceWords[1]!;
    tunnel.source2 = hops.sourceWords[2]!;
    tunnel.source3 = hops.sourceWords[3]!;
  }
}

/** Why a packet does not go into a tunnel, by what there is in place of a hop. */
function refusal(hop: number): number {
  if (hop === HOP_LOCAL) return PASS.local_real_server;
  // The host would take it for a packet with a forged source: its own address.
  return hop === HOP_HOST ? DROP.tunnel_unserved : DROP.no_route;
}
