/** TCP header (RFC 9293 3.1). `at`: offset of the header's first byte. */
import { record } from '../layout/record';

export const TCP = record('tcp', 20, {
  source: 'u16',
  destination: 'u16',
  sequence: 'u32',
  acknowledgement: 'u32',
  offsetFlags: 'u16',
  window: 'u16',
  checksum: 'u16',
  urgent: 'u16',
});
export const TCP_BYTES_MIN = 20;
export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;
/** Offset of the checksum from the header's start, as a checksum request names it. */
export const TCP_CHECKSUM_OFFSET = TCP.at.checksum;

const { offsetFlags: OFFSET_FLAGS, checksum: CHECKSUM } = TCP.at;

export function tcpHeaderBytes(view: DataView, at: number): number {
  return (view.getUint8(at + OFFSET_FLAGS) >>> 4) << 2;
}
/** FIN, SYN, RST, PSH, ACK, URG: the low six bits. */
export function tcpFlags(view: DataView, at: number): number {
  return view.getUint8(at + OFFSET_FLAGS + 1) & 0x3f;
}
export function tcpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM);
}
export function setTcpChecksum(view: DataView, at: number, checksum: number): void {
  view.setUint16(at + CHECKSUM, checksum);
}
