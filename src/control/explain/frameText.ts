/** A frame in a line: ends, flags, TTL, length; what a tunnel carries too. Reads any bytes. */
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4, TYPE_IPV6 } from '../../net/ethernet';
import {
  FRAGMENT_BITS,
  IPV4_BYTES_MIN,
  ipv4Destination,
  ipv4Fragment,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4Ttl,
  ipv4Version,
} from '../../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6HopLimit,
  ipv6NextHeader,
} from '../../net/ipv6';
import { tcpFlags } from '../../net/tcp';
import { addressText, addressText6, endText } from './names';

/** The outermost IP header of a frame. */
export interface IpHeader {
  readonly family: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly hops: number;
  /** Its own and the next header's offset. */
  readonly at: number;
  readonly next: number;
  readonly isFragment: boolean;
  /** Not the first of a datagram: without ports. */
  readonly isLater: boolean;
}

const FRAGMENT_HEADER = 44;
const FRAGMENT_HEADER_BYTES = 8;
const OFFSET4_BITS = 0x1fff;
const OFFSET6_BITS = 0xfff8;
const NAMES: Readonly<Record<number, string>> = {
  1: 'icmp',
  4: 'ipip',
  6: 'tcp',
  17: 'udp',
  41: 'ipip',
  47: 'gre',
  50: 'esp',
  51: 'ah',
  58: 'icmp6',
  132: 'sctp',
};
const WITH_PORTS = new Set([6, 17, 132]);
const TCP = 6;
const ICMPS = new Set([1, 58]);
const TUNNELS = new Set([4, 41]);
/** TCP's, from the lowest bit on. */
export const FLAG_LETTERS = 'FSRPAU';

export function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.length);
}

export function protocolName(protocol: number): string {
  return NAMES[protocol] ?? `protocol ${protocol}`;
}

/** null: it has none, or not whole. `at`: where it begins. */
export function readIp(view: DataView, at: number, type: number): IpHeader | null {
  if (type === TYPE_IPV4) return readIpv4(view, at);
  return type === TYPE_IPV6 ? readIpv6(view, at) : null;
}

/** Of a frame. */
export function ipOf(frame: Uint8Array): IpHeader | null {
  if (frame.length < ETHERNET_BYTES) return null;
  const view = viewOf(frame);
  return readIp(view, ETHERNET_BYTES, ethernetType(view, 0));
}

function readIpv4(view: DataView, at: number): IpHeader | null {
  if (view.byteLength < at + IPV4_BYTES_MIN || ipv4Version(view, at) !== 4) return null;
  const fragment = ipv4Fragment(view, at);
  return {
    family: 4,
    source: addressText(4, [ipv4Source(view, at)]),
    destination: addressText(4, [ipv4Destination(view, at)]),
    protocol: ipv4Protocol(view, at),
    hops: ipv4Ttl(view, at),
    at,
    next: at + ipv4HeaderBytes(view, at),
    isFragment: (fragment & FRAGMENT_BITS) !== 0,
    isLater: (fragment & OFFSET4_BITS) !== 0,
  };
}

function readIpv6(view: DataView, at: number): IpHeader | null {
  if (view.byteLength < at + IPV6_BYTES) return null;
  let protocol = ipv6NextHeader(view, at);
  let next = at + IPV6_BYTES;
  let isLater = false;
  const isFragment =
    protocol === FRAGMENT_HEADER && view.byteLength >= next + FRAGMENT_HEADER_BYTES;
  if (isFragment) {
    protocol = view.getUint8(next);
    isLater = (view.getUint16(next + 2) & OFFSET6_BITS) !== 0;
    next += FRAGMENT_HEADER_BYTES;
  }
  return {
    family: 6,
    source: addressText6(view, at + IPV6_SOURCE),
    destination: addressText6(view, at + IPV6_DESTINATION),
    protocol,
    hops: ipv6HopLimit(view, at),
    at,
    next,
    isFragment,
    isLater,
  };
}

/** "tcp 10.0.0.1:1234 > 172.25.254.100:80 [S], TTL 64, 74 bytes" */
export function describeFrame(frame: Uint8Array): string {
  const header = ipOf(frame);
  if (header === null) return `no whole IP packet, ${frame.length} bytes`;
  return `${describePacket(viewOf(frame), header)}, ${frame.length} bytes`;
}

function describePacket(view: DataView, header: IpHeader): string {
  const { protocol, source, destination, next, hops, isFragment, isLater } = header;
  const name = protocolName(protocol);
  const hasPorts = WITH_PORTS.has(protocol) && !isLater && view.byteLength >= next + 4;
  const from = hasPorts ? endText(source, view.getUint16(next)) : source;
  const to = hasPorts ? endText(destination, view.getUint16(next + 2)) : destination;
  const what = detailOf(view, header);
  const part = isFragment ? `, ${isLater ? 'later' : 'first'} fragment` : '';
  const hopName = header.family === 4 ? 'TTL' : 'hop limit';
  return `${name} ${from} > ${to}${what}, ${hopName} ${hops}${part}`;
}

function detailOf(view: DataView, { protocol, next, isLater }: IpHeader): string {
  if (isLater) return '';
  if (protocol === TCP && view.byteLength >= next + 14) {
    const flags = tcpFlags(view, next);
    return ` [${[...FLAG_LETTERS].filter((_letter, bit) => (flags & (1 << bit)) !== 0).join('')}]`;
  }
  if (ICMPS.has(protocol) && view.byteLength >= next + 2) {
    return ` type ${view.getUint8(next)} code ${view.getUint8(next + 1)}`;
  }
  if (!TUNNELS.has(protocol)) return '';
  const inner = readIp(view, next, protocol === 4 ? TYPE_IPV4 : TYPE_IPV6);
  return inner === null ? '' : ` (${describePacket(view, inner)})`;
}

/** Sixteen bytes a line, as tcpdump and xxd show them. */
export function hexDump(frame: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < frame.length; at += 16) {
    const hex = Buffer.from(frame.subarray(at, at + 16)).toString('hex');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex.replace(/(....)(?=.)/g, '$1 ')}`);
  }
  return lines.join('\n');
}
