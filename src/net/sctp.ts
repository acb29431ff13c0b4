/**
 * SCTP common header and chunks (RFC 9260 3): ports, verification tag, CRC32c (in the reversed
 * byte order of its appendix A), then chunks of type, flags and length. `at`: offset of the common
 * header's first byte.
 */
import { record } from '../layout/record';

export const SCTP = record('sctp', 12, {
  source: 'u16',
  destination: 'u16',
  tag: 'u32',
  checksum: 'u32',
});
export const PROTOCOL_SCTP = 132;
export const SCTP_BYTES = 12;
const CHUNK = record('sctp chunk', 4, { type: 'u8', flags: 'u8', length: 'u16' });
export const SCTP_CHUNK_BYTES = 4;

export const CHUNK_INIT = 1;
export const CHUNK_ABORT = 6;
export const CHUNK_COOKIE_ECHO = 10;
export const CHUNK_COOKIE_ACK = 11;

const { checksum: CHECKSUM } = SCTP.at;
const { length: LENGTH } = CHUNK.at;

/** Type of the chunk at `at`. */
export function chunkType(view: DataView, at: number): number {
  return view.getUint8(at);
}
/** Bytes of the chunk at `at`, its header included, without the padding to four. */
export function chunkBytes(view: DataView, at: number): number {
  return view.getUint16(at + LENGTH);
}
/** As it stands in the packet: little-endian. */
export function sctpChecksum(view: DataView, at: number): number {
  return view.getInt32(at + CHECKSUM, true);
}
export function setSctpChecksum(view: DataView, at: number, checksum: number): void {
  view.setInt32(at + CHECKSUM, checksum, true);
}

/** Castagnoli's polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78;
/** Four bytes at a time: table n is for a byte with n more behind it. */
const TABLES = new Int32Array(4 * 256);
for (let byte = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
  TABLES[byte] = value;
}
for (let at = 256; at < TABLES.length; at++) {
  const before = TABLES[at - 256]!;
  TABLES[at] = (before >>> 8) ^ TABLES[before & 0xff]!;
}

/** CRC32c of an SCTP packet of `lengthBytes` bytes, its checksum taken as 0 (RFC 9260 6.8). */
export function sctpCrc(view: DataView, at: number, lengthBytes: number): number {
  let crc = -1;
  const whole = at + (lengthBytes & ~3);
  for (let offset = at; offset < whole; offset += 4) {
    const word = offset === at + CHECKSUM ? 0 : view.getInt32(offset, true);
    crc ^= word;
    crc =
      TABLES[768 + (crc & 0xff)]! ^
      TABLES[512 + ((crc >>> 8) & 0xff)]! ^
      TABLES[256 + ((crc >>> 16) & 0xff)]! ^
      TABLES[crc >>> 24]!;
  }
  for (let offset = whole; offset < at + lengthBytes; offset++) {
    crc = (crc >>> 8) ^ TABLES[(crc ^ view.getUint8(offset)) & 0xff]!;
  }
  return ~crc;
}
