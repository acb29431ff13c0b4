/**
 * Tunnelling (IPVS "ipip"): the packet stays as it is, but for TTL and IP header checksum, and gets
 * an outer header to the real server in front: IP alone (RFC 2003, RFC 2473, RFC 4213), IP + UDP +
 * GUE, or IP + GRE. Both families inside and outside. The server answers the client directly.
 *
 *   | Ethernet | outer IP | - / UDP, GUE / GRE | inner IP | transport ...
 *   ^ at                                       ^ ip       ^ transport
 *
 * The headers go into the room in front of the frame; the packet is not moved. Fields of the outer
 * header as IPVS sets them: TTL is the inner one after the decrement, DSCP is copied, ECN too but
 * for CE, which becomes ECT(0); the flow label is 0.
 *
 * Checksums. A frame has one checksum request at most (TX_WORDS), and two transport checksums may
 * be wanted here. The outer one is had without looking at the payload: a TCP segment or UDP
 * datagram whose checksum is right sums up to the complement of its pseudo header's sum, and so it
 * will once the device has finished an unfinished one (the kernel calls this local checksum
 * offload). So the inner request may stay what it was, and the outer checksum is written complete.
 * What promises nothing (a fragment, SCTP, UDP without a checksum) is summed. A packet whose own
 * checksum is wrong gets a wrong outer one: it ends one layer earlier.
 *
 * Remote checksum offload is the other way round: the inner checksum is left unfinished, GUE's
 * option tells the receiver where it stands, and the request is the outer UDP checksum's.
 */
import { fold, halves, pseudoSum4, sumBytes } from '../net/checksum';
import { setEthernetType, TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import {
  GRE_BYTES,
  GRE_CHECKSUM_BYTES,
  GRE_HAS_CHECKSUM,
  PROTOCOL_GRE,
  writeGre,
  writeGreWithChecksum,
} from '../net/gre';
import {
  GUE_BYTES,
  GUE_REMOTE_CHECKSUM_BYTES,
  writeGue,
  writeGueWithRemoteChecksum,
} from '../net/gue';
import {
  decrementTtl,
  IPV4_BYTES_MIN,
  ipv4Destination,
  ipv4Source,
  ipv4Tos,
  ipv4Ttl,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  writeIpv4,
} from '../net/ipv4';
import {
  decrementHopLimit,
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6HopLimit,
  pseudoSum6,
  writeIpv6Header,
} from '../net/ipv6';
import { UDP_BYTES, UDP_CHECKSUM_OFFSET, udpChecksum, udpLength } from '../net/udp';
import { TUNNEL_GUE, TUNNEL_IPIP, TUNNEL_REMOTE_CHECKSUM } from '../table/realServer';
import type { Packet } from '../worker/packet';
import { unfinishedChecksum, unfinishedChecksum6 } from './checksum';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const SOURCE6 = IPV6_SOURCE;
const DESTINATION6 = IPV6_DESTINATION;
const IPV6_HEADER_BYTES = IPV6_BYTES;
const IPIP = TUNNEL_IPIP;
const GUE = TUNNEL_GUE;
const REMOTE = TUNNEL_REMOTE_CHECKSUM;
const TCP = PROTOCOL_TCP;
const UDP = PROTOCOL_UDP;
const GRE_PROTOCOL = PROTOCOL_GRE;
const ETHERTYPE_IPV4 = TYPE_IPV4;
const ETHERTYPE_IPV6 = TYPE_IPV6;
const IPV4_BYTES = IPV4_BYTES_MIN;
const UDP_HEADER_BYTES = UDP_BYTES;
const UDP_CHECKSUM = UDP_CHECKSUM_OFFSET;
const GUE_PLAIN_BYTES = GUE_BYTES;
const GUE_OPTION_BYTES = GUE_REMOTE_CHECKSUM_BYTES;
const GRE_PLAIN_BYTES = GRE_BYTES;
const GRE_WITH_CHECKSUM_BYTES = GRE_CHECKSUM_BYTES;
const GRE_CHECKSUM_FLAG = GRE_HAS_CHECKSUM;

/** Families, and no fragment, as worker/packet.ts numbers them. */
const IPV4 = 4;
const IPV6 = 6;
const WHOLE = 0;
const PROTOCOL_IPIP = 4;
const PROTOCOL_IPV6 = 41;

const ECN_BITS = 3;
const ECN_CE = 3;
const ECN_ECT_0 = 2;

/** Ports that the kernel takes for flows of its own: net.ipv4.ip_local_port_range. */
const FLOW_PORT_MIN = 32768;
const FLOW_PORT_MAX = 60999;

/** What the outer headers to one real server have in common. Addresses in host order. */
export class OuterHeader {
  family = IPV4;
  /** First word of the source; the only one of IPv4. */
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** TUNNEL_IPIP, TUNNEL_GUE, TUNNEL_GRE. */
  type = IPIP;
  /** GUE's destination port. */
  port = 0;
  /** TUNNEL_WITHOUT_CHECKSUM, TUNNEL_CHECKSUM, TUNNEL_REMOTE_CHECKSUM. */
  checksum = 0;
}

/** Bytes that go in front of a packet. `isUnfinished`: its transport checksum is. */
export function tunnelOverhead(outer: OuterHeader, isUnfinished: boolean): number {
  const ip = outer.family === IPV6 ? IPV6_HEADER_BYTES : IPV4_BYTES;
  if (outer.type === IPIP) return ip;
  if (outer.type === GUE) {
    const option = isUnfinished && outer.checksum === REMOTE ? GUE_OPTION_BYTES : 0;
    return ip + UDP_HEADER_BYTES + GUE_PLAIN_BYTES + option;
  }
  return ip + (outer.checksum === 0 ? GRE_PLAIN_BYTES : GRE_WITH_CHECKSUM_BYTES);
}

/** UDP source port of a flow in GUE: the same for all its packets, spread over the flows. */
export function flowPort(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x9e3779b1 | 0) >>> 16;
  return FLOW_PORT_MIN + ((mixed * (FLOW_PORT_MAX - FLOW_PORT_MIN + 1)) >>> 16);
}

