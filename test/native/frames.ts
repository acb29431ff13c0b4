/** Small frames for the XDP program's tests, written byte by byte (RFC 791, 792, 768, 9293). */

export interface PacketOptions {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Flags and fragment offset, as on the wire. */
  readonly fragment?: number;
  /** Total length field, when it shall not be the truth. */
  readonly totalBytes?: number;
  readonly headerWords?: number;
}

export function ethernet(type: number, payload: readonly number[]): number[] {
  const addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
  const frame = [...addresses, type >> 8, type & 0xff, ...payload];
  while (frame.length < 60) frame.push(0);
  return frame;
}

export function ipv4(options: PacketOptions, payload: readonly number[]): number[] {
  const total = options.totalBytes ?? 20 + payload.length;
  const fragment = options.fragment ?? 0;
  const version = 0x40 | (options.headerWords ?? 5);
  return [
    ...[version, 0, total >> 8, total & 0xff],
    ...[0, 1, fragment >> 8, fragment & 0xff],
    ...[64, options.protocol, 0, 0],
    ...options.source.split('.').map(Number),
    ...options.destination.split('.').map(Number),
    ...payload,
  ];
}

/** The first 8 bytes are ports and what follows them; TCP needs 20, so that many are given. */
export function ports(source: number, destination: number): number[] {
  const bytes = new Array<number>(20).fill(0);
  bytes.splice(0, 4, source >> 8, source & 0xff, destination >> 8, destination & 0xff);
  return bytes;
}

export function icmpError(type: number, quoted: readonly number[]): number[] {
  return [type, 0, 0, 0, 0, 0, 0, 0, ...quoted];
}
