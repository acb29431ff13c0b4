/**
 * A frame made of a tuple, with right lengths and checksums, as a host on the link would send it.
 * Headers: RFC 791, 8200, 9293, 768, 9260.
 */
import { finishSctp } from '../../forward/natUnusual';
import { addressBytes, addressWords } from '../../net/address';
import { fold, pseudoSum4, sumBytes } from '../../net/checksum';
import { ETHERNET_BYTES, setEthernetType, TYPE_IPV4, TYPE_IPV6 } from '../../net/ethernet';
import { IPV4_BYTES_MIN, PROTOCOL_UDP, writeIpv4 } from '../../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  pseudoSum6,
  writeIpv6Header,
} from '../../net/ipv6';
import { FLAG_LETTERS } from './frameText';
import type { ExplainTuple } from './protocol';

const NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
/** Common header and an INIT chunk (RFC 9260 3.3.2). */
const SCTP_BYTES = 12 + 20;
const TRANSPORT_BYTES = { tcp: TCP_BYTES, udp: UDP_BYTES, sctp: SCTP_BYTES } as const;
const WINDOW = 64_240;
const INITIATE_TAG = 1;

function ipBytes(tuple: ExplainTuple): number {
  return tuple.source.includes(':') ? IPV6_BYTES : IPV4_BYTES_MIN;
}

/** Bytes of the shortest packet with these headers. */
export function shortestPacket(tuple: ExplainTuple): number {
  return ipBytes(tuple) + TRANSPORT_BYTES[tuple.protocol];
}

/** `macs`: of its receiver and its sender, 12 bytes. */
export function buildTupleFrame(tuple: ExplainTuple, macs: Uint8Array): Uint8Array {
  const total = Math.max(tuple.lengthBytes, shortestPacket(tuple));
  const frame = new Uint8Array(ETHERNET_BYTES + total);
  const view = new DataView(frame.buffer);
  frame.set(macs);
  const protocol = NUMBERS[tuple.protocol];
  const transport = ETHERNET_BYTES + ipBytes(tuple);
  const length = frame.length - transport;
  const source = addressWords(tuple.source);
  const destination = addressWords(tuple.destination);
  let pseudo: number;
  if (tuple.source.includes(':')) {
    setEthernetType(view, 0, TYPE_IPV6);
    writeIpv6Header(view, ETHERNET_BYTES, 0, length, protocol, tuple.ttl);
    frame.set(addressBytes(tuple.source), ETHERNET_BYTES + IPV6_SOURCE);
    frame.set(addressBytes(tuple.destination), ETHERNET_BYTES + IPV6_DESTINATION);
    pseudo = pseudoSum6(view, ETHERNET_BYTES, protocol, length);
  } else {
    setEthernetType(view, 0, TYPE_IPV4);
    const [from, to] = [source[0]!, destination[0]!];
    writeIpv4(view, ETHERNET_BYTES, 0, total, 1, protocol, tuple.ttl, from, to);
    pseudo = pseudoSum4(from, to, protocol, length);
  }
  view.setUint16(transport, tuple.sourcePort);
  view.setUint16(transport + 2, tuple.destinationPort);
  if (tuple.protocol === 'sctp') writeInit(view, transport, length);
  else writeTransport(view, tuple, transport, length, pseudo);
  return frame;
}

function writeTransport(
  view: DataView,
  tuple: ExplainTuple,
  at: number,
  length: number,
  pseudo: number,
): void {
  const isTcp = tuple.protocol === 'tcp';
  if (isTcp) {
    const flags = [...tuple.flags].reduce(
      (bits, one) => bits | (1 << FLAG_LETTERS.indexOf(one)),
      0,
    );
    view.setUint32(at + 4, 1);
    view.setUint8(at + 12, (TCP_BYTES / 4) << 4);
    view.setUint8(at + 13, flags);
    view.setUint16(at + 14, WINDOW);
  } else view.setUint16(at + 4, length);
  const sum = ~fold(pseudo + sumBytes(view, at, length)) & 0xffff;
  const isNone = sum === 0 && NUMBERS[tuple.protocol] === PROTOCOL_UDP;
  view.setUint16(at + (isTcp ? 16 : 6), isNone ? 0xffff : sum);
}

function writeInit(view: DataView, at: number, length: number): void {
  view.setUint8(at + 12, 1);
  view.setUint16(at + 14, 20);
  view.setUint32(at + 16, INITIATE_TAG);
  view.setUint32(at + 20, WINDOW);
  view.setUint16(at + 24, 1);
  view.setUint16(at + 26, 1);
  view.setUint32(at + 28, 1);
  finishSctp(view, at, length);
}
