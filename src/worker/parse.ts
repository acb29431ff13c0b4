/**
 * Is this frame a packet that the pipeline can work on? Checks every length before a field behind
 * it is read, whatever the frame claims.
 */
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4 } from '../net/ethernet';
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
import { TCP_BYTES_MIN, tcpHeaderBytes } from '../net/tcp';
import { UDP_BYTES, udpLength } from '../net/udp';
import { DROP, PASS } from '../table/counter';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const ETHERNET = ETHERNET_BYTES;
const IPV4 = TYPE_IPV4;
const IPV4_MIN = IPV4_BYTES_MIN;
const FRAGMENTED = FRAGMENT_BITS;
const TCP = PROTOCOL_TCP;
const TCP_MIN = TCP_BYTES_MIN;
const UDP = PROTOCOL_UDP;
const UDP_MIN = UDP_BYTES;
const MALFORMED = ~DROP.malformed;
const BAD_CHECKSUM = ~DROP.ip_checksum;
const OTHER_PROTOCOL = ~PASS.protocol;
const FRAGMENT = ~PASS.fragment;

/**
 * Offset of the TCP or UDP header of the IPv4 frame at `at`; negative: ~verdict of why not.
 * @param lengthBytes of the frame; padding behind the packet is allowed
 */
export function parseFrame(view: DataView, at: number, lengthBytes: number): number {
  if (lengthBytes < ETHERNET) return MALFORMED;
  if (ethernetType(view, at) !== IPV4) return OTHER_PROTOCOL;
  const ip = at + ETHERNET;
  const room = lengthBytes - ETHERNET;
  if (room < IPV4_MIN) return MALFORMED;
  const headerBytes = ipv4HeaderBytes(view, ip);
  const total = ipv4TotalLength(view, ip);
  if (ipv4Version(view, ip) !== 4 || headerBytes < IPV4_MIN) return MALFORMED;
  if (total < headerBytes || total > room) return MALFORMED;
  if (!ipv4ChecksumHolds(view, ip, headerBytes)) return BAD_CHECKSUM;
  if ((ipv4Fragment(view, ip) & FRAGMENTED) !== 0) return FRAGMENT;
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
  return OTHER_PROTOCOL;
}
