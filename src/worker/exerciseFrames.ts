/**
 * Frames for the exercise that are written once and sent again and again: what clients send to
 * services of every forwarding method, both families, whole, in pieces, too long, at their last
 * hop, damaged. Made before anything is sealed, so this allocates as it likes.
 */
import { fold, pseudoSum4, sumBytes } from '../net/checksum';
import { ETHERNET_BYTES, setEthernetType, TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import { FRAGMENT6_BYTES, writeFragment6 } from '../net/fragment';
import { ICMP_BYTES } from '../net/icmp';
import { IPV4_BYTES_MIN, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, writeIpv4 } from '../net/ipv4';
import {
  IPV6_BYTES,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_ICMP6,
  pseudoSum6,
  writeIpv6,
} from '../net/ipv6';
import { PROTOCOL_SCTP, SCTP_BYTES, sctpCrc, setSctpChecksum } from '../net/sctp';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../net/tcp';
import type { Address6 } from '../table/address6';

export const VIRTUAL_ADDRESS = 0x0a630001; // 10.99.0.1
export const VIRTUAL_ADDRESS6: Address6 = [0xfd630000 | 0, 0, 0, 1];
const CLIENT = 0x0a010002; // 10.1.0.2
const CLIENT6: Address6 = [0xfd010000 | 0, 0, 0, 2];

/** What a client writes to. */
export interface Target {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly port: number;
}

interface Shape {
  readonly hops?: number;
  /** IPv4: flags and offset. */
  readonly fragment?: number;
  readonly id?: number;
  /** Between IPv6's header and the transport: their bytes, and the first one's number. */
  readonly extensions?: Uint8Array;
  readonly nextHeader?: number;
}

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const UNIT = 8;
const PIECE = 64;
const TOO_LONG = 1476;
/** Datagrams to ports that are no service's: searches meet others on their way. */
const STRAYS = 16;
const STRAY_ID = 0x7000;
const PORTS_AND_LENGTH = 8;
const UNKNOWN_PORT = 7001;
const OTHER_PORT = 7002;
const [UNREACHABLE, UNREACHABLE6] = [3, 1];
/** As the exercise's servers number their first byte. */
export const SERVER_SEQUENCE = 0x2000;
const CLIENT_SEQUENCE = 0x1000;
const WINDOW = 0xffff;
const [CHUNK_DATA, CHUNK_INIT, CHUNK_ABORT, CHUNK_COOKIE_ECHO] = [0, 1, 6, 10];
/** MSS 1460, SACK permitted, timestamps: what FULLNAT looks at. */
const SYN_OPTIONS = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0];
/** A SACK block, and a client that forges another's address (TOA). */
const ACK_OPTIONS = [5, 10, 0, 0, 32, 1, 0, 0, 32, 9, 254, 8, 0, 7, 10, 9, 9, 9, 1, 1];

function frameOf(family: 4 | 6, protocol: number, content: Uint8Array, shape: Shape): Uint8Array {
  const extensions = shape.extensions ?? new Uint8Array(0);
  const header = family === 4 ? IPV4_BYTES_MIN : IPV6_BYTES + extensions.length;
  const frame = new Uint8Array(ETHERNET_BYTES + header + content.length);
  frame.set(content, ETHERNET_BYTES + header);
  const view = new DataView(frame.buffer);
  const { hops = 64, fragment = 0, id = 1 } = shape;
  if (family === 4) {
    const total = header + content.length;
    setEthernetType(view, 0, TYPE_IPV4);
    writeIpv4(view, ETHERNET_BYTES, 0, total, id, protocol, hops, CLIENT, VIRTUAL_ADDRESS);
    setFragment(view, fragment);
    return frame;
  }
  setEthernetType(view, 0, TYPE_IPV6);
  const payload = extensions.length + content.length;
  const next = shape.nextHeader ?? protocol;
  writeIpv6(view, ETHERNET_BYTES, 0, payload, next, hops, ...CLIENT6, ...VIRTUAL_ADDRESS6);
  frame.set(extensions, ETHERNET_BYTES + IPV6_BYTES);
  return frame;
}

/** Writes IPv4's flags and offset and makes the header's checksum right again. */
function setFragment(view: DataView, fragment: number): void {
  view.setUint16(ETHERNET_BYTES + 6, fragment);
  view.setUint16(ETHERNET_BYTES + 10, 0);
  const sum = sumBytes(view, ETHERNET_BYTES, IPV4_BYTES_MIN);
  view.setUint16(ETHERNET_BYTES + 10, ~fold(sum) & 0xffff);
}

