/**
 * Frames for tests: a builder that stacks headers and computes what is not given, and a decoder
 * that makes a flat list of fields, so that two frames can be compared field by field.
 *
 *   ethernet().ipv4({ ttl: 1 }).tcp({ flags: 'S' }).payload('hello').build()
 *
 * Every field may lie (a length, a checksum, a header's words). Checksums are computed here from
 * the definition (RFC 1071), not with the product's code: the two check each other.
 */

import { addressBytes } from '#xvs/net/address';

export const CLIENT_MAC = '02:00:00:00:01:64';
export const DIRECTOR_MAC_0 = '02:00:00:00:01:01';
export const DIRECTOR_MAC_1 = '02:00:00:00:02:01';

/** A checksum: the value itself, what a host leaves to its device, or (UDP) none. */
export type Checksum = number | 'correct' | 'unfinished';

interface EthernetFields {
  readonly destination: string;
  readonly source: string;
  readonly type: number;
}
interface Ipv4Fields {
  readonly source: string;
  readonly destination: string;
  readonly version: number;
  readonly headerBytes: number;
  readonly tos: number;
  readonly totalLength: number;
  readonly id: number;
  /** Flags and offset: 0x4000 is DF, 0x2000 MF. */
  readonly fragment: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly checksum: number;
  readonly options: Uint8Array;
}
interface Ipv6Fields {
  readonly source: string;
  readonly destination: string;
  readonly version: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
  /** Behind the fixed header. */
  readonly payloadLength: number;
  /** Of the first header behind the fixed one. */
  readonly nextHeader: number;
  readonly hopLimit: number;
  /** Extension headers, whole, each with the next header's number in its first byte. */
  readonly extensions: Uint8Array;
  /** Of what follows the extension headers. */
  readonly protocol: number;
}
interface TcpFields {
  readonly source: number;
  readonly destination: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly headerBytes: number;
  /** Letters of FSRPAU; '' for none. */
  readonly flags: string;
  readonly window: number;
  readonly checksum: Checksum;
  readonly options: Uint8Array;
}
interface UdpFields {
  readonly source: number;
  readonly destination: number;
  readonly length: number;
  readonly checksum: Checksum;
}
interface IcmpFields {
  readonly type: number;
  readonly code: number;
  readonly rest: number;
  readonly checksum: number;
}

/** Ones' complement sum of all 16-bit words, folded; an odd last byte counts as the high one. */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let at = 0; at < bytes.length; at++) sum += at % 2 === 0 ? bytes[at]! * 256 : bytes[at]!;
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}
export function internetChecksum(bytes: Uint8Array, start = 0): number {
  return 0xffff - onesSum(bytes, start);
}

function macBytes(text: string): number[] {
  return text.split(':').map((part) => Number.parseInt(part, 16));
}
export function ipv4Bytes(text: string): number[] {
  return text.split('.').map(Number);
}
export function ipv6Bytes(text: string): number[] {
  return [...addressBytes(text)];
}
function u16(value: number): number[] {
  return [(value >>> 8) & 0xff, value & 0xff];
}
function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value)];
}

const FLAG_LETTERS = 'FSRPAU';
export function tcpFlagBits(letters: string): number {
  return [...letters].reduce((bits, letter) => {
    const bit = FLAG_LETTERS.indexOf(letter);
    if (bit < 0) throw new RangeError(`TCP flag "${letter}": ${FLAG_LETTERS} are allowed`);
    return bits | (1 << bit);
  }, 0);
}

/** Folded sum of the pseudo header; `addresses`: source and destination, 8 or 32 bytes. */
export function pseudoHeaderSum(
  addresses: Uint8Array,
  protocol: number,
  lengthBytes: number,
): number {
  return onesSum(Uint8Array.from([...addresses, 0, protocol, ...u16(lengthBytes)]));
}

/** MSS 1460, SACK, window scale 7, as Linux sends them: 12 bytes. */
export const SYN_OPTIONS = Uint8Array.from([2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7]);

