/** What a lab reads of captured frames: Ethernet and IPv4 (RFC 894, RFC 791), offsets in bytes. */

export const MAC_BYTES = 6;
export const ETHERNET_BYTES = 14;
export const TTL_AT = 22;
export const PROTOCOL_AT = 23;
export const HEADER_CHECKSUM_AT = 24;
export const SOURCE_AT = 26;
export const DESTINATION_AT = 30;

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** "02:00:00:00:02:01" */
export function macAt(frame: Uint8Array, at: number): string {
  return hex(frame.subarray(at, at + MAC_BYTES)).replace(/(..)(?=.)/g, '$1:');
}

/** "192.168.0.10" */
export function addressAt(frame: Uint8Array, at: number): string {
  return frame.subarray(at, at + 4).join('.');
}

/** Without what a router changes: MACs, TTL, header checksum. */
export function untouched(frame: Uint8Array): string {
  const copy = Uint8Array.from(frame);
  copy.fill(0, 0, 2 * MAC_BYTES);
  copy[TTL_AT] = 0;
  copy.fill(0, HEADER_CHECKSUM_AT, HEADER_CHECKSUM_AT + 2);
  return hex(copy);
}
