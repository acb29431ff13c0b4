/**
 * Classic pcap files (draft-ietf-opsawg-pcap) with microsecond stamps, big-endian: written here,
 * read as the labs read them.
 */
import { writeFileSync } from 'node:fs';
import type { CapturedFrame } from '#xvs/lab/pcap';

export { type CapturedFrame, parsePcap, readPcap } from '#xvs/lab/pcap';

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
const LINK_ETHERNET = 1;
const SNAP_BYTES = 262144;

export function formatPcap(frames: readonly CapturedFrame[]): Uint8Array {
  const size = frames.reduce((sum, frame) => sum + RECORD_BYTES + frame.bytes.length, HEADER_BYTES);
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, MAGIC_MICROSECONDS);
  view.setUint16(4, 2);
  view.setUint16(6, 4);
  view.setUint32(16, SNAP_BYTES);
  view.setUint32(20, LINK_ETHERNET);
  let at = HEADER_BYTES;
  for (const { seconds, bytes } of frames) {
    const microseconds = Math.round(seconds * 1e6);
    view.setUint32(at, Math.floor(microseconds / 1e6));
    view.setUint32(at + 4, microseconds % 1e6);
    view.setUint32(at + 8, bytes.length);
    view.setUint32(at + 12, bytes.length);
    file.set(bytes, at + RECORD_BYTES);
    at += RECORD_BYTES + bytes.length;
  }
  return file;
}

export function writePcap(path: string, frames: readonly CapturedFrame[]): void {
  writeFileSync(path, formatPcap(frames));
}
