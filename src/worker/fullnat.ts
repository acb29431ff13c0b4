/**
 * FULLNAT: packets of a client go to the real server from a local address and port of the
 * director, so that its replies come back here whatever its gateway is.
 *
 *   client:port > virtual:port   becomes   local:port > real:port       and the reply back again
 *
 * TCP: sequence numbers towards the server are the director's own, for many clients share a local
 * address (a server in TIME_WAIT takes a new connection only with a higher one; timestamps are not
 * offered for the same reason). The first packets tell the server the client's address, until it
 * has had a byte of its own acknowledged (forward/toa.ts).
 *
 * What a connection remembers for this stands in its extension: `sequenceDelta` (0 until its SYN),
 * `serverSequence` (first byte the server may send; 0 until its SYN), and the last
 * acknowledgements of both for `conn_expire_tcp_rst`, each in the space of who sent it.
 */
import {
  addressSum,
  adjustChecksum,
  isUnfinished,
  isWithoutChecksum,
  pseudoSum,
  requestChecksum,
  resizeIpv4,
  rewriteIpv4Addresses,
} from '../forward/fullnat';
import {
  cleanOptions,
  reduceMss,
  shiftAcknowledgement,
  shiftSack,
  shiftSequence,
  tcpAcknowledgement,
  tcpSequence,
} from '../forward/sequence';
import { fillToa4, fillToa6, makeRoom, TOA_BYTES_4, TOA_BYTES_6, ToaRoom } from '../forward/toa';
import { difference, fold, halves } from '../net/checksum';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import {
  decrementHopLimit,
  IPV6,
  IPV6_DESTINATION,
  IPV6_MTU_MIN,
  IPV6_SOURCE,
  setIpv6Address,
} from '../net/ipv6';
import { PROTOCOL_SCTP, sctpChecksum, sctpCrc, setSctpChecksum } from '../net/sctp';
import { TCP_ACK, TCP_BYTES_MIN, TCP_RST, TCP_SYN, tcpHeaderBytes } from '../net/tcp';
import { ports, setPorts } from '../net/transport';
import { udpLength } from '../net/udp';
import type { Umem } from '../port/umem';
import { CONNECTION, CONNECTION_SERVER_BITS, connectionHash, EXTENSION } from '../table/connection';
import { COUNTER, GO_ON, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import type { NextHopTable } from '../table/nextHop';
import type { RealServerTable } from '../table/realServer';
import type { Settings } from '../table/setting';
import type { Departure } from './departure';
import type { Egress } from './egress';
import { FullnatReset } from './fullnatReset';
import { LocalEndpoints } from './localEndpoint';
import { FAMILY_IPV4, FRAGMENT_LATER, FRAGMENT_NONE, type Packet } from './packet';
import type { FullnatRoom } from './room';

const { client: CLIENT, virtual: VIRTUAL, clientPorts: CLIENT_PORTS } = CONNECTION.at;
const { real: REAL, reply: REPLY, replyPorts: REPLY_PORTS } = CONNECTION.at;
const { identity: IDENTITY, serverHop: SERVER_HOP, clientHop: CLIENT_HOP } = CONNECTION.at;
const { realServer: REAL_SERVER } = CONNECTION.at;
const { client: CLIENT6, virtual: VIRTUAL6, real: REAL6, reply: REPLY6 } = EXTENSION.at;
const { sequenceDelta: DELTA, serverSequence: SERVER_SEQUENCE } = EXTENSION.at;
const { clientAck: CLIENT_ACK, serverAck: SERVER_ACK } = EXTENSION.at;
const { payloadLength: PAYLOAD_LENGTH } = IPV6.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const CONTINUE = GO_ON;
const [SOURCE, DESTINATION] = [IPV6_SOURCE, IPV6_DESTINATION];
/** What the complements of two addresses' sixteen halves add to the sum of them. */
const COMPLEMENTS = 16 * 0xffff;
const [TCP, UDP, SCTP] = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];
const [SYN, RST, ACK] = [TCP_SYN, TCP_RST, TCP_ACK];
const [IPV4, WHOLE, LATER] = [FAMILY_IPV4, FRAGMENT_NONE, FRAGMENT_LATER];
const UNFINISHED = COUNTER.checksums_unfinished;
const SERVER_BITS = CONNECTION_SERVER_BITS;
/** While the way to the server is not known yet. */
const MTU_UNKNOWN = IPV6_MTU_MIN;
/** Sequence numbers that pass in a tick of 100 ms: as fast as Linux's own clock for them. */
const SEQUENCES_PER_TICK = 1 << 20;

