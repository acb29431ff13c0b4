/**
 * A frame in one line, in tcpdump's manner: addresses, ports, flags, lengths, and what a tunnel
 * carries. Reads no more than was kept of it; what is cut off is said.
 */
import { formatIpv4 } from '../../net/address';
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4, TYPE_IPV6 } from '../../net/ethernet';
import { extensionBytes6, isExtension6 } from '../../net/extension6';
import { formatIpv6 } from '../../net/formatIpv6';
import {
  FRAGMENT6_BYTES,
  fragmentOffset4,
  fragmentOffset6,
  hasMore4,
  hasMore6,
} from '../../net/fragment';
import {
  GRE_BYTES,
  GRE_CHECKSUM_BYTES,
  GRE_HAS_CHECKSUM,
  greFlags,
  greProtocol,
  PROTOCOL_GRE,
} from '../../net/gre';
import { gueHeaderBytes, gueProtocol } from '../../net/gue';
import { ICMP_BYTES, icmpCode, icmpType, isIcmpError } from '../../net/icmp';
import { isIcmp6Error } from '../../net/icmp6';
import {
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6NextHeader,
  ipv6PayloadLength,
  PROTOCOL_FRAGMENT,
  PROTOCOL_ICMP6,
} from '../../net/ipv6';
import { PROTOCOL_SCTP } from '../../net/sctp';
import { TCP, TCP_FIN, TCP_RST, TCP_SYN, tcpFlags, tcpHeaderBytes } from '../../net/tcp';
import { destinationPort, ports, sourcePort } from '../../net/transport';
import { UDP_BYTES } from '../../net/udp';
import { protocolName } from '../mark/values';

const PROTOCOL_IPV4 = 4;
const PROTOCOL_IPV6 = 41;
const GUE_PORT = 6080;
/** A packet in a packet in a packet ... */
const DEPTH_MAX = 4;
/** What an ICMP error quotes has its ports, and often no more. */
const QUOTED = DEPTH_MAX + 1;
/** As tcpdump orders them. */
const FLAGS: readonly (readonly [number, string])[] = [
  [0x01, 'F'],
  [0x02, 'S'],
  [0x04, 'R'],
  [0x08, 'P'],
  [0x20, 'U'],
  [0x10, '.'],
];

/** `bytes`: what was kept of the frame. */
export function frameText(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    return typeText(view, ethernetType(view, 0), ETHERNET_BYTES, 0);
  } catch (error) {
    if (error instanceof RangeError) return 'cut off within its headers';
    throw error;
  }
}

/** Of what Ethernet, or GRE, says is an IP packet at `at`. */
function typeText(view: DataView, type: number, at: number, depth: number): string {
  if (type === TYPE_IPV4) return ipv4Text(view, at, depth);
  if (type === TYPE_IPV6) return ipv6Text(view, at, depth);
  return `ethertype 0x${type.toString(16).padStart(4, '0')}`;
}

function ipv4Text(view: DataView, ip: number, depth: number): string {
  const headerBytes = ipv4HeaderBytes(view, ip);
  const packet = {
    from: formatIpv4(ipv4Source(view, ip)),
    to: formatIpv4(ipv4Destination(view, ip)),
    protocol: ipv4Protocol(view, ip),
    at: ip + headerBytes,
    bytes: ipv4TotalLength(view, ip) - headerBytes,
  };
  const offset = fragmentOffset4(view, ip);
  const fragment = fragmentText(offset, hasMore4(view, ip));
  const text = offset > 0 ? addressesText(packet) : transportText(view, packet, depth);
  return `IP ${text}${fragment}`;
}

function ipv6Text(view: DataView, ip: number, depth: number): string {
  let protocol = ipv6NextHeader(view, ip);
  let at = ip + IPV6_BYTES;
  let fragment = '';
  let offset = 0;
  while (isExtension6(protocol) || protocol === PROTOCOL_FRAGMENT) {
    const header = at;
    if (protocol === PROTOCOL_FRAGMENT) {
      offset = fragmentOffset6(view, header);
      fragment = fragmentText(offset, hasMore6(view, header));
      at += FRAGMENT6_BYTES;
    } else at += extensionBytes6(view, header, protocol);
    protocol = view.getUint8(header);
    if (offset > 0) break;
  }
  const packet = {
    from: address6(view, ip + IPV6_SOURCE),
    to: address6(view, ip + IPV6_DESTINATION),
    protocol,
    at,
    bytes: ipv6PayloadLength(view, ip) - (at - ip - IPV6_BYTES),
  };
  const text = offset > 0 ? addressesText(packet) : transportText(view, packet, depth);
  return `IP6 ${text}${fragment}`;
}

function address6(view: DataView, at: number): string {
  const [first, second] = [view.getInt32(at), view.getInt32(at + 4)];
  return formatIpv6(first, second, view.getInt32(at + 8), view.getInt32(at + 12));
}

