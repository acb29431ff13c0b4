/** ICMP for IPv4 (RFC 792, RFC 1812 4.3). `at`: offset of the ICMP header's first byte. */
import { record } from '../layout/record';
import { fold, sumBytes } from './checksum';

export const ICMP = record('icmp', 8, { type: 'u8', code: 'u8', checksum: 'u16', rest: 'u32' });
export const ICMP_BYTES = 8;
export const ICMP_UNREACHABLE = 3;
export const ICMP_TIME_EXCEEDED = 11;
export const CODE_PORT_UNREACHABLE = 3;
export const CODE_FRAGMENTATION_NEEDED = 4;
export const CODE_TTL_EXCEEDED = 0;

const { type: TYPE, checksum: CHECKSUM, rest: REST } = ICMP.at;

export function icmpType(view: DataView, at: number): number {
  return view.getUint8(at + TYPE);
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
  view.setUint16(at + TYPE, (type << 8) | code);
  view.setUint16(at + CHECKSUM, 0);
  view.setInt32(at + REST, rest);
  view.setUint16(at + CHECKSUM, ~fold(sumBytes(view, at, lengthBytes)) & 0xffff);
}
