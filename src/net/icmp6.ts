/**
 * ICMPv6 errors (RFC 4443). The header is ICMP's (icmp.ts); the checksum covers a pseudo header
 * too (RFC 8200 8.1). `at`: offset of the ICMPv6 header's first byte.
 */

import { fold, sumBytes } from './checksum';
import { ICMP, writeIcmpHeader } from './icmp';

export const ICMP6_UNREACHABLE = 1;
export const ICMP6_TOO_BIG = 2;
export const ICMP6_TIME_EXCEEDED = 3;
export const CODE6_ADDRESS_UNREACHABLE = 3;
export const CODE6_PORT_UNREACHABLE = 4;
export const CODE6_HOP_LIMIT = 0;

const { checksum: CHECKSUM } = ICMP.at;
/** The two addresses of an IPv6 header lie side by side. */
const ADDRESSES_BYTES = 32;

/** Types below 128 are errors. */
export function isIcmp6Error(type: number): boolean {
  return type < 128;
}

/** Sum of the message and its pseudo header. `addresses`: offset of source and destination. */
function sumWithAddresses(
  view: DataView,
  at: number,
  addresses: number,
  protocol: number,
  lengthBytes: number,
): number {
  return fold(
    sumBytes(view, at, lengthBytes) +
      sumBytes(view, addresses, ADDRESSES_BYTES) +
      lengthBytes +
      protocol,
  );
}

/** `protocol`: ICMPv6's number, 58. `lengthBytes`: of the whole message. */
export function icmp6ChecksumHolds(
  view: DataView,
  at: number,
  addresses: number,
  protocol: number,
  lengthBytes: number,
): boolean {
  return sumWithAddresses(view, at, addresses, protocol, lengthBytes) === 0xffff;
}

/** Computes the checksum anew. Arguments as icmp6ChecksumHolds'. */
export function finishIcmp6(
  view: DataView,
  at: number,
  addresses: number,
  protocol: number,
  lengthBytes: number,
): void {
  view.setUint16(at + CHECKSUM, 0);
  const sum = sumWithAddresses(view, at, addresses, protocol, lengthBytes);
  view.setUint16(at + CHECKSUM, ~sum & 0xffff);
}

/** As writeIcmpError, for ICMPv6. */
export function writeIcmp6Error(
  view: DataView,
  at: number,
  type: number,
  code: number,
  rest: number,
  addresses: number,
  protocol: number,
  lengthBytes: number,
): void {
  writeIcmpHeader(view, at, type, code, rest);
  finishIcmp6(view, at, addresses, protocol, lengthBytes);
}
