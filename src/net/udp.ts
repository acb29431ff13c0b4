/** UDP header (RFC 768). `at`: offset of the header's first byte. */
import { record } from '../layout/record';

export const UDP = record('udp', 8, {
  source: 'u16',
  destination: 'u16',
  length: 'u16',
  checksum: 'u16',
});
export const UDP_BYTES = 8;
export const UDP_CHECKSUM_OFFSET = UDP.at.checksum;

const { length: LENGTH, checksum: CHECKSUM } = UDP.at;

export function udpLength(view: DataView, at: number): number {
  return view.getUint16(at + LENGTH);
}
/** 0: the sender computed none. */
export function udpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM);
}
export function setUdpChecksum(view: DataView, at: number, checksum: number): void {
  view.setUint16(at + CHECKSUM, checksum);
}
