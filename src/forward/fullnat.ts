/**
 * FULLNAT: both addresses and both ports change. To a real server a packet goes from a local
 * address and port of the director, to the client from the virtual service. TTL goes down by one,
 * checksums are adjusted incrementally. Frames are rewritten in place; IPv4 addresses are int32 in
 * host order, IPv6 addresses are written by `writeIpv6Address`.
 */
import { adjusted, difference, halves, pseudoSum4 } from '../net/checksum';
import { decrementTtl, IPV4, ipv4Destination, ipv4Source, PROTOCOL_UDP } from '../net/ipv4';
import { IPV6_DESTINATION, IPV6_SOURCE, ipv6AddressSum, pseudoSum6 } from '../net/ipv6';
import { udpChecksum } from '../net/udp';
import { checksumOffset, putChecksum } from './checksum';

const { source: SOURCE, destination: DESTINATION, totalLength: TOTAL_LENGTH } = IPV4.at;
const { checksum: HEADER_CHECKSUM } = IPV4.at;
const UDP = PROTOCOL_UDP;
const [SOURCE6, DESTINATION6] = [IPV6_SOURCE, IPV6_DESTINATION];

/** Writes both addresses and takes one from the TTL. Returns what a checksum over them gains. */
export function rewriteIpv4Addresses(
  view: DataView,
  ip: number,
  source: number,
  destination: number,
): number {
  const gain =
    difference(view.getInt32(ip + SOURCE), source) +
    difference(view.getInt32(ip + DESTINATION), destination);
  view.setInt32(ip + SOURCE, source);
  view.setInt32(ip + DESTINATION, destination);
  decrementTtl(view, ip, gain);
  return gain;
}

/** Writes the total length of an IPv4 packet that grew or shrank. */
export function resizeIpv4(view: DataView, ip: number, totalLength: number): void {
  const gain = difference(view.getUint16(ip + TOTAL_LENGTH), totalLength);
  view.setUint16(ip + TOTAL_LENGTH, totalLength);
  const checksum = view.getUint16(ip + HEADER_CHECKSUM);
  view.setUint16(ip + HEADER_CHECKSUM, adjusted(checksum, gain));
}

/** The halves of both addresses of the packet at `ip`, added. */
export function addressSum(view: DataView, ip: number, isIpv4: boolean): number {
  if (isIpv4) return halves(ipv4Source(view, ip)) + halves(ipv4Destination(view, ip));
  return ipv6AddressSum(view, ip + SOURCE6) + ipv6AddressSum(view, ip + DESTINATION6);
}

/** Sum of the pseudo header of the packet at `ip`, of either family. */
export function pseudoSum(
  view: DataView,
  ip: number,
  isIpv4: boolean,
  protocol: number,
  lengthBytes: number,
): number {
  if (!isIpv4) return pseudoSum6(view, ip, protocol, lengthBytes);
  return pseudoSum4(ipv4Source(view, ip), ipv4Destination(view, ip), protocol, lengthBytes);
}

/** Has the sender left the checksum to its device? `pseudo`: the sum of the pseudo header. */
export function isUnfinished(
  view: DataView,
  transport: number,
  protocol: number,
  pseudo: number,
): boolean {
  return view.getUint16(transport + checksumOffset(protocol)) === pseudo;
}

/** A UDP datagram whose sender computed no checksum. */
export function isWithoutChecksum(view: DataView, transport: number, protocol: number): boolean {
  return protocol === UDP && udpChecksum(view, transport) === 0;
}

/** Has the port finish the checksum. `pseudo`: the pseudo header's sum. Returns the request. */
export function requestChecksum(
  view: DataView,
  at: number,
  transport: number,
  protocol: number,
  pseudo: number,
): number {
  const offset = checksumOffset(protocol);
  view.setUint16(transport + offset, pseudo);
  return ((transport - at) << 16) | offset;
}

/** Adjusts a TCP or UDP checksum whose sum gained `gain`. */
export function adjustChecksum(
  view: DataView,
  transport: number,
  protocol: number,
  gain: number,
): void {
  const offset = checksumOffset(protocol);
  const checksum = adjusted(view.getUint16(transport + offset), gain);
  putChecksum(view, transport + offset, protocol, checksum);
}
