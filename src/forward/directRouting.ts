/**
 * Direct routing (IPVS "gatewaying"): the packet goes to the real server's MAC as it is, but for
 * TTL and the IP header checksum; the server has the VIP itself and answers the client directly.
 */
import { decrementTtl, ipv4Destination, ipv4Source } from '../net/ipv4';
import { unfinishedChecksum } from './checksum';

/**
 * Takes one from the TTL. Returns the checksum request for the port (0 = none): an unfinished
 * transport checksum has to be finished here too. Arguments as translateDestination's.
 */
export function routeDirectly(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
): number {
  const source = ipv4Source(view, ip);
  const destination = ipv4Destination(view, ip);
  decrementTtl(view, ip, 0);
  return unfinishedChecksum(view, at, transport, protocol, source, destination, lengthBytes);
}