export class Fullnat implements FullnatRoom {
  private readonly entries: Int32Array;
  private readonly extension: Int32Array;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly settings: Settings;
  private readonly hops: NextHopTable;
  private readonly realServers: RealServerTable;
  private readonly egress: Egress;
  private readonly departure: Departure;
  private readonly counters: Float64Array;
  private readonly endpoints: LocalEndpoints;
  private readonly reset: FullnatReset;
  private readonly room = new ToaRoom();

  constructor(tables: Tables, worker: number, umem: Umem, egress: Egress, departure: Departure) {
    this.entries = tables.connections.entries;
    this.extension = tables.connections.extension;
    this.view = umem.view;
    this.bytes = umem.bytes;
    this.settings = tables.settings;
    this.hops = tables.nextHops;
    this.realServers = tables.realServers;
    this.egress = egress;
    this.departure = departure;
    this.counters = tables.counters[worker]!;
    this.endpoints = new LocalEndpoints(tables, worker);
    this.reset = new FullnatReset(tables, worker, umem, egress);
  }

  begin(entry: number, service: number): boolean {
    return this.endpoints.assign(entry, service);
  }

  expire(entry: number, state: number, tick: number): void {
    this.reset.send(entry, state, tick);
  }

  end(entry: number): void {
    this.endpoints.release(entry);
  }

  forward(packet: Packet, entry: number, inbound: boolean): number {
    const base = entry << 4;
    const { total } = packet;
    let hop = this.departure.remembered(base + (inbound ? SERVER_HOP : CLIENT_HOP));
    const isClear = this.departure.isClear(packet, hop);
    if (!isClear) {
      hop = this.hop(packet, base, inbound);
      const step = this.departure.mayLeave(packet, hop, 0, entry, inbound);
      if (step !== CONTINUE) return step;
    }
    // The entry may have ended and be another's by now: then this is not its packet.
    if (this.entries[base + IDENTITY] !== packet.identity) return PASS.no_connection;
    let checksum = 0;
    if (packet.fragment === LATER) this.rewriteAddresses(packet, base, inbound, 0);
    else if (packet.protocol === TCP || packet.protocol === UDP) {
      checksum = this.translate(packet, base, inbound, hop);
    } else {
      this.rewriteAddresses(packet, base, inbound, 0);
      if (packet.protocol === SCTP) this.translateSctp(packet, base, inbound);
    }
    if (checksum !== 0) this.counters[UNFINISHED]! += 1;
    if (isClear && packet.total === total) {
      return this.egress.sendFitting(packet.at, packet.frameBytes, checksum, hop, packet.tick);
    }
    return this.send(packet, base, inbound, checksum, hop);
  }

  private hop(packet: Packet, base: number, inbound: boolean): number {
    const entries = this.entries;
    const word = base + (inbound ? SERVER_HOP : CLIENT_HOP);
    const last = entries[base + (inbound ? REAL : CLIENT)]!;
    if (packet.family === IPV4) return this.departure.hop4(word, last);
    const extension = this.extension;
    const at = base + (inbound ? REAL6 : CLIENT6);
    return this.departure.hop6(word, extension[at]!, extension[at + 1]!, extension[at + 2]!, last);
  }

  private send(
    packet: Packet,
    base: number,
    inbound: boolean,
    checksum: number,
    hop: number,
  ): number {
    const last = this.entries[base + (inbound ? REAL : CLIENT)]!;
    const { at, frameBytes, tick } = packet;
    if (packet.family === IPV4) {
      return this.egress.send(at, frameBytes, checksum, hop, last, tick);
    }
    const extension = this.extension;
    const first = base + (inbound ? REAL6 : CLIENT6);
    return this.egress.send6(
      at,
      frameBytes,
      checksum,
      hop,
      extension[first]!,
      extension[first + 1]!,
      extension[first + 2]!,
      last,
      tick,
    );
  }

