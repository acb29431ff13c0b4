/**
 * Address translation of an ICMP error about a packet of a connection: outer addresses, and
 * addresses and ports of the quoted packet, as the receiver of the error knows them. Checksums as
 * Linux: of the message and of the quoted IP header they are computed anew, the quoted transport
 * checksum stays as it was. IPv6: icmpTranslate6.ts.
 */
import { difference } from '../net/checksum';
import { finishIcmp } from '../net/icmp';
import {
  decrementTtl,
  finishIpv4,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4Source,
  setIpv4Addresses,
} from '../net/ipv4';
import { setPorts } from '../net/transport';
import type { QuotedPacket } from './icmpQuoted';

/**
 * Rewrites the message at `icmp`, of `lengthBytes`, behind the IPv4 header at `ip`, whose TTL goes
 * down by one.
 */
export function translateIcmpError(
  view: DataView,
  ip: number,
  icmp: number,
  lengthBytes: number,
  source: number,
  destination: number,
  quoted: QuotedPacket,
  quotedSource: number,
  quotedDestination: number,
  quotedPorts: number,
): void {
  const gain =
    difference(ipv4Source(view, ip), source) + difference(ipv4Destination(view, ip), destination);
  setIpv4Addresses(view, ip, source, destination);
  decrementTtl(view, ip, gain);
  setIpv4Addresses(view, quoted.ip, quotedSource, quotedDestination);
  finishIpv4(view, quoted.ip, ipv4HeaderBytes(view, quoted.ip));
  if (quoted.hasPorts) setPorts(view, quoted.transport, quotedPorts);
  finishIcmp(view, icmp, lengthBytes);
}
