/** SCTP packets for tests. The CRC is computed bit by bit, from its definition (RFC 9260 A). */

/** CRC32c of the packet with its checksum field as 0, as the four bytes of that field. */
export function crc32c(packet: Uint8Array): Uint8Array {
  let crc = 0xffffffff;
  for (const [at, byte] of packet.entries()) {
    crc ^= at >= 8 && at < 12 ? 0 : byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  const field = new Uint8Array(4);
  new DataView(field.buffer).setUint32(0, ~crc >>> 0, true);
  return field;
}

export const CHUNKS = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
} as const;
export type ChunkName = keyof typeof CHUNKS;

export interface SctpFields {
  readonly source?: number;
  readonly destination?: number;
  readonly chunks?: readonly ChunkName[];
  readonly payload?: Uint8Array;
  /** `unfinished`: 0, as a host leaves it to its device. */
  readonly checksum?: 'correct' | 'unfinished' | 'wrong';
}

export function sctp(fields: SctpFields = {}): Uint8Array {
  const { source = 40001, destination = 80, chunks = ['init'], checksum = 'correct' } = fields;
  const payload = fields.payload ?? new Uint8Array(0);
  const length = 12 + chunks.length * 8 + payload.length;
  const packet = new Uint8Array(length);
  const view = new DataView(packet.buffer);
  view.setUint16(0, source);
  view.setUint16(2, destination);
  view.setUint32(4, 0x01020304);
  chunks.forEach((name, place) => {
    const at = 12 + place * 8;
    packet[at] = CHUNKS[name];
    view.setUint16(at + 2, 8);
  });
  packet.set(payload, 12 + chunks.length * 8);
  if (checksum !== 'unfinished') packet.set(crc32c(packet), 8);
  if (checksum === 'wrong') packet[9]! ^= 0x10;
  return packet;
}

/** "correct", "unfinished" or "wrong". */
export function sctpChecksumIs(packet: Uint8Array): string {
  const held = packet.subarray(8, 12);
  if (Buffer.from(held).equals(Buffer.from(crc32c(packet)))) return 'correct';
  return held.every((byte) => byte === 0) ? 'unfinished' : 'wrong';
}
