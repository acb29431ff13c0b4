/**
 * Small frames for the XDP program's tests, written byte by byte (RFC 791, 792, 768, 9293, 8200,
 * 4443).
 */
import { ipv6Bytes } from '../support/packet';

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

export function ethernet(
  type: number,
  payload: readonly number[],
  destination: readonly number[] = [2, 0, 0, 0, 0, 1],
): number[] {
  const addresses = [...destination, 2, 0, 0, 0, 0, 2];
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

export interface Packet6Options {
  readonly source: string;
  readonly destination: string;
  /** Of what follows the fixed header and the extensions. */
  readonly protocol: number;
  /** Extension headers in order, each with its number: see `extension`. */
  readonly extensions?: readonly (readonly [number: number, bytes: readonly number[]])[];
  /** Payload length field, when it shall not be the truth. */
  readonly payloadBytes?: number;
}

export function ipv6(options: Packet6Options, payload: readonly number[]): number[] {
  const { source, destination, protocol, extensions = [] } = options;
  const numbers = [...extensions.map(([number]) => number), protocol];
  const headers = extensions.flatMap(([, bytes], at) => [numbers[at + 1]!, ...bytes.slice(1)]);
  const bytes = options.payloadBytes ?? headers.length + payload.length;
  return [
    ...[0x60, 0, 0, 0, bytes >> 8, bytes & 0xff, numbers[0]!, 64],
    ...ipv6Bytes(source),
    ...ipv6Bytes(destination),
    ...headers,
    ...payload,
  ];
}

/** Hop-by-hop (0), routing (43) or destination options (60), of `words` times 8 bytes. */
export function extension(number: number, words = 1): readonly [number, number[]] {
  const bytes = new Array<number>(words * 8).fill(0);
  bytes[1] = words - 1;
  return [number, bytes];
}

/** Authentication header: its length counts words of 4 bytes, less two. */
export function authentication(): readonly [number, number[]] {
  const bytes = new Array<number>(24).fill(0);
  bytes[1] = 4;
  return [51, bytes];
}

/** `field`: offset and flags, as on the wire. */
export function fragmentHeader(field: number): readonly [number, number[]] {
  return [44, [0, 0, field >> 8, field & 0xff, 0, 0, 0, 1]];
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
