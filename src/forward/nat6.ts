/**
 * NAT for IPv6: nat.ts with longer addresses. There is no header checksum; the hop limit goes down
 * by one. An address is four int32 words in host order.
 */
import { adjusted, difference, fold, halves } from '../net/checksum';
import { PROTOCOL_UDP } from '../net/ipv4';
import {
  decrementHopLimit,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6AddressSum,
  setIpv6Address,
} from '../net/ipv6';
import { ports, setPorts } from '../net/transport';
import { udpLength } from '../net/udp';
import { checksumOffset, putChecksum } from './checksum';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const SOURCE = IPV6_SOURCE;
const DESTINATION = IPV6_DESTINATION;
const UDP = PROTOCOL_UDP;
/** What the complement of an address's eight halves adds to the sum of them. */
const COMPLEMENTS = 8 * 0xffff;

/**
 * Writes the destination and its port (`inbound`), or the source and its port. Returns the checksum
 * request for the port (0 = none). One function for both ways: half the code to be inlined.
 * @param at frame
 * @param ip IPv6 header
 * @param transport TCP or UDP header, behind any extension headers
 * @param lengthBytes of transport header and payload
 */
export function translate6(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
  inbound: boolean,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
  port: number,
): number {
  const addressAt = ip + (inbound ? DESTINATION : SOURCE);
  const before = ipv6AddressSum(view, addressAt);
  const after = halves(word0) + halves(word1) + halves(word2) + halves(word3);
  // The rest of the pseudo header, which stays.
  const rest = ipv6AddressSum(view, ip + (inbound ? SOURCE : DESTINATION)) + protocol + lengthBytes;
  const pair = ports(view, transport);
  const newPair = inbound ? (pair & ~0xffff) | port : (pair & 0xffff) | (port << 16);
  decrementHopLimit(view, ip);
  setIpv6Address(view, addressAt, word0, word1, word2, word3);
  setPorts(view, transport, newPair);
  const offset = checksumOffset(protocol);
  const held = view.getUint16(transport + offset);
  // Unfinished, or a UDP datagram without: see checksum.ts.
  const isNone = protocol === UDP && held === 0;
  if (held === fold(before + rest) || isNone) {
    if (isNone && udpLength(view, transport) !== lengthBytes) return 0;
    view.setUint16(transport + offset, fold(after + rest));
    return ((transport - at) << 16) | offset;
  }
  const gain = COMPLEMENTS - before + after + difference(pair, newPair);
  putChecksum(view, transport + offset, protocol, adjusted(held, gain));
  return 0;
}
