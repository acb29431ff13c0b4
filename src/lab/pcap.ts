/**
 * Reads classic pcap files (draft-ietf-opsawg-pcap): microsecond or nanosecond stamps, either byte
 * order, Ethernet only.
 */
import { readFileSync } from 'node:fs';

export interface CapturedFrame {
  readonly seconds: number;
  readonly bytes: Uint8Array;
}

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
const LINK_ETHERNET = 1;

export function parsePcap(file: Uint8Array, name = 'pcap'): CapturedFrame[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  if (file.length < HEADER_BYTES) throw new RangeError(`${name}: ${file.length} bytes, no header`);
  const isLittle = [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].includes(view.getUint32(0, true));
  const magic = view.getUint32(0, isLittle);
  if (magic !== MAGIC_MICROSECONDS && magic !== MAGIC_NANOSECONDS) {
    throw new RangeError(`${name}: magic ${magic.toString(16)} is no classic pcap`);
  }
  const link = view.getUint32(20, isLittle);
  if (link !== LINK_ETHERNET) {
    throw new RangeError(`${name}: link type ${link}: ${LINK_ETHERNET} is allowed`);
  }
  const fraction = magic === MAGIC_MICROSECONDS ? 1e-6 : 1e-9;
  const frames: CapturedFrame[] = [];
  let at = HEADER_BYTES;
  while (at + RECORD_BYTES <= file.length) {
    const seconds = view.getUint32(at, isLittle) + view.getUint32(at + 4, isLittle) * fraction;
    const length = view.getUint32(at + 8, isLittle);
    if (at + RECORD_BYTES + length > file.length) {
      throw new RangeError(`${name}: record at ${at} of ${length} bytes goes beyond the end`);
    }
    frames.push({ seconds, bytes: file.slice(at + RECORD_BYTES, at + RECORD_BYTES + length) });
    at += RECORD_BYTES + length;
  }
  return frames;
}

export function readPcap(path: string): CapturedFrame[] {
  return parsePcap(readFileSync(path), path);
}
