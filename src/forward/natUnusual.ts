/**
 * NAT of what is no whole TCP or UDP packet, both families: fragments, whose checksums are never
 * unfinished (who fragments has summed before); SCTP, whose CRC32c covers no address but cannot be
 * adjusted for a port; AH and ESP, of which only addresses can change.
 */
import { adjusted, difference } from '../net/checksum';
import {
  ipv4Destination,
  ipv4Source,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  rewriteIpv4Destination,
  rewriteIpv4Source,
} from '../net/ipv4';
import { decrementHopLimit, IPV6_DESTINATION, IPV6_SOURCE, writeIpv6Address } from '../net/ipv6';
import { PROTOCOL_SCTP, sctpChecksum, sctpCrc, setSctpChecksum } from '../net/sctp';
import { ports, setPorts } from '../net/transport';
import { checksumOffset, putChecksum } from './checksum';

const IPV4 = 4;

/**
 * Writes destination (`inbound`) or source, in the header at `ip`, and the port beside it.
 * @param protocol of what `transport` points at; 0 = no transport header is there (later fragments)
 * @param lengthBytes of transport header and payload
 * @param word3 of the address, IPv4's only one
 */
export function translateUnusual(
  view: DataView,
  family: number,
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
): void {
  let gain: number;
  if (family === IPV4) gain = writeAddress4(view, ip, inbound, word3);
  else {
    decrementHopLimit(view, ip);
    const at = ip + (inbound ? IPV6_DESTINATION : IPV6_SOURCE);
    gain = writeIpv6Address(view, at, word0, word1, word2, word3);
  }
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
    const change = gain + writePort(view, transport, inbound, port);
    adjustFragment(view, transport + checksumOffset(protocol), protocol, change);
  } else if (protocol === PROTOCOL_SCTP) {
    translateSctp(view, transport, lengthBytes, inbound, port);
  }
}

function writeAddress4(view: DataView, ip: number, inbound: boolean, address: number): number {
  const before = inbound ? ipv4Destination(view, ip) : ipv4Source(view, ip);
  const gain = difference(before, address);
  if (inbound) rewriteIpv4Destination(view, ip, address, gain);
  else rewriteIpv4Source(view, ip, address, gain);
  return gain;
}

function writePort(view: DataView, transport: number, inbound: boolean, port: number): number {
  const pair = ports(view, transport);
  const newPair = inbound ? (pair & ~0xffff) | port : (pair & 0xffff) | (port << 16);
  setPorts(view, transport, newPair);
  return difference(pair, newPair);
}

/** A datagram that was sent without a checksum stays so: its other fragments are not at hand. */
function adjustFragment(view: DataView, at: number, protocol: number, gain: number): void {
  const held = view.getUint16(at);
  if (held === 0 && protocol === PROTOCOL_UDP) return;
  putChecksum(view, at, protocol, adjusted(held, gain));
}

/** The CRC is linear: what was wrong by some bits stays wrong by the same ones. */
function translateSctp(
  view: DataView,
  transport: number,
  lengthBytes: number,
  inbound: boolean,
  port: number,
): void {
  const held = sctpChecksum(view, transport);
  const error = held === 0 ? 0 : held ^ sctpCrc(view, transport, lengthBytes);
  writePort(view, transport, inbound, port);
  setSctpChecksum(view, transport, sctpCrc(view, transport, lengthBytes) ^ error);
}

/**
 * Hosts on virtual links leave SCTP's checksum to "the device", as 0, and no device on our way
 * would finish it. What says 0 gets its CRC.
 */
export function finishSctp(view: DataView, transport: number, lengthBytes: number): void {
  if (sctpChecksum(view, transport) !== 0) return;
  setSctpChecksum(view, transport, sctpCrc(view, transport, lengthBytes));
}
