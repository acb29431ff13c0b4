/**
 * A packet as the XDP program reads it (native/xsk-napi/bpf/packet.h): every field is checked to
 * lie within the frame, extension headers are skipped, a later fragment has no ports.
 */

export interface XdpPacket {
  readonly family: 4 | 6;
  /** 16 bytes as on the wire; IPv4 in the first four and the rest 0. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Of what is at `transport`. */
  readonly protocol: number;
  readonly fragment: 'none' | 'first' | 'later';
  readonly transport: number;
  /** As the header says. */
  readonly end: number;
}

const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const ADDRESS_BYTES = 16;
const OFFSET_MAX = 0x3fff;
const EXTENSIONS_MAX = 8;
const FRAGMENT = 44;
const AH = 51;
const EXTENSIONS = new Set([0, 43, FRAGMENT, 60, AH]);
const ISAKMP_PORT = 500;
const UDP = 17;

type Fragment = XdpPacket['fragment'];

function bytesAt(view: DataView, at: number, count: number): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  bytes.set(new Uint8Array(view.buffer, view.byteOffset + at, count));
  return bytes;
}

/** null: a header is cut short or lies. */
export function readPacket(view: DataView, at: number, family: 4 | 6): XdpPacket | null {
  if (at > OFFSET_MAX) return null;
  return family === 4 ? readIpv4(view, at) : readIpv6(view, at);
}

function readIpv4(view: DataView, at: number): XdpPacket | null {
  if (at + IPV4_BYTES > view.byteLength) return null;
  const first = view.getUint8(at);
  const words = first & 15;
  if (first >>> 4 !== 4 || words < 5) return null;
  const bits = view.getUint16(at + 6);
  let fragment: Fragment = 'none';
  if ((bits & 0x1fff) !== 0) fragment = 'later';
  else if ((bits & 0x2000) !== 0) fragment = 'first';
  return {
    family: 4,
    source: bytesAt(view, at + 12, 4),
    destination: bytesAt(view, at + 16, 4),
    sourcePort: 0,
    destinationPort: 0,
    protocol: view.getUint8(at + 9),
    fragment,
    transport: at + words * 4,
    end: at + view.getUint16(at + 2),
  };
}

function readIpv6(view: DataView, at: number): XdpPacket | null {
  if (at + IPV6_BYTES > view.byteLength || view.getUint8(at) >>> 4 !== 6) return null;
  const skipped = skipExtensions(view, at + IPV6_BYTES, view.getUint8(at + 6));
  if (skipped === null) return null;
  return {
    family: 6,
    source: bytesAt(view, at + 8, ADDRESS_BYTES),
    destination: bytesAt(view, at + 24, ADDRESS_BYTES),
    sourcePort: 0,
    destinationPort: 0,
    ...skipped,
    end: at + IPV6_BYTES + view.getUint16(at + 4),
  };
}

/** As far as a fragment has them. */
function skipExtensions(
  view: DataView,
  first: number,
  nextHeader: number,
): Pick<XdpPacket, 'protocol' | 'transport' | 'fragment'> | null {
  let transport = first;
  let protocol = nextHeader;
  let fragment: Fragment = 'none';
  for (let count = 0; count < EXTENSIONS_MAX && EXTENSIONS.has(protocol); count++) {
    if (transport + 8 > view.byteLength) return null;
    const length = view.getUint8(transport + 1);
    let bytes = (length + 1) * 8;
    if (protocol === AH) bytes = (length + 2) * 4;
    if (protocol === FRAGMENT) {
      const bits = view.getUint16(transport + 2);
      bytes = 8;
      if ((bits & 0xfff8) !== 0) fragment = 'later';
      else if ((bits & 1) !== 0) fragment = 'first';
    }
    protocol = view.getUint8(transport);
    transport += bytes;
    if (transport > OFFSET_MAX) return null;
    if (fragment === 'later') break;
  }
  return { protocol, transport, fragment };
}

/** With its ports. 'none': its protocol has none; 'short': they are cut off. */
export function readPorts(view: DataView, packet: XdpPacket): XdpPacket | 'none' | 'short' {
  const { protocol, transport } = packet;
  if (protocol === 50 || protocol === AH) {
    // They follow the ISAKMP exchange of their two hosts.
    return { ...packet, protocol: UDP, sourcePort: ISAKMP_PORT, destinationPort: ISAKMP_PORT };
  }
  if (protocol !== 6 && protocol !== UDP && protocol !== 132) return 'none';
  if (transport > OFFSET_MAX || transport + 4 > view.byteLength) return 'short';
  const sourcePort = view.getUint16(transport);
  return { ...packet, sourcePort, destinationPort: view.getUint16(transport + 2) };
}
