/**
 * IPv4 header (RFC 791 3.1). `at`: offset of the header's first byte. Addresses are signed int32
 * in host order (10.0.0.1 = 0x0a000001).
 */
import { record } from '../layout/record';
import { swapped16 } from './byteOrder';
import { adjusted, fold, halves, sumBytes } from './checksum';

export const IPV4 = record('ipv4', 20, {
  versionLength: 'u8',
  tos: 'u8',
  totalLength: 'u16',
  id: 'u16',
  fragment: 'u16',
  ttl: 'u8',
  protocol: 'u8',
  checksum: 'u16',
  source: 'u32',
  destination: 'u32',
});
const HEADER_MIN = 20;
export const IPV4_BYTES_MIN = HEADER_MIN;
/** Offsets of the addresses from the header's start. */
export const IPV4_SOURCE = IPV4.at.source;
export const IPV4_DESTINATION = IPV4.at.destination;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const FLAG_DONT_FRAGMENT = 0x4000;
/** More fragments, or a fragment offset: any of these bits makes a packet a fragment. */
export const FRAGMENT_BITS = 0x3fff;

const {
  tos: TOS,
  totalLength: TOTAL_LENGTH,
  id: ID,
  fragment: FRAGMENT,
  ttl: TTL,
  protocol: PROTOCOL,
  checksum: CHECKSUM,
  source: SOURCE,
  destination: DESTINATION,
} = IPV4.at;

export function ipv4Version(view: DataView, at: number): number {
  return view.getUint8(at) >>> 4;
}
export function ipv4HeaderBytes(view: DataView, at: number): number {
  return (view.getUint8(at) & 0xf) << 2;
}
export function ipv4Tos(view: DataView, at: number): number {
  return view.getUint8(at + TOS);
}
export function ipv4TotalLength(view: DataView, at: number): number {
  return view.getUint16(at + TOTAL_LENGTH);
}
export function ipv4Id(view: DataView, at: number): number {
  return view.getUint16(at + ID);
}
export function ipv4Fragment(view: DataView, at: number): number {
  return view.getUint16(at + FRAGMENT);
}
export function ipv4Ttl(view: DataView, at: number): number {
  return view.getUint8(at + TTL);
}
export function ipv4Protocol(view: DataView, at: number): number {
  return view.getUint8(at + PROTOCOL);
}
export function ipv4Source(view: DataView, at: number): number {
  return view.getInt32(at + SOURCE);
}
export function ipv4Destination(view: DataView, at: number): number {
  return view.getInt32(at + DESTINATION);
}

/** True when the header's checksum holds. `headerBytes` 20..60, inside the frame. */
export function ipv4ChecksumHolds(view: DataView, at: number, headerBytes: number): boolean {
  let sum =
    halves(view.getInt32(at)) +
    halves(view.getInt32(at + 4)) +
    halves(view.getInt32(at + 8)) +
    halves(view.getInt32(at + 12)) +
    halves(view.getInt32(at + 16));
  for (let offset = HEADER_MIN; offset < headerBytes; offset += 4) {
    sum += halves(view.getInt32(at + offset));
  }
  return fold(sum) === 0xffff;
}

/**
 * Takes one from the TTL and writes one address, with the checksum adjusted for both.
 * `gain`: `difference` of the address.
 */
export function rewriteIpv4Source(view: DataView, at: number, address: number, gain: number): void {
  view.setInt32(at + SOURCE, address);
  decrementTtl(view, at, gain);
}
export function rewriteIpv4Destination(
  view: DataView,
  at: number,
  address: number,
  gain: number,
): void {
  view.setInt32(at + DESTINATION, address);
  decrementTtl(view, at, gain);
}

/**
 * TTL, protocol and checksum are one word. TTL is the high byte of its half: one less is 0x0100
 * less, in ones' complement + 0xfeff.
 */
export function decrementTtl(view: DataView, at: number, gain: number): void {
  const word = view.getInt32(at + TTL);
  const checksum = adjusted(word & 0xffff, gain + 0xfeff);
  view.setInt32(at + TTL, ((word - 0x01000000) & 0xffff0000) | checksum);
}

/**
 * As decrementTtl, of a TTL above 0, in memory that V8 follows: after a store through a DataView
 * it has to look at every object anew. `halfWords`: the same memory, little-endian.
 */
export function decrementTtlFast(
  view: DataView,
  halfWords: Uint16Array,
  at: number,
  gain: number,
): void {
  const checksum = adjusted(view.getUint16(at + CHECKSUM), gain + 0xfeff);
  // TTL is the lower byte.
  halfWords[(at + TTL) >>> 1]! -= 1;
  halfWords[(at + CHECKSUM) >>> 1] = swapped16(checksum);
}

/** Writes a 20-byte header with its checksum. `fragment`: flags and offset. */
export function writeIpv4(
  view: DataView,
  at: number,
  tos: number,
  totalLength: number,
  id: number,
  protocol: number,
  ttl: number,
  source: number,
  destination: number,
  fragment = 0,
): void {
  const word0 = 0x45000000 | (tos << 16) | totalLength;
  const word1 = ((id & 0xffff) << 16) | fragment;
  const word2 = (ttl << 24) | (protocol << 16);
  view.setInt32(at, word0);
  view.setInt32(at + 4, word1);
  view.setInt32(at + 8, word2);
  view.setInt32(at + SOURCE, source);
  view.setInt32(at + DESTINATION, destination);
  const sum = halves(word0) + halves(word1) + halves(word2) + halves(source) + halves(destination);
  view.setUint16(at + CHECKSUM, ~fold(sum) & 0xffff);
}

/** Writes both addresses; the checksum is left as it is. */
export function setIpv4Addresses(
  view: DataView,
  at: number,
  source: number,
  destination: number,
): void {
  view.setInt32(at + SOURCE, source);
  view.setInt32(at + DESTINATION, destination);
}

/** Computes the checksum of a header of `headerBytes` anew. */
export function finishIpv4(view: DataView, at: number, headerBytes: number): void {
  view.setUint16(at + CHECKSUM, 0);
  view.setUint16(at + CHECKSUM, ~fold(sumBytes(view, at, headerBytes)) & 0xffff);
}
