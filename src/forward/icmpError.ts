/**
 * ICMP errors about a frame (RFC 792, RFC 1812 4.3.2), built around it in its own chunk: the new
 * headers go in front of the quoted packet, which is not moved.
 */
import { ETHERNET_BYTES, setEthernetType, TYPE_IPV4 } from '../net/ethernet';
import { ICMP_BYTES, writeIcmpError } from '../net/icmp';
import { IPV4_BYTES_MIN, ipv4Source, ipv4Tos, PROTOCOL_ICMP, writeIpv4 } from '../net/ipv4';

/** A whole error message is at most this long (RFC 1812 4.3.2.3). */
const MESSAGE_BYTES_MAX = 576;
const QUOTED_BYTES_MAX = MESSAGE_BYTES_MAX - IPV4_BYTES_MIN - ICMP_BYTES;
/** Precedence "internetwork control", as Linux marks its own errors. */
const TOS_CONTROL = 0xc0;
const TOS_KEPT = 0x1e;
const TTL = 64;

/** How far in front of the frame the error message begins. */
export const ICMP_ERROR_PREFIX = IPV4_BYTES_MIN + ICMP_BYTES;

/** Who never gets an ICMP error: unspecified, loopback, multicast, broadcast (RFC 1122 3.2.2). */
export function mayGetIcmpError(source: number): boolean {
  const first = source >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/**
 * Turns the frame at `at`, an IPv4 packet of `totalLength` bytes, into an ICMP error to its
 * source. The message begins at `at - ICMP_ERROR_PREFIX`; its MACs are still to be written.
 * Returns the frame's length.
 */
export function buildIcmpError(
  view: DataView,
  at: number,
  totalLength: number,
  type: number,
  code: number,
  rest: number,
  source: number,
  id: number,
): number {
  const quoted = at + ETHERNET_BYTES;
  const client = ipv4Source(view, quoted);
  const tos = (ipv4Tos(view, quoted) & TOS_KEPT) | TOS_CONTROL;
  const quotedBytes = Math.min(totalLength, QUOTED_BYTES_MAX);
  const length = IPV4_BYTES_MIN + ICMP_BYTES + quotedBytes;
  const ip = quoted - ICMP_ERROR_PREFIX;
  setEthernetType(view, at - ICMP_ERROR_PREFIX, TYPE_IPV4);
  writeIpv4(view, ip, tos, length, id, PROTOCOL_ICMP, TTL, source, client);
  writeIcmpError(view, ip + IPV4_BYTES_MIN, type, code, rest, ICMP_BYTES + quotedBytes);
  return ETHERNET_BYTES + length;
}