/** The request to finish the transport checksum of the packet as it stands, 0: it is complete. */
export function innerChecksum(view: DataView, packet: Packet): number {
  const { protocol, ip, transport } = packet;
  if (packet.fragment !== WHOLE || (protocol !== TCP && protocol !== UDP)) return 0;
  const lengthBytes = packet.total - (transport - ip);
  if (packet.family !== IPV4) {
    return unfinishedChecksum6(view, packet.at, ip, transport, protocol, lengthBytes);
  }
  return unfinishedChecksum(
    view,
    packet.at,
    transport,
    protocol,
    ipv4Source(view, ip),
    ipv4Destination(view, ip),
    lengthBytes,
  );
}

/**
 * Puts the headers in front of `packet`, whose TTL goes down by one; `packet.at` moves to the new
 * frame's start, `packet.total` becomes the outer packet's length. Its other fields still say
 * where the inner packet stands. Returns the checksum request for the port (0 = none).
 * @param checksum request of the inner transport checksum, from the old frame's start, 0 = none
 * @param id of the outer IPv4 header
 * @param fragment flags of the outer IPv4 header
 * @param port GUE's source port
 */
export function encapsulate(
  view: DataView,
  packet: Packet,
  outer: OuterHeader,
  checksum: number,
  id: number,
  fragment: number,
  port: number,
): number {
  const ip = packet.ip;
  const overhead = tunnelOverhead(outer, checksum !== 0);
  const isInnerIpv4 = packet.family === IPV4;
  takeHop(view, ip, isInnerIpv4);
  const tos = outerTos(isInnerIpv4 ? ipv4Tos(view, ip) : ipv6TrafficClass(view, ip));
  const ttl = isInnerIpv4 ? ipv4Ttl(view, ip) : ipv6HopLimit(view, ip);
  const start = ip - overhead;
  const isOuterIpv4 = outer.family === IPV4;
  const between = start + (isOuterIpv4 ? IPV4_BYTES : IPV6_HEADER_BYTES);
  let protocol = isInnerIpv4 ? PROTOCOL_IPIP : PROTOCOL_IPV6;
  let request = checksum === 0 ? 0 : checksum + (overhead << 16);
  packet.at -= overhead;
  if (outer.type === GUE) {
    request = putGue(view, packet, outer, between, protocol, request, port);
    protocol = UDP;
  } else if (outer.type !== IPIP) {
    putGre(view, packet, outer, between, isInnerIpv4);
    protocol = GRE_PROTOCOL;
  }
  const total = packet.total + overhead;
  if (isOuterIpv4) {
    const { source0: source, destination0: destination } = outer;
    writeIpv4(view, start, tos, total, id, protocol, ttl, source, destination, fragment);
  } else putIpv6(view, start, outer, tos, total - IPV6_HEADER_BYTES, protocol, ttl);
  setEthernetType(view, packet.at, isOuterIpv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
  packet.total = total;
  return request;
}

/** Takes one from TTL or hop limit. */
function takeHop(view: DataView, ip: number, isIpv4: boolean): void {
  if (isIpv4) decrementTtl(view, ip, 0);
  else decrementHopLimit(view, ip);
}

function ipv6TrafficClass(view: DataView, ip: number): number {
  return (view.getUint16(ip) >>> 4) & 0xff;
}

/** RFC 3168 9.1.1, full functionality, as Linux has it. */
function outerTos(tos: number): number {
  return (tos & ECN_BITS) === ECN_CE ? (tos & ~ECN_BITS) | ECN_ECT_0 : tos;
}

/** Returns the checksum request, counted from the new frame's start. */
function putGue(
  view: DataView,
  packet: Packet,
  outer: OuterHeader,
  udp: number,
  protocol: number,
  request: number,
  port: number,
): number {
  const gue = udp + UDP_HEADER_BYTES;
  const length = packet.ip - udp + packet.total;
  const isRemote = request !== 0 && outer.checksum === REMOTE;
  view.setInt32(udp, (port << 16) | outer.port);
  view.setInt32(udp + 4, length << 16);
  if (isRemote) {
    const start = packet.transport - packet.ip;
    writeGueWithRemoteChecksum(view, gue, protocol, start, start + (request & 0xffff));
  } else writeGue(view, gue, protocol);
  if (outer.checksum === 0) return request;
  const pseudo = outerPseudoSum(outer, length);
  if (isRemote) {
    view.setUint16(udp + UDP_CHECKSUM, pseudo);
    return ((udp - packet.at) << 16) | UDP_CHECKSUM;
  }
  const headers = sumBytes(view, udp, UDP_HEADER_BYTES + GUE_PLAIN_BYTES);
  const sum = ~fold(pseudo + headers + innerSum(view, packet)) & 0xffff;
  view.setUint16(udp + UDP_CHECKSUM, sum === 0 ? 0xffff : sum);
  return request;
}

function putGre(
  view: DataView,
  packet: Packet,
  outer: OuterHeader,
  gre: number,
  isInnerIpv4: boolean,
): void {
  const type = isInnerIpv4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  if (outer.checksum === 0) writeGre(view, gre, type);
  else {
    const sum = fold(GRE_CHECKSUM_FLAG + type + innerSum(view, packet));
    writeGreWithChecksum(view, gre, type, ~sum & 0xffff);
  }
}

function putIpv6(
  view: DataView,
  at: number,
  outer: OuterHeader,
  trafficClass: number,
  payloadBytes: number,
  protocol: number,
  hopLimit: number,
): void {
  writeIpv6Header(view, at, trafficClass, payloadBytes, protocol, hopLimit);
  const source = at + SOURCE6;
  view.setInt32(source, outer.source0);
  view.setInt32(source + 4, outer.source1);
  view.setInt32(source + 8, outer.source2);
  view.setInt32(source + 12, outer.source3);
  const destination = at + DESTINATION6;
  view.setInt32(destination, outer.destination0);
  view.setInt32(destination + 4, outer.destination1);
  view.setInt32(destination + 8, outer.destination2);
  view.setInt32(destination + 12, outer.destination3);
}

/** Folded sum of the outer pseudo header; words that IPv4 has not are 0. */
function outerPseudoSum(outer: OuterHeader, lengthBytes: number): number {
  const source =
    halves(outer.source0) + halves(outer.source1) + halves(outer.source2) + halves(outer.source3);
  const destination =
    halves(outer.destination0) +
    halves(outer.destination1) +
    halves(outer.destination2) +
    halves(outer.destination3);
  return fold(source + destination + UDP + lengthBytes);
}

/** What the inner packet's words will sum up to once its checksums are finished; see above. */
function innerSum(view: DataView, packet: Packet): number {
  const { ip, transport } = packet;
  const lengthBytes = packet.total - (transport - ip);
  // An IPv4 header with its checksum, which the parser has verified, sums up to nothing.
  const header = packet.family === IPV4 ? 0 : sumBytes(view, ip, transport - ip);
  if (!keepsPromise(view, packet, lengthBytes)) {
    return header + sumBytes(view, transport, lengthBytes);
  }
  const { protocol } = packet;
  const pseudo =
    packet.family === IPV4
      ? pseudoSum4(ipv4Source(view, ip), ipv4Destination(view, ip), protocol, lengthBytes)
      : pseudoSum6(view, ip, protocol, lengthBytes);
  return header + (~pseudo & 0xffff);
}

/** Does the transport checksum cover all that lies behind the IP header? */
function keepsPromise(view: DataView, packet: Packet, lengthBytes: number): boolean {
  const { protocol, transport } = packet;
  if (packet.fragment !== WHOLE) return false;
  // With a routing header the pseudo header has another destination than the packet.
  if (packet.family === IPV6 && transport !== packet.ip + IPV6_HEADER_BYTES) return false;
  if (protocol === TCP) return true;
  return (
    protocol === UDP &&
    udpChecksum(view, transport) !== 0 &&
    udpLength(view, transport) === lengthBytes
  );
}
