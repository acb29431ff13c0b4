/**
 * The full parser, for what parse.ts leaves to the general path: IPv4 with all it may carry, IPv6
 * with extension headers, fragments, SCTP, AH, ESP, ICMP errors. Fills the packet in hand. Every
 * length is checked before a field behind it is read, whatever the frame claims; what a kernel
 * would drop is malformed, what it may still make something of is the host's.
 */
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import {
  EXTENSION_BYTES_MIN,
  EXTENSIONS_MAX,
  extensionBytes6,
  isExtension6,
} from '../net/extension6';
import { FRAGMENT6_BYTES, fragmentId6, fragmentOffset6, hasMore6 } from '../net/fragment';
import { ICMP_BYTES, icmpType, isIcmpError } from '../net/icmp';
import { isIcmp6Error } from '../net/icmp6';
import { ISAKMP_PORTS, isIpsec, PROTOCOL_AH, PROTOCOL_ESP } from '../net/ipsec';
import {
  FRAGMENT_BITS,
  IPV4_BYTES_MIN,
  IPV4_DESTINATION,
  IPV4_SOURCE,
  ipv4ChecksumHolds,
  ipv4Destination,
  ipv4Fragment,
  ipv4HeaderBytes,
  ipv4Id,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv4Version,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6NextHeader,
  ipv6PayloadLength,
  ipv6Version,
  PROTOCOL_FRAGMENT,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_ICMP6,
  PROTOCOL_ROUTING,
} from '../net/ipv6';
import { PROTOCOL_SCTP, SCTP_BYTES, SCTP_CHUNK_BYTES } from '../net/sctp';
import { TCP_BYTES_MIN, tcpFlags, tcpHeaderBytes } from '../net/tcp';
import { ports } from '../net/transport';
import { UDP_BYTES, udpLength } from '../net/udp';
import { VACANCY_UNKNOWN } from '../table/connection';
import { connectionHash, connectionHash6, kindOf6 } from '../table/connectionEntry';
import { DROP, GO_ON, PASS } from '../table/counter';
import { sctpEvent } from '../table/stateSctp';
import {
  FAMILY_IPV4,
  FAMILY_IPV6,
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  type Packet,
} from './packet';

const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
const ROUTING_SEGMENTS_LEFT = 3;

/**
 * Fills `packet`, whose `at`, `port` and `tick` are set, from its frame. GO_ON, or the verdict;
 * then the fields up to where the trouble lies are right, `family`, `ip`, `total` and the
 * fragment's unless it is malformed.
 */
export function parsePacket(
  view: DataView,
  packet: Packet,
  lengthBytes: number,
  seed: number,
): number {
  packet.total = 0;
  packet.protocol = 0;
  packet.flags = 0;
  packet.ports = 0;
  packet.hash = 0;
  packet.vacancy = VACANCY_UNKNOWN;
  packet.fragment = FRAGMENT_NONE;
  packet.fragmentId = 0;
  packet.fragmentHeader = 0;
  packet.ip = packet.at + ETHERNET_BYTES;
  packet.transport = packet.ip;
  if (lengthBytes < ETHERNET_BYTES) return DROP.malformed;
  const room = lengthBytes - ETHERNET_BYTES;
  switch (ethernetType(view, packet.at)) {
    case TYPE_IPV4:
      return parseIpv4(view, packet, room, seed);
    case TYPE_IPV6:
      return parseIpv6(view, packet, room, seed);
    default:
      return PASS.protocol;
  }
}

