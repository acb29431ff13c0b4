/**
 * Transport checksums under address translation, and unfinished ones.
 *
 * Hosts on virtual links leave the checksum to "the device": the field then holds the folded
 * pseudo-header sum only. Such a frame is known by that value, and sent on with a request to the
 * port to finish it (AF_XDP tx metadata). A false hit is harmless: the sum is computed anew.
 */
import { pseudoSum4 } from '../net/checksum';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import { pseudoSum6 } from '../net/ipv6';
import { TCP_CHECKSUM_OFFSET } from '../net/tcp';
import { UDP_CHECKSUM_OFFSET } from '../net/udp';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const TCP = PROTOCOL_TCP;
const UDP = PROTOCOL_UDP;
const TCP_CHECKSUM = TCP_CHECKSUM_OFFSET;
const UDP_CHECKSUM = UDP_CHECKSUM_OFFSET;

/** Offset of the checksum in a TCP or UDP header. */
export function checksumOffset(protocol: number): number {
  return protocol === TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

/**
 * The request (start << 16 | offset, see TX_WORDS) to finish a frame's checksum, 0 when it is
 * complete. `at`: frame, `transport`: TCP or UDP header, `lengthBytes`: of header and payload.
 */
export function unfinishedChecksum(
  view: DataView,
  at: number,
  transport: number,
  protocol: number,
  source: number,
  destination: number,
  lengthBytes: number,
): number {
  const offset = checksumOffset(protocol);
  const held = view.getUint16(transport + offset);
  if (held !== pseudoSum4(source, destination, protocol, lengthBytes)) return 0;
  return ((transport - at) << 16) | offset;
}

/** A checksum as it is written: UDP's is never 0. */
export function written(protocol: number, checksum: number): number {
  return checksum === 0 && protocol === UDP ? 0xffff : checksum;
}

/**
 * Writes a checksum. The choice is not made among the arguments of setUint16: when there is a
 * branch V8 loses sight of what `view` is, and calls its builtin in place of a store.
 */
export function putChecksum(view: DataView, at: number, protocol: number, checksum: number): void {
  const word = written(protocol, checksum);
  view.setUint16(at, word);
}

/** As unfinishedChecksum, of an IPv6 packet as it stands. */
export function unfinishedChecksum6(
  view: DataView,
  at: number,
  ip: number,
  transport: number,
  protocol: number,
  lengthBytes: number,
): number {
  const offset = checksumOffset(protocol);
  const held = view.getUint16(transport + offset);
  if (held !== pseudoSum6(view, ip, protocol, lengthBytes)) return 0;
  return ((transport - at) << 16) | offset;
}
