/**
 * ICMP errors about a packet (RFC 792, RFC 1812 4.3.2), built around it in its own chunk: the new
 * headers go in front of the quoted packet, which is not moved. IPv6: icmpError6.ts.
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

/** How far in front of the quoted packet the error's frame begins. */
export const ICMP_ERROR_PREFIX = ETHERNET_BYTES + IPV4_BYTES_MIN + ICMP_BYTES;

/** Who never gets an ICMP error: unspecified, loopback, multicast, broadcast (RFC 1122 3.2.2). */
export function mayGetIcmpError(source: number): boolean {
  const first = source >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/**
 * Makes an ICMP error to the source of the IPv4 packet at `quoted`, of which `quotedBytes` are
 * there. The frame begins ICMP_ERROR_PREFIX bytes in front of it; its MACs are still to be
 * written. Returns the frame's length.
 */
export function buildIcmpError(
  view: DataView,
  quoted: number,
  quotedBytes: number,
  type: number,
  code: number,
  rest: number,
  source: number,
  id: number,
): number {
  const client = ipv4Source(view, quoted);
  const tos = (ipv4Tos(view, quoted) & TOS_KEPT) | TOS_CONTROL;
  const message = ICMP_BYTES + Math.min(quotedBytes, QUOTED_BYTES_MAX);
  const icmp = quoted - ICMP_BYTES;
  const ip = icmp - IPV4_BYTES_MIN;
  setEthernetType(view, quoted - ICMP_ERROR_PREFIX, TYPE_IPV4);
  writeIpv4(view, ip, tos, IPV4_BYTES_MIN + message, id, PROTOCOL_ICMP, TTL, source, client);
  writeIcmpError(view, icmp, type, code, rest, message);
  return ETHERNET_BYTES + IPV4_BYTES_MIN + message;
}
