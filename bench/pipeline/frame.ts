/** The frames of the bench, complete with all checksums, and the flows they belong to. */
import { fold, halves, sumBytes } from '#xvs/net/checksum';
import { setEthernetDestination, setEthernetType, TYPE_IPV4, TYPE_IPV6 } from '#xvs/net/ethernet';
import { PROTOCOL_TCP, PROTOCOL_UDP, writeIpv4 } from '#xvs/net/ipv4';
import { IPV6_DESTINATION, IPV6_SOURCE, writeIpv6Header } from '#xvs/net/ipv6';
import { frameBytes, type Row, TRANSPORT_BYTES } from './row';

export const TCP_SYN = 0x02;
export const TCP_ACK = 0x10;
const UDP_BYTES = 8;
const TTL = 64;
const ETHERNET = 14;
/** What is acknowledged of the peer's stream: not its very first byte, so no connection is new. */
const ACKNOWLEDGED = 1000;

/** A flow's words. Addresses have four, IPv4 in the first. */
const FLOW_WORDS = 16;
export const FLOW = {
  client: 0,
  /** Where requests go in the end, and whom the server answers to: seen when it was connected. */
  server: 4,
  reply: 8,
  clientPort: 12,
  /** server << 16 | reply, as the server's packets have them. */
  replyPorts: 13,
  /** Place of the server in the list. */
  serverNumber: 14,
  /** By how much the director shifts the client's sequence numbers. */
  sequenceDelta: 15,
} as const;

/** All flows of a row, in columns: there are millions. */
export class Flows {
  readonly count: number;
  readonly words: Int32Array;

  constructor(count: number) {
    this.count = count;
    this.words = new Int32Array(count * FLOW_WORDS);
  }

  /** Index of a flow's first word. */
  at(flow: number): number {
    return flow * FLOW_WORDS;
  }
}

/** Writes frames of one row into `view`. */
export class FrameWriter {
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #virtual: Int32Array;
  readonly #virtualPort: number;
  readonly #family: 4 | 6;
  readonly #protocol: number;
  readonly #transportBytes: number;
  readonly #frameBytes: number;

  constructor(
    view: DataView,
    row: Row,
    flows: Flows,
    virtualAddress: Int32Array,
    virtualPort: number,
  ) {
    this.#view = view;
    this.#words = flows.words;
    this.#virtual = virtualAddress;
    this.#virtualPort = virtualPort;
    this.#family = row.family;
    this.#protocol = row.protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
    this.#transportBytes = TRANSPORT_BYTES[row.protocol];
    this.#frameBytes = frameBytes(row);
  }

  /** Client to virtual service, of the flow whose words begin at `flow`. `flags`: TCP only. */
  writeInbound(at: number, flow: number, flags: number): void {
    const words = this.#words;
    const ports = (words[flow + FLOW.clientPort]! << 16) | this.#virtualPort;
    const sequence = clientSequence(ports) + (flags === TCP_SYN ? 0 : ACKNOWLEDGED);
    const acknowledged = flags === TCP_SYN ? 0 : serverSequence(ports) + ACKNOWLEDGED;
    this.#write(
      at,
      words,
      flow + FLOW.client,
      this.#virtual,
      0,
      ports,
      flags,
      sequence,
      acknowledged,
    );
  }

  /** Real server to whom it answers. */
  writeOutbound(at: number, flow: number, flags: number): void {
    const words = this.#words;
    const ports = (words[flow + FLOW.clientPort]! << 16) | this.#virtualPort;
    const isSyn = (flags & TCP_SYN) !== 0;
    const sequence = serverSequence(ports) + (isSyn ? 0 : ACKNOWLEDGED);
    const theirs = clientSequence(ports) + words[flow + FLOW.sequenceDelta]!;
    this.#write(
      at,
      words,
      flow + FLOW.server,
      words,
      flow + FLOW.reply,
      words[flow + FLOW.replyPorts]!,
      flags,
      sequence,
      theirs + (isSyn ? 1 : ACKNOWLEDGED),
    );
  }

  #write(
    at: number,
    sources: Int32Array,
    source: number,
    destinations: Int32Array,
    destination: number,
    ports: number,
    flags: number,
    sequence: number,
    acknowledgement: number,
  ): void {
    const view = this.#view;
    for (let byte = 0; byte < this.#frameBytes; byte++) view.setUint8(at + byte, 0);
    setEthernetDestination(view, at, 0x02000000, 0x0001);
    view.setInt32(at + 6, 0x02000000);
    view.setInt16(at + 10, 0x00fe);
    const ip = at + ETHERNET;
    const transport =
      this.#family === 4
        ? this.#writeIpv4(at, ip, ports & 0xffff, sources[source]!, destinations[destination]!)
        : this.#writeIpv6(at, ip, sources, source, destinations, destination);
    view.setInt32(transport, ports);
    if (this.#protocol === PROTOCOL_TCP) {
      view.setInt32(transport + 4, sequence);
      view.setInt32(transport + 8, acknowledgement);
      view.setUint16(transport + 12, (5 << 12) | flags);
      view.setUint16(transport + 14, 0xffff);
    } else {
      view.setUint16(transport + 4, this.#transportBytes);
      view.setInt32(transport + UDP_BYTES, sequence);
    }
    const isIpv4 = this.#family === 4;
    const addresses =
      addressSum(isIpv4, sources, source) + addressSum(isIpv4, destinations, destination);
    this.#finish(transport, addresses);
  }

  #writeIpv4(at: number, ip: number, id: number, source: number, destination: number): number {
    const view = this.#view;
    setEthernetType(view, at, TYPE_IPV4);
    const total = 20 + this.#transportBytes;
    writeIpv4(view, ip, 0, total, id, this.#protocol, TTL, source, destination);
    return ip + 20;
  }

  #writeIpv6(
    at: number,
    ip: number,
    sources: Int32Array,
    source: number,
    destinations: Int32Array,
    destination: number,
  ): number {
    const view = this.#view;
    setEthernetType(view, at, TYPE_IPV6);
    writeIpv6Header(view, ip, 0, this.#transportBytes, this.#protocol, TTL);
    for (let word = 0; word < 4; word++) {
      view.setInt32(ip + IPV6_SOURCE + word * 4, sources[source + word]!);
      view.setInt32(ip + IPV6_DESTINATION + word * 4, destinations[destination + word]!);
    }
    return ip + 40;
  }

  #finish(transport: number, addresses: number): void {
    const view = this.#view;
    const length = this.#transportBytes;
    const sum = addresses + this.#protocol + length + sumBytes(view, transport, length);
    const checksum = ~fold(sum) & 0xffff;
    const offset = this.#protocol === PROTOCOL_TCP ? 16 : 6;
    view.setUint16(transport + offset, checksum === 0 ? 0xffff : checksum);
  }
}

function addressSum(isIpv4: boolean, words: Int32Array, at: number): number {
  let sum = 0;
  for (let word = 0; word < (isIpv4 ? 1 : 4); word++) sum += halves(words[at + word]!);
  return sum;
}

/** First sequence numbers of both ends, by the client's ports. */
export function clientSequence(ports: number): number {
  return Math.imul(ports, 0x9e3779b1 | 0);
}
function serverSequence(ports: number): number {
  return Math.imul(ports, 0x85ebca6b | 0);
}