type Checksum = 'correct' | 'unfinished' | 'none';

/** Folded sum of the pseudo header that goes with `lengthBytes` of content. */
function pseudo(family: 4 | 6, protocol: number, lengthBytes: number): number {
  if (family === 4) return pseudoSum4(CLIENT, VIRTUAL_ADDRESS, protocol, lengthBytes);
  const view = new DataView(new ArrayBuffer(IPV6_BYTES));
  writeIpv6(view, 0, 0, lengthBytes, protocol, 1, ...CLIENT6, ...VIRTUAL_ADDRESS6);
  return pseudoSum6(view, 0, protocol, lengthBytes);
}

function finish(target: Target, content: Uint8Array, at: number, checksum: Checksum): Uint8Array {
  if (checksum === 'none') return content;
  const view = new DataView(content.buffer);
  const sum = pseudo(target.family, target.protocol, content.length);
  const whole = ~fold(sum + sumBytes(view, 0, content.length)) & 0xffff;
  view.setUint16(at, checksum === 'unfinished' ? sum : whole || 0xffff);
  return content;
}

function tcp(
  target: Target,
  flags: number,
  sequence: number,
  options: readonly number[],
  payload: number,
  checksum: Checksum = 'correct',
): Uint8Array {
  const header = 20 + options.length;
  const content = new Uint8Array(header + payload).fill(0x61, header);
  const view = new DataView(content.buffer);
  view.setUint16(0, 7000);
  view.setUint16(2, target.port);
  view.setInt32(4, sequence);
  view.setInt32(8, (flags & TCP_ACK) === 0 ? 0 : SERVER_SEQUENCE + 1);
  view.setUint16(12, ((header >> 2) << 12) | flags);
  view.setUint16(14, WINDOW);
  content.set(options, 20);
  return finish(target, content, 16, checksum);
}

/** The same TCP segment from another port of the client. */
function fromOther(target: Target, content: Uint8Array): Uint8Array {
  const view = new DataView(content.buffer);
  view.setUint16(0, OTHER_PORT);
  view.setUint16(16, 0);
  return finish(target, content, 16, 'correct');
}

function udp(target: Target, payload: number, checksum: Checksum = 'correct'): Uint8Array {
  const content = new Uint8Array(8 + payload).fill(0x62, 8);
  const view = new DataView(content.buffer);
  view.setUint16(0, 7000);
  view.setUint16(2, target.port);
  view.setUint16(4, 8 + payload);
  return finish(target, content, 6, checksum);
}

function sctp(target: Target, chunk: number, checksum: Checksum): Uint8Array {
  const content = new Uint8Array(SCTP_BYTES + 8);
  const view = new DataView(content.buffer);
  view.setUint16(0, 7000);
  view.setUint16(2, target.port);
  view.setUint8(SCTP_BYTES, chunk);
  view.setUint16(SCTP_BYTES + 2, 8);
  if (checksum === 'correct') setSctpChecksum(view, 0, sctpCrc(view, 0, content.length));
  return content;
}

/** A datagram in three pieces. */
function pieces(target: Target, id: number, hops = 64): Uint8Array[] {
  const content = udp(target, 3 * PIECE - 8);
  return [0, 1, 2].map((place) => {
    const part = content.slice(place * PIECE, (place + 1) * PIECE);
    const isLast = place === 2;
    const offset = place * PIECE;
    if (target.family === 4) {
      const fragment = (offset / UNIT) | (isLast ? 0 : MORE_FRAGMENTS);
      return frameOf(4, target.protocol, part, { fragment, id, hops });
    }
    const extensions = new Uint8Array(FRAGMENT6_BYTES);
    const view = new DataView(extensions.buffer);
    writeFragment6(view, 0, target.protocol, offset, !isLast, id);
    return frameOf(6, target.protocol, part, { extensions, nextHeader: PROTOCOL_FRAGMENT, hops });
  });
}

