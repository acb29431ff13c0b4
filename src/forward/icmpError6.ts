/**
 * ICMPv6 errors about a packet (RFC 4443), built around it in its own chunk as icmpError.ts does
 * for IPv4.
 */
import { ETHERNET_BYTES, setEthernetType, TYPE_IPV6 } from '../net/ethernet';
import { ICMP_BYTES } from '../net/icmp';
import { writeIcmp6Error } from '../net/icmp6';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  PROTOCOL_ICMP6,
  writeIpv6Address,
  writeIpv6Header,
} from '../net/ipv6';

/** As much of the packet as the smallest MTU of IPv6 has room for (RFC 4443 2.4 c). */
const MESSAGE_BYTES_MAX = 1280;
const QUOTED_BYTES_MAX = MESSAGE_BYTES_MAX - IPV6_BYTES - ICMP_BYTES;
const HOP_LIMIT = 64;

/** How far in front of the quoted packet the error's frame begins. */
export const ICMP_ERROR6_PREFIX = ETHERNET_BYTES + IPV6_BYTES + ICMP_BYTES;

/**
 * May this packet's source get an error: not the unspecified address, loopback or multicast, and
 * nobody whose packet went to a multicast address (RFC 4443 2.4 e). `ip`: its header.
 */
export function mayGetIcmpError6(view: DataView, ip: number): boolean {
  const source = ip + IPV6_SOURCE;
  if (view.getUint8(source) === 0xff || view.getUint8(ip + IPV6_DESTINATION) === 0xff) return false;
  const isNearZero =
    (view.getInt32(source) | view.getInt32(source + 4) | view.getInt32(source + 8)) === 0;
  const last = view.getInt32(source + 12);
  return !isNearZero || (last !== 0 && last !== 1);
}

/**
 * Makes an ICMPv6 error to the source of the IPv6 packet at `quoted`, of which `quotedBytes` are
 * there, from the address in the four words. The frame begins ICMP_ERROR6_PREFIX bytes in front of
 * it; its MACs are still to be written. Returns the frame's length.
 */
export function buildIcmpError6(
  view: DataView,
  quoted: number,
  quotedBytes: number,
  type: number,
  code: number,
  rest: number,
  source0: number,
  source1: number,
  source2: number,
  source3: number,
): number {
  const message = ICMP_BYTES + Math.min(quotedBytes, QUOTED_BYTES_MAX);
  const icmp = quoted - ICMP_BYTES;
  const ip = icmp - IPV6_BYTES;
  const client = quoted + IPV6_SOURCE;
  setEthernetType(view, quoted - ICMP_ERROR6_PREFIX, TYPE_IPV6);
  writeIpv6Header(view, ip, 0, message, PROTOCOL_ICMP6, HOP_LIMIT);
  writeIpv6Address(view, ip + IPV6_SOURCE, source0, source1, source2, source3);
  writeIpv6Address(
    view,
    ip + IPV6_DESTINATION,
    view.getInt32(client),
    view.getInt32(client + 4),
    view.getInt32(client + 8),
    view.getInt32(client + 12),
  );
  writeIcmp6Error(view, icmp, type, code, rest, ip + IPV6_SOURCE, PROTOCOL_ICMP6, message);
  return ETHERNET_BYTES + IPV6_BYTES + message;
}