  /** A packet of TCP or UDP, or its first fragment. Returns the checksum request. */
  private translate(packet: Packet, base: number, inbound: boolean, hop: number): number {
    const view = this.view;
    const { protocol } = packet;
    const isIpv4 = packet.family === IPV4;
    const isWhole = packet.fragment === WHOLE;
    const before = addressSum(view, packet.ip, isIpv4);
    const pseudo = fold(before + protocol + packet.transportBytes);
    const unfinished = isWhole && isUnfinished(view, packet.transport, protocol, pseudo);
    let gain = 0;
    if (protocol === TCP) {
      gain = inbound ? this.toServer(packet, base, hop) : this.toClient(packet, base);
    }
    gain += this.rewriteAddresses(packet, base, inbound, before);
    gain += this.rewritePorts(packet.transport, base, inbound);
    const { at, ip, transport, transportBytes } = packet;
    const none = isWithoutChecksum(view, transport, protocol);
    const mayGetOne = none && isWhole && udpLength(view, transport) === transportBytes;
    if (unfinished || mayGetOne) {
      const changed = pseudoSum(view, ip, isIpv4, protocol, transportBytes);
      return requestChecksum(view, at, transport, protocol, changed);
    }
    // The sum of a datagram that comes in fragments, or ends before its packet, is not to be had.
    if (!none) adjustChecksum(view, transport, protocol, gain);
    return 0;
  }

  /**
   * Both addresses and the TTL. Returns what a checksum over the addresses gains whose halves
   * summed up to `before`.
   */
  private rewriteAddresses(packet: Packet, base: number, inbound: boolean, before: number): number {
    const entries = this.entries;
    const { ip } = packet;
    const source = entries[base + (inbound ? REPLY : VIRTUAL)]!;
    const destination = entries[base + (inbound ? REAL : CLIENT)]!;
    if (packet.family === IPV4) {
      return rewriteIpv4Addresses(this.view, ip, source, destination);
    }
    decrementHopLimit(this.view, ip);
    const first = base + (inbound ? REPLY6 : VIRTUAL6);
    const second = base + (inbound ? REAL6 : CLIENT6);
    const after =
      this.writeAddress6(ip + SOURCE, first, source) +
      this.writeAddress6(ip + DESTINATION, second, destination);
    return COMPLEMENTS - before + after;
  }

  /** `first`: where the extension has the first three words. Returns the sum of its halves. */
  private writeAddress6(at: number, first: number, last: number): number {
    const extension = this.extension;
    const word0 = extension[first]!;
    const word1 = extension[first + 1]!;
    const word2 = extension[first + 2]!;
    setIpv6Address(this.view, at, word0, word1, word2, last);
    return halves(word0) + halves(word1) + halves(word2) + halves(last);
  }

  private rewritePorts(transport: number, base: number, inbound: boolean): number {
    const entries = this.entries;
    const pair = entries[base + (inbound ? REPLY_PORTS : CLIENT_PORTS)]!;
    // The other way round: what the receiver will answer to.
    const swapped = (pair << 16) | (pair >>> 16);
    const gain = difference(ports(this.view, transport), swapped);
    setPorts(this.view, transport, swapped);
    return gain;
  }

  /** The CRC is linear: what was wrong by some bits stays wrong by the same ones; 0 is none yet. */
  private translateSctp(packet: Packet, base: number, inbound: boolean): void {
    const view = this.view;
    const { transport, transportBytes } = packet;
    if (packet.fragment !== WHOLE) {
      this.rewritePorts(transport, base, inbound);
      return;
    }
    const held = sctpChecksum(view, transport);
    const error = held === 0 ? 0 : held ^ sctpCrc(view, transport, transportBytes);
    this.rewritePorts(transport, base, inbound);
    setSctpChecksum(view, transport, sctpCrc(view, transport, transportBytes) ^ error);
  }

  /** TCP of a client, before addresses and ports change. Returns what the checksum's sum gains. */
  private toServer(packet: Packet, base: number, hop: number): number {
    const view = this.view;
    const extension = this.extension;
    const { transport, flags } = packet;
    const headerBytes = this.headerBytes(packet);
    let gain = 0;
    if (headerBytes > TCP_BYTES_MIN) {
      gain += cleanOptions(view, transport, headerBytes, (flags & SYN) !== 0);
    }
    if ((flags & (SYN | ACK)) === SYN && extension[base + DELTA] === 0) {
      const first = this.firstSequence(base, packet.tick);
      extension[base + DELTA] = (first - tcpSequence(view, transport)) | 0;
    }
    const delta = extension[base + DELTA]!;
    if (delta !== 0) gain += shiftSequence(view, transport, delta);
    if ((flags & ACK) === 0) return gain;
    const acknowledged = tcpAcknowledgement(view, transport);
    extension[base + CLIENT_ACK] = acknowledged;
    const isFirst = extension[base + SERVER_SEQUENCE] === acknowledged && acknowledged !== 0;
    if (!isFirst || (flags & (SYN | RST)) !== 0 || packet.fragment !== WHOLE) return gain;
    return this.settings.toa === 0 ? gain : gain + this.addToa(packet, base, hop, headerBytes);
  }