function tcpFrames(target: Target): Uint8Array[] {
  const { family, protocol } = target;
  const of = (content: Uint8Array, shape: Shape = {}): Uint8Array =>
    frameOf(family, protocol, content, shape);
  const next = CLIENT_SEQUENCE + 1;
  return [
    of(tcp(target, TCP_SYN, CLIENT_SEQUENCE, SYN_OPTIONS, 0)),
    of(tcp(target, TCP_ACK, next, ACK_OPTIONS, 0)),
    of(tcp(target, TCP_ACK, next, [], 18, 'unfinished')),
    of(tcp(target, TCP_ACK, next, [], TOO_LONG), { fragment: DONT_FRAGMENT }),
    of(tcp(target, TCP_ACK, next, [], 1440), { fragment: DONT_FRAGMENT }),
    of(tcp(target, TCP_ACK, next, [], 18), { hops: 1 }),
    of(tcp(target, TCP_ACK | TCP_FIN, next, [], 0)),
    of(tcp(target, TCP_ACK, next + 1, [], 0)),
    of(tcp(target, TCP_RST, next + 1, [], 0)),
    // One that is left open, and whose time runs out.
    of(fromOther(target, tcp(target, TCP_SYN, CLIENT_SEQUENCE, [], 0))),
    of(fromOther(target, tcp(target, TCP_ACK, next, [], 18))),
    of(tcp(target, TCP_ACK, next, [], 0)).fill(0xff, ETHERNET_BYTES + IPV4_BYTES_MIN),
  ];
}

function udpFrames(target: Target, id: number): Uint8Array[] {
  const { family, protocol } = target;
  const of = (content: Uint8Array, shape: Shape = {}): Uint8Array =>
    frameOf(family, protocol, content, shape);
  const inOrder = pieces(target, id);
  const outOfOrder = pieces(target, id + 1);
  const orphans = pieces(target, id + 2);
  const refused = pieces(target, id + 3, 1);
  return [
    of(udp(target, 18)),
    of(udp(target, 18, 'unfinished')),
    of(udp(target, 18, 'none')),
    of(udp(target, TOO_LONG)),
    of(udp(target, TOO_LONG, 'unfinished')),
    of(udp(target, 1440)),
    of(udp(target, TOO_LONG), { fragment: DONT_FRAGMENT }),
    of(udp(target, 18), { hops: 1 }),
    ...inOrder,
    outOfOrder[2]!,
    outOfOrder[1]!,
    outOfOrder[0]!,
    orphans[1]!,
    ...refused,
  ];
}

function sctpFrames(target: Target): Uint8Array[] {
  const of = (chunk: number, checksum: Checksum): Uint8Array =>
    frameOf(target.family, target.protocol, sctp(target, chunk, checksum), {});
  return [
    of(CHUNK_DATA, 'correct'),
    of(CHUNK_INIT, 'correct'),
    of(CHUNK_COOKIE_ECHO, 'correct'),
    of(CHUNK_DATA, 'none'),
    of(CHUNK_ABORT, 'correct'),
  ];
}

/**
 * An ICMP error about a packet that the target never sent to the client: with schedule_icmp it
 * begins a connection (control/sysctl.ts).
 */
function errorAbout({ family, protocol, port }: Target): Uint8Array {
  const isIpv4 = family === 4;
  const header = isIpv4 ? IPV4_BYTES_MIN : IPV6_BYTES;
  const content = new Uint8Array(ICMP_BYTES + header + PORTS_AND_LENGTH);
  const view = new DataView(content.buffer);
  const quoted = ICMP_BYTES;
  if (isIpv4) {
    const total = header + PORTS_AND_LENGTH;
    writeIpv4(view, quoted, 0, total, 1, protocol, 64, VIRTUAL_ADDRESS, CLIENT);
  } else {
    writeIpv6(view, quoted, 0, PORTS_AND_LENGTH, protocol, 64, ...VIRTUAL_ADDRESS6, ...CLIENT6);
  }
  content[0] = isIpv4 ? UNREACHABLE : UNREACHABLE6;
  content[1] = isIpv4 ? 3 : 4;
  view.setUint16(quoted + header, port);
  view.setUint16(quoted + header + 2, UNKNOWN_PORT);
  view.setUint16(quoted + header + 4, PORTS_AND_LENGTH);
  const outer = isIpv4 ? PROTOCOL_ICMP : PROTOCOL_ICMP6;
  const sum = isIpv4 ? 0 : pseudo(6, outer, content.length);
  view.setUint16(2, ~fold(sum + sumBytes(view, 0, content.length)) & 0xffff);
  return frameOf(family, outer, content, {});
}

/** A frame, and where in it a port is put that is another each time; 0: it stays as it is. */
export interface Repeated {
  readonly bytes: Uint8Array;
  readonly portAt: number;
}
const asIs = (bytes: Uint8Array): Repeated => ({ bytes, portAt: 0 });

