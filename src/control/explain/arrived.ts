/**
 * A frame as the workers' parser reads it, in words: the verdict is the parser's own, what is said
 * beside it is read from the same fields. All multi-byte fields are big-endian.
 */
import { ETHERNET_BYTES, ethernetType, TYPE_IPV4, TYPE_IPV6 } from '../../net/ethernet';
import { fragmentOffset4, fragmentOffset6 } from '../../net/fragment';
import { isIpsec } from '../../net/ipsec';
import {
  IPV4_BYTES_MIN,
  ipv4ChecksumHolds,
  ipv4HeaderBytes,
  ipv4TotalLength,
  ipv4Ttl,
  ipv4Version,
} from '../../net/ipv4';
import { IPV6_BYTES, ipv6HopLimit, ipv6PayloadLength, ipv6Version } from '../../net/ipv6';
import { tcpHeaderBytes } from '../../net/tcp';
import { udpLength } from '../../net/udp';
import { DROP_REASONS, GO_ON, PASS_REASONS } from '../../table/counter';
import { FAMILY_IPV4, FRAGMENT_FIRST, FRAGMENT_LATER, Packet } from '../../worker/packet';
import { parsePacket } from '../../worker/parsePacket';
import { NO_PORT } from '../noPort';
import { DROP_MEANINGS, PASS_MEANINGS } from '../reasons';
import { protocolName, viewOf } from './frameText';
import type { Journal } from './journal';

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [TYPE_IPV4]: 'IPv4',
  [TYPE_IPV6]: 'IPv6',
  2054: 'ARP',
  33024: 'a VLAN tag, which a worker does not read',
  34984: 'a VLAN tag, which a worker does not read',
};
const [TCP, UDP, ICMP, ICMP6] = [6, 17, 1, 58];
const MEANINGS: Readonly<Record<string, string>> = { ...DROP_MEANINGS, ...PASS_MEANINGS };

/**
 * Says what the parser finds, step by step, up to where it refuses the frame. Returns its TTL or
 * hop limit, null when it has no whole IP header.
 */
export function readArrived(frame: Uint8Array, journal: Journal): number | null {
  const view = viewOf(frame);
  const packet = new Packet(NO_PORT);
  const verdict = parsePacket(view, packet, frame.length, 0);
  const texts = [...headerTexts(view, packet, verdict === GO_ON)];
  for (const text of texts) journal.say('parse', text);
  if (verdict !== GO_ON) {
    const name = [...DROP_REASONS, ...PASS_REASONS][verdict]!;
    journal.say('parse', `refused, ${name}: ${MEANINGS[name]}`);
  }
  if (packet.total === 0) return null;
  const isIpv4 = packet.family === FAMILY_IPV4;
  return isIpv4 ? ipv4Ttl(view, packet.ip) : ipv6HopLimit(view, packet.ip);
}

function* headerTexts(view: DataView, packet: Packet, isSound: boolean): Generator<string> {
  const bytes = view.byteLength;
  if (bytes < ETHERNET_BYTES) {
    yield `a frame of ${bytes} bytes, shorter than an Ethernet header`;
    return;
  }
  const type = ethernetType(view, 0);
  yield `Ethernet type 0x${type.toString(16).padStart(4, '0')}, ${TYPE_NAMES[type] ?? 'not IP'}`;
  if (type !== TYPE_IPV4 && type !== TYPE_IPV6) return;
  yield type === TYPE_IPV4 ? ipv4Text(view) : ipv6Text(view);
  if (packet.total === 0) return;
  if (packet.fragment === FRAGMENT_FIRST)
    yield `first fragment of datagram ${packet.fragmentId >>> 0}`;
  if (packet.fragment === FRAGMENT_LATER) yield laterText(view, packet);
  else if (isSound) yield transportText(view, packet);
  else yield protocolName(packet.protocol);
}

function ipv4Text(view: DataView): string {
  const ip = ETHERNET_BYTES;
  const room = view.byteLength - ip;
  if (room < IPV4_BYTES_MIN) return `${room} bytes, too few for an IPv4 header`;
  const headerBytes = ipv4HeaderBytes(view, ip);
  const total = ipv4TotalLength(view, ip);
  const text =
    `version ${ipv4Version(view, ip)}, header of ${headerBytes} bytes, ` +
    `${total} bytes in all, ${room} are there`;
  if (headerBytes < IPV4_BYTES_MIN || total < headerBytes || total > room) return text;
  return `${text}; its checksum ${ipv4ChecksumHolds(view, ip, headerBytes) ? 'holds' : 'is wrong'}`;
}

function ipv6Text(view: DataView): string {
  const ip = ETHERNET_BYTES;
  const room = view.byteLength - ip;
  if (room < IPV6_BYTES) return `${room} bytes, too few for an IPv6 header`;
  const total = IPV6_BYTES + ipv6PayloadLength(view, ip);
  return `version ${ipv6Version(view, ip)}, ${total} bytes in all, ${room} are there`;
}

function laterText(view: DataView, packet: Packet): string {
  const { family, ip, fragmentId, fragmentHeader } = packet;
  const offset =
    family === FAMILY_IPV4 ? fragmentOffset4(view, ip) : fragmentOffset6(view, fragmentHeader);
  return `later fragment of datagram ${fragmentId >>> 0}, from byte ${offset} on, without ports`;
}

function transportText(view: DataView, packet: Packet): string {
  const { protocol, transport, transportBytes: bytes } = packet;
  const name = protocolName(protocol);
  const extensions = transport - packet.ip - IPV6_BYTES;
  const isExtended = packet.family !== FAMILY_IPV4 && extensions > 0;
  const behind = isExtended ? `behind ${extensions} bytes of extension headers, ` : '';
  if (protocol === TCP) {
    return `${behind}${name}, header of ${tcpHeaderBytes(view, transport)} of ${bytes} bytes`;
  }
  if (protocol === UDP) return `${behind}${name}, ${udpLength(view, transport)} of ${bytes} bytes`;
  if (protocol === ICMP || protocol === ICMP6) return `${behind}${name}, an error`;
  if (isIpsec(protocol)) return `${behind}${name}, goes the way of UDP port 500`;
  return `${behind}${name}, ${bytes} bytes`;
}
