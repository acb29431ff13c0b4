/**
 * What a real server does with a tunnel's frame: takes the outer header off, verifies its
 * checksums, finishes a checksum that was left to it. Written from the definitions (RFC 2003,
 * RFC 2784, GUE), not with the product's code: the two check each other.
 */
import { internetChecksum, onesSum } from './packet';

export type TunnelKind = 'ipip' | 'gue' | 'gre';
type ChecksumIs = 'none' | 'correct' | 'wrong';

export interface Decapsulated {
  readonly family: 4 | 6;
  readonly kind: TunnelKind;
  readonly source: string;
  readonly destination: string;
  readonly tos: number;
  readonly ttl: number;
  /** IPv4 only, else 0. */
  readonly id: number;
  readonly fragment: number;
  /** Of the outer IPv4 header; "none" of IPv6. */
  readonly headerChecksum: ChecksumIs;
  /** Of UDP or GRE. */
  readonly checksum: ChecksumIs;
  /** GUE's ports, else 0. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Did the sender leave the inner checksum to the receiver? */
  readonly isRemote: boolean;
  readonly innerFamily: 4 | 6;
  /** The packet as the server gets it. */
  readonly inner: Uint8Array;
  /** Bytes of all headers in front of it. */
  readonly overhead: number;
}

interface Outer {
  readonly fields: Pick<
    Decapsulated,
    'family' | 'source' | 'destination' | 'tos' | 'ttl' | 'id' | 'fragment' | 'headerChecksum'
  >;
  readonly protocol: number;
  /** Bytes of both addresses, for the pseudo header. */
  readonly addresses: Uint8Array;
  readonly content: Uint8Array;
  readonly headerBytes: number;
}

const hexAddress = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function outerIpv4(packet: Uint8Array): Outer {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const headerBytes = (packet[0]! & 15) * 4;
  return {
    fields: {
      family: 4,
      source: packet.subarray(12, 16).join('.'),
      destination: packet.subarray(16, 20).join('.'),
      tos: packet[1]!,
      ttl: packet[8]!,
      id: view.getUint16(4),
      fragment: view.getUint16(6),
      headerChecksum: internetChecksum(packet.subarray(0, headerBytes)) === 0 ? 'correct' : 'wrong',
    },
    protocol: packet[9]!,
    addresses: packet.subarray(12, 20),
    content: packet.subarray(headerBytes, view.getUint16(2)),
    headerBytes,
  };
}

function outerIpv6(packet: Uint8Array): Outer {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if ((view.getUint32(0) & 0xfffff) !== 0) throw new RangeError('the outer flow label is not 0');
  return {
    fields: {
      family: 6,
      source: hexAddress(packet.subarray(8, 24)),
      destination: hexAddress(packet.subarray(24, 40)),
      tos: (view.getUint16(0) >>> 4) & 0xff,
      ttl: packet[7]!,
      id: 0,
      fragment: 0,
      headerChecksum: 'none',
    },
    protocol: packet[6]!,
    addresses: packet.subarray(8, 40),
    content: packet.subarray(40, 40 + view.getUint16(4)),
    headerBytes: 40,
  };
}

const NO_PORTS = { sourcePort: 0, destinationPort: 0, isRemote: false };

function familyOf(number: number, ipv4: number, ipv6: number): 4 | 6 {
  if (number === ipv4) return 4;
  if (number === ipv6) return 6;
  throw new RangeError(`inner protocol ${number}: ${ipv4} and ${ipv6} are allowed`);
}

function fromGre({ fields, content, headerBytes }: Outer): Decapsulated {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const flags = view.getUint16(0);
  if (flags !== 0 && flags !== 0x8000) throw new RangeError(`GRE flags ${flags.toString(16)}`);
  const greBytes = flags === 0 ? 4 : 8;
  if (greBytes === 8 && view.getUint16(6) !== 0) throw new RangeError("GRE's reserved word");
  const sum = internetChecksum(content) === 0 ? 'correct' : 'wrong';
  return {
    ...fields,
    ...NO_PORTS,
    kind: 'gre',
    checksum: flags === 0 ? 'none' : sum,
    innerFamily: familyOf(view.getUint16(2), 0x0800, 0x86dd),
    inner: content.slice(greBytes),
    overhead: headerBytes + greBytes,
  };
}

function udpChecksumIs({ addresses, content }: Outer): ChecksumIs {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  if (view.getUint16(6) === 0) return 'none';
  const pseudo = [...addresses, 0, 17, content.length >> 8, content.length & 255];
  return internetChecksum(content, onesSum(Uint8Array.from(pseudo))) === 0 ? 'correct' : 'wrong';
}

function fromGue(outer: Outer): Decapsulated {
  const { fields, content, headerBytes } = outer;
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  if (view.getUint16(4) !== content.length) throw new RangeError("GUE's UDP length");
  const first = content[8]!;
  if (first >> 5 !== 0) throw new RangeError(`GUE version or control: ${first.toString(16)}`);
  const optionBytes = (first & 31) * 4;
  const flags = view.getUint16(10);
  if (flags !== (optionBytes === 0 ? 0 : 1)) throw new RangeError(`GUE flags ${flags}`);
  const inner = content.slice(12 + optionBytes);
  if (optionBytes > 0) {
    if (optionBytes !== 8 || view.getUint32(12) !== 0x80000000) throw new RangeError('GUE option');
    const innerView = new DataView(inner.buffer);
    const sum = internetChecksum(inner.subarray(view.getUint16(16)));
    innerView.setUint16(view.getUint16(18), sum === 0 ? 0xffff : sum);
  }
  return {
    ...fields,
    kind: 'gue',
    checksum: udpChecksumIs(outer),
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    isRemote: optionBytes > 0,
    innerFamily: familyOf(content[9]!, 4, 41),
    inner,
    overhead: headerBytes + 12 + optionBytes,
  };
}

/** Throws a RangeError for what is no tunnel's frame. */
export function decapsulate(frame: Uint8Array): Decapsulated {
  const type = (frame[12]! << 8) | frame[13]!;
  const packet = frame.subarray(14);
  const isIpv4 = familyOf(type, 0x0800, 0x86dd) === 4;
  const outer = isIpv4 ? outerIpv4(packet) : outerIpv6(packet);
  if (outer.protocol === 47) return fromGre(outer);
  if (outer.protocol === 17) return fromGue(outer);
  return {
    ...outer.fields,
    ...NO_PORTS,
    kind: 'ipip',
    checksum: 'none',
    innerFamily: familyOf(outer.protocol, 4, 41),
    inner: outer.content.slice(),
    overhead: outer.headerBytes,
  };
}