/** What a client sends to one service. `number`: of the service, so that its datagrams differ. */
export function framesTo(target: Target, number: number): Repeated[] {
  const { family, protocol } = target;
  const portAt = ETHERNET_BYTES + (family === 4 ? IPV4_BYTES_MIN : IPV6_BYTES);
  const error = asIs(errorAbout(target));
  if (protocol === PROTOCOL_SCTP) return [...sctpFrames(target).map(asIs), error];
  const isTcp = protocol === PROTOCOL_TCP;
  const first = isTcp ? tcp(target, TCP_SYN, CLIENT_SEQUENCE, [], 0) : udp(target, 18);
  const frames = isTcp ? tcpFrames(target) : udpFrames(target, number * 5);
  return [...frames.map(asIs), error, { bytes: frameOf(family, protocol, first, {}), portAt }];
}

/** The same frames to another host, as a client of a transparent proxy would send them. */
export function towards(
  frames: readonly Repeated[],
  family: 4 | 6,
  four: number,
  six: Address6,
): Repeated[] {
  return frames.map(({ bytes, portAt }) => {
    const copy = bytes.slice();
    const view = new DataView(copy.buffer);
    if (family === 6) {
      for (let word = 0; word < 4; word++) {
        view.setInt32(ETHERNET_BYTES + 24 + word * 4, six[word]!);
      }
      return { bytes: copy, portAt };
    }
    view.setInt32(ETHERNET_BYTES + 16, four);
    setFragment(view, view.getUint16(ETHERNET_BYTES + 6));
    return { bytes: copy, portAt };
  });
}

/** IPv6 that is not plain, not sound, or not for the pipeline; and what of IPv4 is like that. */
export function oddFrames(udpTarget: Target, tcpTarget: Target): Repeated[] {
  const options = Uint8Array.from([PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0]);
  const extended = { extensions: options, nextHeader: PROTOCOL_DESTINATION_OPTIONS };
  const of6 = (protocol: number, content: Uint8Array, shape: Shape = {}): Uint8Array =>
    frameOf(6, protocol, content, shape);
  const datagram = of6(PROTOCOL_UDP, udp(udpTarget, 18));
  const lie = datagram.slice();
  new DataView(lie.buffer).setUint16(ETHERNET_BYTES + IPV6_BYTES + 4, 4);
  const stray = { ...udpTarget, port: 9 };
  const esp = new Uint8Array(24);
  const toAnyPort: Repeated = {
    bytes: of6(PROTOCOL_UDP, udp(stray, 18)),
    portAt: ETHERNET_BYTES + IPV6_BYTES + 2,
  };
  const strays = Array.from({ length: STRAYS }, () => toAnyPort);
  const frames = [
    ...pieces({ ...stray, family: 4 }, STRAY_ID),
    ...pieces(stray, STRAY_ID),
    of6(PROTOCOL_UDP, udp(udpTarget, 18), extended),
    datagram.slice(0, 40),
    datagram.slice(0, datagram.length - 4),
    lie,
    of6(PROTOCOL_UDP, udp(stray, 18)),
    of6(PROTOCOL_UDP, udp(stray, 18, 'unfinished')),
    of6(PROTOCOL_TCP, tcp(tcpTarget, TCP_ACK, 1, [], 0).fill(0, 0, 2)),
    of6(PROTOCOL_TCP, tcp({ ...tcpTarget, port: 9 }, TCP_RST, 1, [], 0)),
    of6(PROTOCOL_TCP, tcp(tcpTarget, TCP_SYN, 1, [], 0).slice(0, 16)),
    of6(PROTOCOL_ICMP6, Uint8Array.from([128, 0, 0, 0, 0, 0, 0, 1])),
    of6(PROTOCOL_ICMP6, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0])),
    of6(50, esp),
    of6(59, new Uint8Array(0)),
    frameOf(4, 50, esp, {}),
    frameOf(4, 47, esp, {}),
    frameOf(4, 1, Uint8Array.from([3, 3, 0, 0, 0, 0, 0, 0]), {}),
    frameOf(4, PROTOCOL_SCTP, sctp(stray, CHUNK_INIT, 'none'), {}),
    frameOf(4, PROTOCOL_UDP, udp(stray, 18), { fragment: MORE_FRAGMENTS }),
  ];
  return [...frames.map(asIs), ...strays];
}
