/**
 * Where in its packet a fragment lies: the flags-and-offset word of IPv4 (RFC 791 3.1) and the
 * fragment header of IPv6 (RFC 8200 4.5). `ip`: offset of the IPv4 header, `header`: of the
 * fragment header. Offsets in the packet are bytes; on the wire both families count in eights.
 */
import { record } from '../layout/record';
import { IPV4 } from './ipv4';

export const FRAGMENT6 = record('fragment6', 8, {
  nextHeader: 'u8',
  reserved: 'u8',
  offset: 'u16', // offset, two reserved bits, more
  id: 'u32',
});
export const FRAGMENT6_BYTES = 8;
/** Data of every fragment but the last is a multiple of this. */
export const FRAGMENT_UNIT = 8;
/** Of the whole packet, as its length field counts it: IPv6 leaves out the fixed header. */
export const PACKET_BYTES_MAX = 65_535;

const MORE4 = 0x2000;
const OFFSET4 = 0x1fff;
const MORE6 = 1;
const OFFSET6 = 0xfff8;

const { fragment: WORD4 } = IPV4.at;
const { nextHeader: NEXT_HEADER, reserved: RESERVED, offset: WORD6, id: ID6 } = FRAGMENT6.at;

export function fragmentOffset4(view: DataView, ip: number): number {
  return (view.getUint16(ip + WORD4) & OFFSET4) << 3;
}
export function hasMore4(view: DataView, ip: number): boolean {
  return (view.getUint16(ip + WORD4) & MORE4) !== 0;
}

/** Writes the word, without "don't fragment"; the header's checksum is still the old one. */
export function setFragment4(view: DataView, ip: number, offset: number, more: boolean): void {
  view.setUint16(ip + WORD4, (offset >>> 3) | (more ? MORE4 : 0));
}

export function fragmentOffset6(view: DataView, header: number): number {
  return view.getUint16(header + WORD6) & OFFSET6;
}
export function hasMore6(view: DataView, header: number): boolean {
  return (view.getUint16(header + WORD6) & MORE6) !== 0;
}
/** Signed int32, as it stands on the wire. */
export function fragmentId6(view: DataView, header: number): number {
  return view.getInt32(header + ID6);
}
export function fragmentNextHeader(view: DataView, header: number): number {
  return view.getUint8(header + NEXT_HEADER);
}

export function writeFragment6(
  view: DataView,
  header: number,
  nextHeader: number,
  offset: number,
  more: boolean,
  id: number,
): void {
  view.setUint8(header + NEXT_HEADER, nextHeader);
  view.setUint8(header + RESERVED, 0);
  view.setUint16(header + WORD6, offset | (more ? MORE6 : 0));
  view.setInt32(header + ID6, id);
}
