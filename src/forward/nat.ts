/**
 * NAT (IPVS masquerading): on the way in the destination becomes the real server's address and
 * port, on the way back the source becomes the virtual one. TTL goes down by one both ways, all
 * checksums are adjusted incrementally. Frames are rewritten in place; addresses are int32 in
 * host order.
 */
import { adjusted, difference, pseudoSum4 } from '../net/checksum';
import {
  decrementTtl,
  IPV4_DESTINATION,
  IPV4_SOURCE,
  ipv4Destination,
  ipv4Source,
  PROTOCOL_UDP,
} from '../net/ipv4';
import { ports, setPorts } from '../net/transport';
import { udpLength } from '../net/udp';
import { checksumOffset, putChecksum } from './checksum';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [SOURCE, DESTINATION, UDP] = [IPV4_SOURCE, IPV4_DESTINATION, PROTOCOL_UDP];

/**
 * Gives a packet its new destination (`inbound`) or source. Returns the checksum request for the
 * port (0 = none).
 * @param at frame
 * @param ip IPv4 header
 * @param transport TCP or UDP header
 * @param lengthBytes of transport header and payload
 */
export function translate(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  inbound: boolean,
  address: number,
  port: number,
): number {
  const source = ipv4Source(view, ip);
  const destination = ipv4Destination(view, ip);
  const pair = ports(view, transport);
  const checksumAt = transport + checksumOffset(protocol);
  const held = view.getUint16(checksumAt);
  const isUnfinished = held === pseudoSum4(source, destination, protocol, lengthBytes);
  const newPair = inbound ? (pair & ~0xffff) | port : (pair & 0xffff) | (port << 16);
  const gain = difference(inbound ? destination : source, address);
  view.setInt32(ip + (inbound ? DESTINATION : SOURCE), address);
  decrementTtl(view, ip, gain);
  setPorts(view, transport, newPair);
  if (isUnfinished || (held === 0 && protocol === UDP)) {
    const from = inbound ? source : address;
    const to = inbound ? address : destination;
    return finishAnew(view, at, transport, protocol, from, to, lengthBytes, isUnfinished);
  }
  const both = gain + difference(pair, newPair);
  putChecksum(view, checksumAt, protocol, adjusted(held, both));
  return 0;
}

/**
 * Of a checksum that was left unfinished, or of a datagram that has none, which gets one, as IPVS
 * does: not if it ends before its packet, for the request would be about all of that. Source and
 * destination are those after the rewrite.
 */
function finishAnew(
  view: DataView,
  at: number,
  transport: number,
  protocol: number,
  source: number,
  destination: number,
  lengthBytes: number,
  isUnfinished: boolean,
): number {
  if (!isUnfinished && udpLength(view, transport) !== lengthBytes) return 0;
  const offset = checksumOffset(protocol);
  view.setUint16(transport + offset, pseudoSum4(source, destination, protocol, lengthBytes));
  return ((transport - at) << 16) | offset;
}
