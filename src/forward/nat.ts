/**
 * NAT (IPVS masquerading): on the way in the destination becomes the real server's address and
 * port, on the way back the source becomes the virtual one. TTL goes down by one both ways, all
 * checksums are adjusted incrementally. Frames are rewritten in place; addresses are int32 in
 * host order. Each function returns the checksum request for the port (0 = none).
 */
import { difference } from '../net/checksum';
import {
  ipv4Destination,
  ipv4Source,
  rewriteIpv4Destination,
  rewriteIpv4Source,
} from '../net/ipv4';
import { ports, setPorts } from '../net/transport';
import { adjustTransportChecksum, unfinishedChecksum } from './checksum';

/**
 * @param at frame
 * @param ip IPv4 header
 * @param transport TCP or UDP header
 * @param lengthBytes of transport header and payload
 */
export function translateDestination(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  address: number,
  port: number,
): number {
  const source = ipv4Source(view, ip);
  const before = ipv4Destination(view, ip);
  const unfinished = unfinishedChecksum(view, at, transport, protocol, source, before, lengthBytes);
  const pair = ports(view, transport);
  const newPair = (pair & ~0xffff) | port;
  const gain = difference(before, address);
  rewriteIpv4Destination(view, ip, address, gain);
  setPorts(view, transport, newPair);
  return adjustTransportChecksum(
    view,
    at,
    transport,
    protocol,
    source,
    address,
    lengthBytes,
    unfinished,
    gain + difference(pair, newPair),
  );
}

/** As translateDestination, for the source. */
export function translateSource(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  address: number,
  port: number,
): number {
  const before = ipv4Source(view, ip);
  const destination = ipv4Destination(view, ip);
  const unfinished = unfinishedChecksum(
    view,
    at,
    transport,
    protocol,
    before,
    destination,
    lengthBytes,
  );
  const pair = ports(view, transport);
  const newPair = (pair & 0xffff) | (port << 16);
  const gain = difference(before, address);
  rewriteIpv4Source(view, ip, address, gain);
  setPorts(view, transport, newPair);
  return adjustTransportChecksum(
    view,
    at,
    transport,
    protocol,
    address,
    destination,
    lengthBytes,
    unfinished,
    gain + difference(pair, newPair),
  );
}