type Transport =
  | { readonly kind: 'tcp'; readonly fields: Partial<TcpFields> }
  | { readonly kind: 'udp'; readonly fields: Partial<UdpFields> }
  | { readonly kind: 'icmp'; readonly fields: Partial<IcmpFields> }
  | { readonly kind: 'icmp6'; readonly fields: Partial<IcmpFields> };
const PROTOCOLS = { tcp: 6, udp: 17, icmp: 1, icmp6: 58 } as const;

export class PacketBuilder {
  readonly #ethernet: Partial<EthernetFields>;
  #ipv4: Partial<Ipv4Fields> | null = null;
  #ipv6: Partial<Ipv6Fields> | null = null;
  #transport: Transport | null = null;
  #payload = new Uint8Array(0);
  #padBytes = 0;

  constructor(fields: Partial<EthernetFields>) {
    this.#ethernet = fields;
  }

  ipv4(fields: Partial<Ipv4Fields> = {}): this {
    this.#ipv4 = fields;
    return this;
  }
  ipv6(fields: Partial<Ipv6Fields> = {}): this {
    this.#ipv6 = fields;
    return this;
  }
  tcp(fields: Partial<TcpFields> = {}): this {
    this.#transport = { kind: 'tcp', fields };
    return this;
  }
  udp(fields: Partial<UdpFields> = {}): this {
    this.#transport = { kind: 'udp', fields };
    return this;
  }
  icmp(fields: Partial<IcmpFields> = {}): this {
    this.#transport = { kind: 'icmp', fields };
    return this;
  }
  icmp6(fields: Partial<IcmpFields> = {}): this {
    this.#transport = { kind: 'icmp6', fields };
    return this;
  }
  payload(content: string | Uint8Array): this {
    this.#payload =
      typeof content === 'string'
        ? new Uint8Array(new TextEncoder().encode(content))
        : new Uint8Array(content);
    return this;
  }
  /** Bytes behind the packet, as a short frame on a wire has them. */
  pad(bytes: number): this {
    this.#padBytes = bytes;
    return this;
  }

