/**
 * IPv6 header (RFC 8200 3) and the numbers of extension headers (4). `at`: offset of the header's
 * first byte. An address is named by its byte offset in the frame, or is four signed int32 words in
 * host order, the first four bytes in the first.
 */
import { record } from '../layout/record';
import { difference, fold, halves } from './checksum';

export const IPV6 = record('ipv6', 40, {
  versionClassLabel: 'u32',
  payloadLength: 'u16',
  nextHeader: 'u8',
  hopLimit: 'u8',
  source: 'v6',
  destination: 'v6',
});
export const IPV6_BYTES = 40;
/** Offsets of the addresses from the header's start. */
export const IPV6_SOURCE = IPV6.at.source;
export const IPV6_DESTINATION = IPV6.at.destination;
export const IPV6_MTU_MIN = 1280;

export const PROTOCOL_HOP_BY_HOP = 0;
export const PROTOCOL_ROUTING = 43;
export const PROTOCOL_FRAGMENT = 44;
export const PROTOCOL_AUTHENTICATION = 51;
export const PROTOCOL_ICMP6 = 58;
export const PROTOCOL_NO_NEXT = 59;
export const PROTOCOL_DESTINATION_OPTIONS = 60;

const { payloadLength: PAYLOAD_LENGTH, nextHeader: NEXT_HEADER, hopLimit: HOP_LIMIT } = IPV6.at;
const { source: SOURCE, destination: DESTINATION } = IPV6.at;

export function ipv6Version(view: DataView, at: number): number {
  return view.getUint8(at) >>> 4;
}
export function ipv6PayloadLength(view: DataView, at: number): number {
  return view.getUint16(at + PAYLOAD_LENGTH);
}
export function ipv6NextHeader(view: DataView, at: number): number {
  return view.getUint8(at + NEXT_HEADER);
}
export function ipv6HopLimit(view: DataView, at: number): number {
  return view.getUint8(at + HOP_LIMIT);
}
export function decrementHopLimit(view: DataView, at: number): void {
  view.setUint8(at + HOP_LIMIT, view.getUint8(at + HOP_LIMIT) - 1);
}

/** Sum of the halves of the address at `at`. */
export function ipv6AddressSum(view: DataView, at: number): number {
  return (
    halves(view.getInt32(at)) +
    halves(view.getInt32(at + 4)) +
    halves(view.getInt32(at + 8)) +
    halves(view.getInt32(at + 12))
  );
}
/** The four words of the address at `at`, exclusive-or'd. */
export function ipv6Fold(view: DataView, at: number): number {
  return view.getInt32(at) ^ view.getInt32(at + 4) ^ view.getInt32(at + 8) ^ view.getInt32(at + 12);
}

/** Writes an address. Returns what a checksum over it gains (see `difference`). */
export function writeIpv6Address(
  view: DataView,
  at: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): number {
  const gain =
    difference(view.getInt32(at), word0) +
    difference(view.getInt32(at + 4), word1) +
    difference(view.getInt32(at + 8), word2) +
    difference(view.getInt32(at + 12), word3);
  setIpv6Address(view, at, word0, word1, word2, word3);
  return gain;
}

/** Writes an address. */
export function setIpv6Address(
  view: DataView,
  at: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): void {
  view.setInt32(at, word0);
  view.setInt32(at + 4, word1);
  view.setInt32(at + 8, word2);
  view.setInt32(at + 12, word3);
}

/**
 * Sum of the pseudo header (RFC 8200 8.1) of the packet whose IPv6 header is at `at`: folded, not
 * complemented. `lengthBytes`: of the transport header and payload.
 */
export function pseudoSum6(
  view: DataView,
  at: number,
  protocol: number,
  lengthBytes: number,
): number {
  return fold(
    ipv6AddressSum(view, at + SOURCE) +
      ipv6AddressSum(view, at + DESTINATION) +
      protocol +
      halves(lengthBytes),
  );
}

/** Writes a header without flow label, but for the addresses. `payloadBytes`: behind the header. */
export function writeIpv6Header(
  view: DataView,
  at: number,
  trafficClass: number,
  payloadBytes: number,
  nextHeader: number,
  hopLimit: number,
): void {
  view.setInt32(at, 0x60000000 | (trafficClass << 20));
  view.setInt32(at + PAYLOAD_LENGTH, (payloadBytes << 16) | (nextHeader << 8) | hopLimit);
}

/** Writes a header. `trafficClass`: its eight bits; the flow label is 0. */
export function writeIpv6(
  view: DataView,
  at: number,
  trafficClass: number,
  payloadLength: number,
  nextHeader: number,
  hopLimit: number,
  source0: number,
  source1: number,
  source2: number,
  source3: number,
  destination0: number,
  destination1: number,
  destination2: number,
  destination3: number,
): void {
  view.setInt32(at, 0x60000000 | (trafficClass << 20));
  view.setInt32(at + PAYLOAD_LENGTH, (payloadLength << 16) | (nextHeader << 8) | hopLimit);
  view.setInt32(at + SOURCE, source0);
  view.setInt32(at + SOURCE + 4, source1);
  view.setInt32(at + SOURCE + 8, source2);
  view.setInt32(at + SOURCE + 12, source3);
  view.setInt32(at + DESTINATION, destination0);
  view.setInt32(at + DESTINATION + 4, destination1);
  view.setInt32(at + DESTINATION + 8, destination2);
  view.setInt32(at + DESTINATION + 12, destination3);
}
