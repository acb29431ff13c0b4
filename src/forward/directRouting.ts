/**
 * Direct routing (IPVS "gatewaying"): the packet goes to the real server's MAC as it is, but for
 * TTL and the IP header checksum; the server has the VIP itself and answers the client directly.
 */
import {
  decrementTtl,
  decrementTtlFast,
  ipv4Destination,
  ipv4Source,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../net/ipv4';
import { decrementHopLimit } from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';
import { unfinishedChecksum, unfinishedChecksum6 } from './checksum';
import { finishSctp } from './natUnusual';

/**
 * Takes one from the TTL of a whole TCP or UDP packet. Returns the checksum request for the port
 * (0 = none): an unfinished transport checksum has to be finished here too. Arguments as
 * translateDestination's.
 */
export function routeDirectly(
  view: DataView,
  halfWords: Uint16Array,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
): number {
  const source = ipv4Source(view, ip);
  const destination = ipv4Destination(view, ip);
  decrementTtlFast(view, halfWords, ip, 0);
  return unfinishedChecksum(view, at, transport, protocol, source, destination, lengthBytes);
}

/** As routeDirectly, for whatever it is; `isWhole`: no fragment. */
export function routeDirectly4(
  view: DataView,
  halfWords: Uint16Array,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  isWhole: boolean,
): number {
  if (isWhole && (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP)) {
    return routeDirectly(view, halfWords, at, ip, transport, protocol, lengthBytes);
  }
  decrementTtl(view, ip, 0);
  if (isWhole && protocol === PROTOCOL_SCTP) finishSctp(view, transport, lengthBytes);
  return 0;
}

/** As routeDirectly4, for IPv6. */
export function routeDirectly6(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  isWhole: boolean,
): number {
  decrementHopLimit(view, ip);
  if (isWhole && (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP)) {
    return unfinishedChecksum6(view, at, ip, transport, protocol, lengthBytes);
  }
  if (isWhole && protocol === PROTOCOL_SCTP) finishSctp(view, transport, lengthBytes);
  return 0;
}
