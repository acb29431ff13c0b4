/**
 * NAT (IPVS masquerading): on the way in the destination becomes the real server's address and
 * port, on the way back the source becomes the virtual one. TTL goes down by one both ways, all
 * checksums are adjusted incrementally. Frames are rewritten in place; addresses are int32 in
 * host order.
 */
import { swapped16 } from '../net/byteOrder';
import { adjusted, difference, pseudoSum4 } from '../net/checksum';
import { decrementTtlFast, IPV4_DESTINATION, IPV4_SOURCE, PROTOCOL_UDP } from '../net/ipv4';
import { ports } from '../net/transport';
import { udpLength } from '../net/udp';
import { checksumOffset, written } from './checksum';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [SOURCE, DESTINATION, UDP] = [IPV4_SOURCE, IPV4_DESTINATION, PROTOCOL_UDP];

/**
 * Gives a packet its new destination or source. Returns the checksum request for the port (0 =
 * none).
 * @param at frame
 * @param ip IPv4 header
 * @param transport TCP or UDP header
 * @param lengthBytes of transport header and payload
 * @param field of the header: IPV4_DESTINATION or IPV4_SOURCE
 */
export function translate(
  view: DataView,
  halfWords: Uint16Array,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  field: number,
  address: number,
  port: number,
): number {
  const before = view.getInt32(ip + field);
  const other = view.getInt32(ip + (SOURCE + DESTINATION - field));
  const pair = ports(view, transport);
  // Bits of the port in the pair: 0 for the destination's.
  const shift = (DESTINATION - field) << 2;
  const checksumAt = transport + checksumOffset(protocol);
  const held = view.getUint16(checksumAt);
  const isUnfinished = held === pseudoSum4(before, other, protocol, lengthBytes);
  const gain = difference(before, address);
  decrementTtlFast(view, halfWords, ip, gain);
  halfWords[(transport + ((field - SOURCE) >>> 1)) >>> 1] = swapped16(port);
  if (isUnfinished || (held === 0 && protocol === UDP)) {
    view.setInt32(ip + field, address);
    return finishAnew(view, at, transport, protocol, address, other, lengthBytes, isUnfinished);
  }
  const checksum = adjusted(held, gain + (~(pair >>> shift) & 0xffff) + port);
  halfWords[checksumAt >>> 1] = swapped16(written(protocol, checksum));
  view.setInt32(ip + field, address);
  return 0;
}

/**
 * Of a checksum that was left unfinished, or of a datagram that has none, which gets one, as IPVS
 * does: not if it ends before its packet, for the request would be about all of that. Addresses
 * are those after the rewrite.
 */
function finishAnew(
  view: DataView,
  at: number,
  transport: number,
  protocol: number,
  address: number,
  other: number,
  lengthBytes: number,
  isUnfinished: boolean,
): number {
  if (!isUnfinished && udpLength(view, transport) !== lengthBytes) return 0;
  const offset = checksumOffset(protocol);
  view.setUint16(transport + offset, pseudoSum4(address, other, protocol, lengthBytes));
  return ((transport - at) << 16) | offset;
}
