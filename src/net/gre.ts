/**
 * GRE (RFC 2784): what tells a decapsulator the protocol of the packet behind it, with or without
 * a checksum over header and packet. `at`: offset of the header's first byte.
 */
import { record } from '../layout/record';

export const GRE = record('gre', 4, { flagsVersion: 'u16', protocol: 'u16' });
export const GRE_BYTES = 4;
/** With the checksum (2 bytes) and 2 reserved ones behind it. */
export const GRE_CHECKSUM_BYTES = 8;
/** Offset of the checksum from the header's start, where it has one. */
export const GRE_CHECKSUM_OFFSET = 4;
export const PROTOCOL_GRE = 47;
export const GRE_HAS_CHECKSUM = 0x8000;

const { flagsVersion: FLAGS_VERSION, protocol: PROTOCOL } = GRE.at;

/** `type`: Ethernet's number of the packet behind it. */
export function writeGre(view: DataView, at: number, type: number): void {
  view.setUint16(at + FLAGS_VERSION, 0);
  view.setUint16(at + PROTOCOL, type);
}

/** As writeGre, eight bytes, with the checksum that is given. */
export function writeGreWithChecksum(
  view: DataView,
  at: number,
  type: number,
  checksum: number,
): void {
  view.setUint16(at + FLAGS_VERSION, GRE_HAS_CHECKSUM);
  view.setUint16(at + PROTOCOL, type);
  view.setInt32(at + GRE_CHECKSUM_OFFSET, checksum << 16);
}

export function greFlags(view: DataView, at: number): number {
  return view.getUint16(at + FLAGS_VERSION);
}
/** Ethernet's number of the packet behind it. */
export function greProtocol(view: DataView, at: number): number {
  return view.getUint16(at + PROTOCOL);
}
