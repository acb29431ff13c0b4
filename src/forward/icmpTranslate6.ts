/** As icmpTranslate.ts for ICMPv6. */
import { finishIcmp6 } from '../net/icmp6';
import {
  decrementHopLimit,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  PROTOCOL_ICMP6,
  writeIpv6Address,
} from '../net/ipv6';
import { setPorts } from '../net/transport';
import type { QuotedPacket } from './icmpQuoted';

/** For `source`: the outer source address stays. */
export const UNCHANGED = -1;

/**
 * Rewrites the message at `icmp`, of `lengthBytes`, behind the IPv6 header at `ip`, whose hop limit
 * goes down by one. Each of the four addresses is the index of the first of its words in
 * `addresses`.
 */
export function translateIcmpError6(
  view: DataView,
  ip: number,
  icmp: number,
  lengthBytes: number,
  addresses: Int32Array,
  source: number,
  destination: number,
  quoted: QuotedPacket,
  quotedSource: number,
  quotedDestination: number,
  quotedPorts: number,
): void {
  if (source !== UNCHANGED) write(view, ip + IPV6_SOURCE, addresses, source);
  write(view, ip + IPV6_DESTINATION, addresses, destination);
  decrementHopLimit(view, ip);
  write(view, quoted.ip + IPV6_SOURCE, addresses, quotedSource);
  write(view, quoted.ip + IPV6_DESTINATION, addresses, quotedDestination);
  if (quoted.hasPorts) setPorts(view, quoted.transport, quotedPorts);
  finishIcmp6(view, icmp, ip + IPV6_SOURCE, PROTOCOL_ICMP6, lengthBytes);
}

function write(view: DataView, at: number, addresses: Int32Array, word: number): void {
  writeIpv6Address(
    view,
    at,
    addresses[word]!,
    addresses[word + 1]!,
    addresses[word + 2]!,
    addresses[word + 3]!,
  );
}