function parseIpv4(view: DataView, packet: Packet, room: number, seed: number): number {
  const { ip } = packet;
  if (room < IPV4_BYTES_MIN) return DROP.malformed;
  const headerBytes = ipv4HeaderBytes(view, ip);
  const total = ipv4TotalLength(view, ip);
  if (ipv4Version(view, ip) !== 4 || headerBytes < IPV4_BYTES_MIN) return DROP.malformed;
  if (total < headerBytes || total > room) return DROP.malformed;
  if (!ipv4ChecksumHolds(view, ip, headerBytes)) return DROP.ip_checksum;
  packet.family = FAMILY_IPV4;
  packet.sourceAt = ip + IPV4_SOURCE;
  packet.destinationAt = ip + IPV4_DESTINATION;
  packet.total = total;
  packet.transport = ip + headerBytes;
  packet.protocol = ipv4Protocol(view, ip);
  const fragment = ipv4Fragment(view, ip);
  if ((fragment & FRAGMENT_BITS) !== 0) {
    packet.fragmentId = ipv4Id(view, ip);
    packet.fragment = (fragment & FRAGMENT_OFFSET) === 0 ? FRAGMENT_FIRST : FRAGMENT_LATER;
    // All but the last are whole units; an empty one is nothing that a host would send.
    const bytes = total - headerBytes;
    if (bytes === 0 || ((fragment & MORE_FRAGMENTS) !== 0 && (bytes & 7) !== 0)) {
      return DROP.malformed;
    }
  }
  const verdict = parseTransport(view, packet);
  if (verdict !== GO_ON) return verdict;
  packet.hash = connectionHash(
    seed,
    packet.kind,
    ipv4Source(view, ip),
    ipv4Destination(view, ip),
    packet.ports,
  );
  return GO_ON;
}

function parseIpv6(view: DataView, packet: Packet, room: number, seed: number): number {
  const { ip } = packet;
  if (room < IPV6_BYTES || ipv6Version(view, ip) !== 6) return DROP.malformed;
  const total = IPV6_BYTES + ipv6PayloadLength(view, ip);
  if (total > room) return DROP.malformed;
  packet.family = FAMILY_IPV6;
  packet.sourceAt = ip + IPV6_SOURCE;
  packet.destinationAt = ip + IPV6_DESTINATION;
  packet.total = total;
  packet.transport = ip + IPV6_BYTES;
  packet.protocol = ipv6NextHeader(view, ip);
  let verdict = walkExtensions(view, packet, ip + total);
  if (verdict === GO_ON) verdict = parseTransport(view, packet);
  if (verdict !== GO_ON) return verdict;
  const { sourceAt, destinationAt } = packet;
  packet.hash = connectionHash6(seed, packet.kind, view, sourceAt, destinationAt, packet.ports);
  return GO_ON;
}

/** Moves `transport` and `protocol` behind the extension headers, up to a later fragment's data. */
function walkExtensions(view: DataView, packet: Packet, end: number): number {
  for (let count = 0; count <= EXTENSIONS_MAX; count++) {
    const at = packet.transport;
    const { protocol } = packet;
    const isFragment = protocol === PROTOCOL_FRAGMENT;
    if (!isFragment && !isExtension6(protocol)) return GO_ON;
    if (at + EXTENSION_BYTES_MIN > end) return DROP.malformed;
    if (isFragment) {
      const verdict = parseFragment6(view, packet, end);
      if (verdict !== GO_ON || packet.fragment === FRAGMENT_LATER) return verdict;
      continue;
    }
    const bytes = extensionBytes6(view, at, protocol);
    if (at + bytes > end) return DROP.malformed;
    if (protocol === PROTOCOL_HOP_BY_HOP && count > 0) return PASS.protocol;
    // Not there yet: the host is a stop on the way, and knows what to do with it.
    const isRouted = protocol === PROTOCOL_ROUTING;
    if (isRouted && view.getUint8(at + ROUTING_SEGMENTS_LEFT) !== 0) return PASS.protocol;
    packet.protocol = view.getUint8(at);
    packet.transport = at + bytes;
  }
  return PASS.protocol;
}