function fragmentText(offset: number, more: boolean): string {
  if (offset === 0 && !more) return '';
  return `, fragment at ${offset}${more ? ', more follow' : ''}`;
}

interface Carried {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  /** Of the transport header. */
  readonly at: number;
  /** From there to the packet's end. */
  readonly bytes: number;
}

function addressesText({ from, to, protocol, bytes }: Carried): string {
  return `${from} > ${to}: ${protocolName(protocol)}, length ${bytes}`;
}

function transportText(view: DataView, packet: Carried, depth: number): string {
  const { from, to, protocol, at, bytes } = packet;
  const inside = depth < DEPTH_MAX;
  const hasPorts = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP].includes(protocol);
  if (depth === QUOTED && hasPorts) return `${withPorts(view, packet)}: ${protocolName(protocol)}`;
  switch (protocol) {
    case PROTOCOL_TCP:
      return `${withPorts(view, packet)}: ${tcpText(view, at, bytes)}`;
    case PROTOCOL_UDP:
      return `${withPorts(view, packet)}: ${udpText(view, at, bytes, depth)}`;
    case PROTOCOL_SCTP:
      return `${withPorts(view, packet)}: SCTP, length ${bytes}`;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMP6:
      return `${from} > ${to}: ${icmpText(view, packet, depth)}`;
    case PROTOCOL_IPV4:
      if (inside) return `${from} > ${to}: ${ipv4Text(view, at, depth + 1)}`;
      break;
    case PROTOCOL_IPV6:
      if (inside) return `${from} > ${to}: ${ipv6Text(view, at, depth + 1)}`;
      break;
    case PROTOCOL_GRE: {
      const hasChecksum = (greFlags(view, at) & GRE_HAS_CHECKSUM) !== 0;
      const inner = at + (hasChecksum ? GRE_CHECKSUM_BYTES : GRE_BYTES);
      if (inside)
        return `${from} > ${to}: GRE ${typeText(view, greProtocol(view, at), inner, depth + 1)}`;
    }
  }
  return addressesText(packet);
}

function withPorts(view: DataView, { from, to, at }: Carried): string {
  const pair = ports(view, at);
  return `${from}.${sourcePort(pair)} > ${to}.${destinationPort(pair)}`;
}

function tcpText(view: DataView, at: number, bytes: number): string {
  const flags = tcpFlags(view, at);
  const letters = FLAGS.map(([bit, letter]) => ((flags & bit) !== 0 ? letter : '')).join('');
  const length = bytes - tcpHeaderBytes(view, at);
  const sequence = view.getUint32(at + TCP.at.sequence);
  const acknowledged = view.getUint32(at + TCP.at.acknowledgement);
  const end = length > 0 ? `:${(sequence + length) % 2 ** 32}` : '';
  const counts = length > 0 || (flags & (TCP_SYN | TCP_FIN | TCP_RST)) !== 0;
  const parts = [
    `Flags [${letters === '' ? 'none' : letters}]`,
    ...(counts ? [`seq ${sequence}${end}`] : []),
    ...(letters.endsWith('.') ? [`ack ${acknowledged}`] : []),
    `win ${view.getUint16(at + TCP.at.window)}`,
    `length ${length}`,
  ];
  return parts.join(', ');
}

function udpText(view: DataView, at: number, bytes: number, depth: number): string {
  const gue = at + UDP_BYTES;
  const isGue = destinationPort(ports(view, at)) === GUE_PORT && depth < DEPTH_MAX;
  const inner = isGue ? gueProtocol(view, gue) : 0;
  if (inner === PROTOCOL_IPV4) {
    return `GUE ${ipv4Text(view, gue + gueHeaderBytes(view, gue), depth + 1)}`;
  }
  if (inner === PROTOCOL_IPV6) {
    return `GUE ${ipv6Text(view, gue + gueHeaderBytes(view, gue), depth + 1)}`;
  }
  return `UDP, length ${bytes - UDP_BYTES}`;
}

/** Of an error also what it is about. */
function icmpText(view: DataView, { protocol, at, bytes }: Carried, depth: number): string {
  const [type, code] = [icmpType(view, at), icmpCode(view, at)];
  const is6 = protocol === PROTOCOL_ICMP6;
  const said = `ICMP${is6 ? '6' : ''} type ${type} code ${code}`;
  const isError = is6 ? isIcmp6Error(type) : isIcmpError(type);
  if (!isError || depth === QUOTED) return `${said}, length ${bytes}`;
  const about = at + ICMP_BYTES;
  const quoted = is6 ? ipv6Text(view, about, QUOTED) : ipv4Text(view, about, QUOTED);
  return `${said} about ${quoted}`;
}
