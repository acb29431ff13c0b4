/** ICMP for IPv4 (RFC 792, RFC 1812 4.3). `at`: offset of the ICMP header's first byte. */
import { record } from '../layout/record';
import { fold, sumBytes } from './checksum';

export const ICMP = record('icmp', 8, { type: 'u8', code: 'u8', checksum: 'u16', rest: 'u32' });
export const ICMP_BYTES = 8;
export const ICMP_UNREACHABLE = 3;
const ICMP_SOURCE_QUENCH = 4;
export const ICMP_TIME_EXCEEDED = 11;
export const CODE_HOST_UNREACHABLE = 1;
export const CODE_PORT_UNREACHABLE = 3;
export const CODE_FRAGMENTATION_NEEDED = 4;
export const CODE_TTL_EXCEEDED = 0;

const { type: TYPE, code: CODE, checksum: CHECKSUM, rest: REST } = ICMP.at;

/** The errors that may concern a connection; parameter problems and redirects do not, in IPVS. */
export function isIcmpError(type: number): boolean {
  return type === ICMP_UNREACHABLE || type === ICMP_SOURCE_QUENCH || type === ICMP_TIME_EXCEEDED;
}

// ICMPv6 has the same header: these accessors serve both.

export function icmpType(view: DataView, at: number): number {
  return view.getUint8(at + TYPE);
}
export function icmpCode(view: DataView, at: number): number {
  return view.getUint8(at + CODE);
}
/** The second word; in errors about a packet's length the next hop's MTU. */
export function icmpRest(view: DataView, at: number): number {
  return view.getInt32(at + REST);
}

/** `lengthBytes`: of the whole message. */
export function icmpChecksumHolds(view: DataView, at: number, lengthBytes: number): boolean {
  return sumBytes(view, at, lengthBytes) === 0xffff;
}

/** Computes the checksum anew. */
export function finishIcmp(view: DataView, at: number, lengthBytes: number): void {
  view.setUint16(at + CHECKSUM, 0);
  view.setUint16(at + CHECKSUM, ~fold(sumBytes(view, at, lengthBytes)) & 0xffff);
}

/** Writes type, code and second word; the checksum is still to be computed. */
export function writeIcmpHeader(
  view: DataView,
  at: number,
  type: number,
  code: number,
  rest: number,
): void {
  view.setInt32(at + TYPE, (type << 24) | (code << 16));
  view.setInt32(at + REST, rest);
}

/**
 * Writes the header of an error message over the quoted packet that follows it already, with the
 * checksum over `lengthBytes` (header and quoted packet). `rest`: second word, the next hop's MTU
 * in fragmentation needed (RFC 1191), else 0.
 */
export function writeIcmpError(
  view: DataView,
  at: number,
  type: number,
  code: number,
  rest: number,
  lengthBytes: number,
): void {
  writeIcmpHeader(view, at, type, code, rest);
  finishIcmp(view, at, lengthBytes);
}