/** One that is the whole datagram (RFC 6946) is no fragment, its header stays. */
function parseFragment6(view: DataView, packet: Packet, end: number): number {
  const header = packet.transport;
  // Two of them are nothing that a host would send.
  if (packet.fragmentHeader !== 0) return DROP.malformed;
  const offset = fragmentOffset6(view, header);
  const bytes = end - header - FRAGMENT6_BYTES;
  const more = hasMore6(view, header);
  packet.fragmentHeader = header;
  packet.protocol = view.getUint8(header);
  packet.transport = header + FRAGMENT6_BYTES;
  if (!more && offset === 0) return GO_ON;
  if (bytes === 0 || (more && (bytes & 7) !== 0)) return DROP.malformed;
  packet.fragmentId = fragmentId6(view, header);
  packet.fragment = offset === 0 ? FRAGMENT_FIRST : FRAGMENT_LATER;
  return GO_ON;
}

/** Ports, kind and flags. Of a later fragment only the kind, as far as its protocol tells it. */
function parseTransport(view: DataView, packet: Packet): number {
  const { protocol } = packet;
  const isIpv4 = packet.family === FAMILY_IPV4;
  const follows = isIpsec(protocol);
  const ofConnection = follows ? PROTOCOL_UDP : protocol;
  packet.kind = isIpv4 ? ofConnection : kindOf6(ofConnection);
  if (packet.fragment === FRAGMENT_LATER) {
    const isOurs = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP;
    const mayBeOurs = isOurs || protocol === PROTOCOL_SCTP || follows;
    return mayBeOurs || (!isIpv4 && isExtension6(protocol)) ? GO_ON : PASS.protocol;
  }
  switch (protocol) {
    case PROTOCOL_TCP:
      return parseTcp(view, packet);
    case PROTOCOL_UDP:
      return parseUdp(view, packet);
    case PROTOCOL_SCTP:
      return parseSctp(view, packet);
    case PROTOCOL_ESP:
    case PROTOCOL_AH:
      packet.ports = ISAKMP_PORTS;
      return GO_ON;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMP6:
      return parseIcmp(view, packet, isIpv4);
    default:
      return PASS.protocol;
  }
}

function parseTcp(view: DataView, packet: Packet): number {
  const { transport } = packet;
  const payload = packet.transportBytes;
  const isWhole = packet.fragment === FRAGMENT_NONE;
  // A first fragment with less than the header hides what it is (RFC 1858).
  if (payload < TCP_BYTES_MIN) return isWhole ? DROP.malformed : DROP.fragment_unsound;
  const bytes = tcpHeaderBytes(view, transport);
  if (bytes < TCP_BYTES_MIN) return DROP.malformed;
  // Options may go on in the second one.
  if (bytes > payload && isWhole) return DROP.malformed;
  packet.ports = ports(view, transport);
  packet.flags = tcpFlags(view, transport);
  return GO_ON;
}

function parseUdp(view: DataView, packet: Packet): number {
  const { transport } = packet;
  const payload = packet.transportBytes;
  if (payload < UDP_BYTES) return DROP.malformed;
  const length = udpLength(view, transport);
  if (length < UDP_BYTES) return DROP.malformed;
  // A first fragment tells the whole datagram's length.
  if (length > payload && packet.fragment === FRAGMENT_NONE) return DROP.malformed;
  packet.ports = ports(view, transport);
  return GO_ON;
}

function parseSctp(view: DataView, packet: Packet): number {
  const { transport } = packet;
  if (packet.transportBytes < SCTP_BYTES + SCTP_CHUNK_BYTES) return DROP.malformed;
  packet.ports = ports(view, transport);
  packet.flags = sctpEvent(view, transport + SCTP_BYTES, transport + packet.transportBytes);
  return GO_ON;
}

/** Errors that may be about a packet of ours; all others are the host's, and IPv4's fragments. */
function parseIcmp(view: DataView, packet: Packet, isIpv4: boolean): number {
  if ((packet.protocol === PROTOCOL_ICMP) !== isIpv4) return PASS.protocol;
  if (isIpv4 && packet.fragment !== FRAGMENT_NONE) return PASS.protocol;
  if (packet.transportBytes < ICMP_BYTES) return DROP.malformed;
  const type = icmpType(view, packet.transport);
  if (!isIpv4) return isIcmp6Error(type) ? GO_ON : PASS.protocol;
  return isIcmpError(type) ? GO_ON : PASS.protocol;
}
