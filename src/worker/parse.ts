/**
 * Is this frame one of the many: a whole TCP or UDP packet? Checks every length before a field
 * behind it is read, whatever the frame claims. What else is IP goes to parsePacket.ts.
 */
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import {
  FRAGMENT_BITS,
  IPV4_BYTES_MIN,
  ipv4ChecksumHolds,
  ipv4Fragment,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4TotalLength,
  ipv4Version,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../net/ipv4';
import { IPV6_BYTES, ipv6NextHeader, ipv6PayloadLength, ipv6Version } from '../net/ipv6';
import { TCP_BYTES_MIN, tcpHeaderBytes } from '../net/tcp';
import { UDP_BYTES, udpLength } from '../net/udp';
import { DROP, PASS } from '../table/counter';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const ETHERNET = ETHERNET_BYTES;
const IPV4 = TYPE_IPV4;
const IPV6 = TYPE_IPV6;
const IPV6_HEADER = IPV6_BYTES;
const IPV4_MIN = IPV4_BYTES_MIN;
const FRAGMENTED = FRAGMENT_BITS;
const TCP = PROTOCOL_TCP;
const TCP_MIN = TCP_BYTES_MIN;
const UDP = PROTOCOL_UDP;
const UDP_MIN = UDP_BYTES;
const MALFORMED = ~DROP.malformed;
const BAD_CHECKSUM = ~DROP.ip_checksum;
const OTHER_PROTOCOL = ~PASS.protocol;

/** Below every ~verdict. An IP packet that parsePacket.ts has to look at. */
export const GENERAL = -1000;
/** A whole TCP or UDP packet right behind an IPv6 header, sound in all its lengths. */
export const PLAIN_IPV6 = -1001;
/** In place of an answer: parseFrame was not asked, for the frame does not begin at a word. */
export const MISPLACED = -1002;
const [TO_GENERAL, PLAIN6] = [GENERAL, PLAIN_IPV6];

/**
 * Offset of the TCP or UDP header of the IPv4 frame at `at`; negative: ~verdict of why not, or
 * GENERAL or PLAIN_IPV6.
 * @param lengthBytes of the frame; padding behind the packet is allowed
 */
export function parseFrame(view: DataView, at: number, lengthBytes: number): number {
  if (lengthBytes < ETHERNET) return MALFORMED;
  const type = ethernetType(view, at);
  if (type !== IPV4) return type === IPV6 ? parseIpv6(view, at, lengthBytes) : OTHER_PROTOCOL;
  const ip = at + ETHERNET;
  const room = lengthBytes - ETHERNET;
  if (room < IPV4_MIN) return MALFORMED;
  const headerBytes = ipv4HeaderBytes(view, ip);
  const total = ipv4TotalLength(view, ip);
  if (ipv4Version(view, ip) !== 4 || headerBytes < IPV4_MIN) return MALFORMED;
  if (total < headerBytes || total > room) return MALFORMED;
  if (!ipv4ChecksumHolds(view, ip, headerBytes)) return BAD_CHECKSUM;
  if ((ipv4Fragment(view, ip) & FRAGMENTED) !== 0) return TO_GENERAL;
  const transport = ip + headerBytes;
  const payload = total - headerBytes;
  const protocol = ipv4Protocol(view, ip);
  if (protocol === TCP) {
    if (payload < TCP_MIN) return MALFORMED;
    const tcpBytes = tcpHeaderBytes(view, transport);
    if (tcpBytes < TCP_MIN || tcpBytes > payload) return MALFORMED;
    return transport;
  }
  if (protocol === UDP) {
    if (payload < UDP_MIN) return MALFORMED;
    const length = udpLength(view, transport);
    if (length < UDP_MIN || length > payload) return MALFORMED;
    return transport;
  }
  return TO_GENERAL;
}

/** What is not sound or not plain is for the other parser to judge. */
function parseIpv6(view: DataView, at: number, lengthBytes: number): number {
  const ip = at + ETHERNET;
  const room = lengthBytes - ETHERNET;
  if (room < IPV6_HEADER || ipv6Version(view, ip) !== 6) return TO_GENERAL;
  const payload = ipv6PayloadLength(view, ip);
  if (payload > room - IPV6_HEADER) return TO_GENERAL;
  const protocol = ipv6NextHeader(view, ip);
  const transport = ip + IPV6_HEADER;
  if (protocol === TCP) {
    if (payload < TCP_MIN) return TO_GENERAL;
    const tcpBytes = tcpHeaderBytes(view, transport);
    return tcpBytes < TCP_MIN || tcpBytes > payload ? TO_GENERAL : PLAIN6;
  }
  if (protocol !== UDP || payload < UDP_MIN) return TO_GENERAL;
  const length = udpLength(view, transport);
  return length < UDP_MIN || length > payload ? TO_GENERAL : PLAIN6;
}