  build(): Uint8Array {
    const { destination = DIRECTOR_MAC_0, source = CLIENT_MAC } = this.#ethernet;
    const type = this.#ethernet.type ?? (this.#ipv6 === null ? 0x0800 : 0x86dd);
    const head = [...macBytes(destination), ...macBytes(source), ...u16(type)];
    let packet: Uint8Array = this.#payload;
    if (this.#ipv4 !== null) packet = this.#buildIpv4(this.#ipv4);
    else if (this.#ipv6 !== null) packet = this.#buildIpv6(this.#ipv6);
    return Uint8Array.from([...head, ...packet, ...new Uint8Array(this.#padBytes).fill(0xee)]);
  }

  #buildIpv4(fields: Partial<Ipv4Fields>): Uint8Array {
    const { source = '10.0.1.100', destination = '198.51.100.1', options = [] } = fields;
    const addresses = Uint8Array.from([...ipv4Bytes(source), ...ipv4Bytes(destination)]);
    const protocol =
      fields.protocol ?? (this.#transport === null ? 253 : PROTOCOLS[this.#transport.kind]);
    const content = this.#buildTransport(addresses, protocol);
    const headerBytes = fields.headerBytes ?? 20 + options.length;
    const header = Uint8Array.from([
      ((fields.version ?? 4) << 4) | (headerBytes >> 2),
      fields.tos ?? 0,
      ...u16(fields.totalLength ?? 20 + options.length + content.length),
      ...u16(fields.id ?? 0x1234),
      ...u16(fields.fragment ?? 0),
      fields.ttl ?? 64,
      protocol,
      ...u16(0),
      ...addresses,
      ...options,
    ]);
    new DataView(header.buffer).setUint16(10, fields.checksum ?? internetChecksum(header));
    return Uint8Array.from([...header, ...content]);
  }

  #buildIpv6(fields: Partial<Ipv6Fields>): Uint8Array {
    const { source = 'fd00:1::100', destination = 'fd00:100::1' } = fields;
    const { extensions = new Uint8Array(0) } = fields;
    const addresses = Uint8Array.from([...ipv6Bytes(source), ...ipv6Bytes(destination)]);
    const protocol =
      fields.protocol ?? (this.#transport === null ? 253 : PROTOCOLS[this.#transport.kind]);
    const content = this.#buildTransport(addresses, protocol);
    const first =
      ((fields.version ?? 6) << 28) | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0);
    return Uint8Array.from([
      ...u32(first),
      ...u16(fields.payloadLength ?? extensions.length + content.length),
      fields.nextHeader ?? protocol,
      fields.hopLimit ?? 64,
      ...addresses,
      ...extensions,
      ...content,
    ]);
  }

  #buildTransport(addresses: Uint8Array, protocol: number): Uint8Array {
    const transport = this.#transport;
    if (transport === null) return this.#payload;
    if (transport.kind === 'icmp') return this.#buildIcmp(transport.fields, null);
    if (transport.kind === 'icmp6') return this.#buildIcmp(transport.fields, addresses);
    const header =
      transport.kind === 'tcp'
        ? tcpHeader(transport.fields)
        : udpHeader(transport.fields, this.#payload.length);
    const bytes = Uint8Array.from([...header, ...this.#payload]);
    const at = transport.kind === 'tcp' ? 16 : 6;
    const pseudo = pseudoHeaderSum(addresses, protocol, bytes.length);
    const { checksum = 'correct' } = transport.fields;
    let value = checksum === 'unfinished' ? pseudo : checksum;
    if (value === 'correct') {
      value = internetChecksum(bytes, pseudo);
      if (value === 0 && transport.kind === 'udp') value = 0xffff;
    }
    new DataView(bytes.buffer).setUint16(at, value);
    return bytes;
  }

  /** `addresses`: of the pseudo header that ICMPv6 has. */
  #buildIcmp(fields: Partial<IcmpFields>, addresses: Uint8Array | null): Uint8Array {
    const { type = addresses === null ? 8 : 128, code = 0, rest = 0x00010001 } = fields;
    const bytes = Uint8Array.from([type, code, 0, 0, ...u32(rest), ...this.#payload]);
    const pseudo =
      addresses === null ? 0 : pseudoHeaderSum(addresses, PROTOCOLS.icmp6, bytes.length);
    new DataView(bytes.buffer).setUint16(2, fields.checksum ?? internetChecksum(bytes, pseudo));
    return bytes;
  }
}

function tcpHeader(fields: Partial<TcpFields>): number[] {
  const { options = [] } = fields;
  const headerBytes = fields.headerBytes ?? 20 + options.length;
  return [
    ...u16(fields.source ?? 40001),
    ...u16(fields.destination ?? 80),
    ...u32(fields.sequence ?? 1000),
    ...u32(fields.acknowledgement ?? 0),
    (headerBytes >> 2) << 4,
    tcpFlagBits(fields.flags ?? 'S'),
    ...u16(fields.window ?? 64240),
    ...u32(0),
    ...options,
  ];
}

function udpHeader(fields: Partial<UdpFields>, payloadBytes: number): number[] {
  return [
    ...u16(fields.source ?? 40001),
    ...u16(fields.destination ?? 80),
    ...u16(fields.length ?? 8 + payloadBytes),
    ...u16(0),
  ];
}

export function ethernet(fields: Partial<EthernetFields> = {}): PacketBuilder {
  return new PacketBuilder(fields);
}

/** A frame around an IP packet in hex, as recordings of crafted packets hold them. */
export function frameOf(packet: Uint8Array, fields: Partial<EthernetFields> = {}): Uint8Array {
  return ethernet(fields).payload(packet).build();
}