  /** TCP of a real server. */
  private toClient(packet: Packet, base: number): number {
    const view = this.view;
    const extension = this.extension;
    const { transport, flags } = packet;
    const delta = extension[base + DELTA]!;
    const headerBytes = this.headerBytes(packet);
    let gain = 0;
    if ((flags & ACK) !== 0) {
      extension[base + SERVER_ACK] = tcpAcknowledgement(view, transport);
      if (delta !== 0) gain += shiftAcknowledgement(view, transport, -delta);
    }
    if ((flags & SYN) !== 0) {
      extension[base + SERVER_SEQUENCE] = (tcpSequence(view, transport) + 1) | 0;
      const toaBytes = packet.family === IPV4 ? TOA_BYTES_4 : TOA_BYTES_6;
      if (this.settings.toa !== 0) gain += reduceMss(view, transport, headerBytes, toaBytes);
    } else if (headerBytes > TCP_BYTES_MIN && delta !== 0) {
      gain += shiftSack(view, transport, headerBytes, -delta);
    }
    return gain;
  }

  /** Of the TCP header: never beyond the packet, nor less than its fixed part. */
  private headerBytes(packet: Packet): number {
    const said = tcpHeaderBytes(this.view, packet.transport);
    return said < TCP_BYTES_MIN || said > packet.transportBytes ? TCP_BYTES_MIN : said;
  }

  /** The director's own first sequence number: higher with time for the same ends. */
  private firstSequence(base: number, tick: number): number {
    const entries = this.entries;
    const ends = connectionHash(
      this.settings.hashSeed,
      TCP,
      entries[base + REPLY]!,
      entries[base + REAL]!,
      entries[base + REPLY_PORTS]!,
    );
    return (ends + Math.imul(tick, SEQUENCES_PER_TICK)) | 0;
  }

  /** Puts the client's address in. Returns what the checksum's sum gains; 0 when it has no room. */
  private addToa(packet: Packet, base: number, hop: number, headerBytes: number): number {
    const view = this.view;
    const room = this.room;
    const isIpv4 = packet.family === IPV4;
    const toaBytes = isIpv4 ? TOA_BYTES_4 : TOA_BYTES_6;
    const mayGrow = this.longest(packet, base, hop, packet.total + toaBytes) - packet.total;
    const { at, transport, transportBytes } = packet;
    const fits = makeRoom(view, this.bytes, at, transport, headerBytes, toaBytes, mayGrow, room);
    if (!fits) {
      this.counters[COUNTER.toa_failed]! += 1;
      return 0;
    }
    const grown = room.grownBytes;
    packet.at = at - grown;
    packet.ip -= grown;
    packet.sourceAt -= grown;
    packet.destinationAt -= grown;
    packet.transport = transport - grown;
    packet.total += grown;
    if (isIpv4) resizeIpv4(view, packet.ip, packet.total);
    else {
      const lengthAt = packet.ip + PAYLOAD_LENGTH;
      view.setUint16(lengthAt, view.getUint16(lengthAt) + grown);
    }
    this.counters[COUNTER.toa_inserted]! += 1;
    // The pseudo header has the length too.
    return room.gain + difference(transportBytes, transportBytes + grown) + this.fill(packet, base);
  }

  /** What the way to the server has room for: link, route, and what routers on it have said. */
  private longest(packet: Packet, base: number, hop: number, wantedBytes: number): number {
    const last = this.entries[base + REAL]!;
    let mtu = MTU_UNKNOWN;
    if (hop > 0 && packet.family === IPV4) mtu = this.hops.mtu4(hop, last, wantedBytes);
    else if (hop > 0) {
      const extension = this.extension;
      const word0 = extension[base + REAL6]!;
      const word1 = extension[base + REAL6 + 1]!;
      const word2 = extension[base + REAL6 + 2]!;
      mtu = this.hops.mtu6(hop, word0, word1, word2, last, wantedBytes);
    }
    const server = this.entries[base + REAL_SERVER]! & SERVER_BITS;
    const learned = this.realServers.pathMtu(server, packet.tick);
    return learned !== 0 && learned < mtu ? learned : mtu;
  }

  private fill(packet: Packet, base: number): number {
    const entries = this.entries;
    const extension = this.extension;
    const port = entries[base + CLIENT_PORTS]! >>> 16;
    const last = entries[base + CLIENT]!;
    if (packet.family === IPV4) return fillToa4(this.view, packet.transport, port, last);
    const first = base + CLIENT6;
    return fillToa6(
      this.view,
      packet.transport,
      port,
      extension[first]!,
      extension[first + 1]!,
      extension[first + 2]!,
      last,
    );
  }
}
