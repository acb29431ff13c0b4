/**
 * ICMP and ICMPv6 errors that may concern a connection: a path that is too narrow, a port where
 * nobody listens, a TTL that did not suffice. Whoever the error is for knows the connection under
 * other addresses than its sender quotes, so that both headers are translated.
 *
 *   client, router --> VIP       quotes a reply    (VIP -> client)         --> the real server
 *   server, router --> client    quotes a request  (client -> server)      --> the client
 *   router --> the director      quotes a tunnel's (director -> server)    --> the client, anew
 *
 * The connection is that of the quoted ends, turned round. An error has to be addressed to whom the
 * quoted packet came from; who it comes from is not looked at, as any router on the way may send
 * one. Errors do not change the state or the timer of a connection.
 */
import { isErrorWhole, QuotedPacket } from '../forward/icmpQuoted';
import { translateIcmpError } from '../forward/icmpTranslate';
import { translateIcmpError6, UNCHANGED } from '../forward/icmpTranslate6';
import { shiftAcknowledgement, shiftSequence } from '../forward/sequence';
import { ETHERNET_BYTES } from '../net/ethernet';
import { ICMP_BYTES, icmpCode, icmpRest, icmpType } from '../net/icmp';
import { ipv4Destination, ipv4Source, PROTOCOL_TCP } from '../net/ipv4';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../net/ipv6';
import type { Umem } from '../port/umem';
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  type ConnectionTable,
  connectionHash,
  connectionHash6,
  EXTENSION,
  FROM_CLIENT,
  FROM_SERVER,
  kindOf6,
} from '../table/connection';
import { DROP, GO_ON, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import { METHOD_FULLNAT, METHOD_NAT, type RealServerTable } from '../table/realServer';
import type { Settings } from '../table/setting';
import type { Departure } from './departure';
import type { Egress } from './egress';
import type { ErrorArrival } from './errorArrival';
import type { IcmpSender } from './icmp';
import { FAMILY_IPV4, FRAGMENT_NONE, type Packet } from './packet';
import type { Tracker } from './track';
import { isTooBig, TunnelErrors } from './tunnelErrors';

const [INWARD, OUTWARD] = [FROM_CLIENT, FROM_SERVER];
const AT = CONNECTION.at;
/** Bytes of a TCP header up to the end of its sequence number, and of its acknowledgement. */
const SEQUENCE_END = 8;
const ACKNOWLEDGEMENT_END = 12;
// The ends of an IPv6 connection: index of each one's four words.
const CLIENT = 0;
const VIRTUAL = 4;
const REAL = 8;
const REPLY = 12;

/** Sends a packet of a connection on as its method has it: worker/forwarder.ts. */
export interface PacketForwarder {
  forward(packet: Packet, entry: number, inbound: boolean): number;
}

export class IcmpRelay {
  private readonly view: DataView;
  private readonly connections: ConnectionTable;
  private readonly entries: Int32Array;
  private readonly extension: Int32Array;
  private readonly realServers: RealServerTable;
  private readonly departure: Departure;
  private readonly egress: Egress;
  private readonly tracker: Tracker;
  private readonly forwarder: PacketForwarder;
  private readonly tunnelErrors: TunnelErrors;
  private readonly arrival: ErrorArrival;
  private readonly settings: Settings;
  private readonly seed: number;
  private readonly quoted = new QuotedPacket();
  private readonly ends = new Int32Array(16);

  constructor(
    tables: Tables,
    umem: Umem,
    departure: Departure,
    egress: Egress,
    tracker: Tracker,
    forwarder: PacketForwarder,
    icmp: IcmpSender,
    arrival: ErrorArrival,
  ) {
    this.view = umem.view;
    this.connections = tables.connections;
    this.entries = tables.connections.entries;
    this.extension = tables.connections.extension;
    this.realServers = tables.realServers;
    this.seed = tables.settings.hashSeed;
    this.departure = departure;
    this.egress = egress;
    this.tracker = tracker;
    this.forwarder = forwarder;
    this.settings = tables.settings;
    this.arrival = arrival;
    this.tunnelErrors = new TunnelErrors(tables, umem.view, tracker, icmp);
  }

  /** An ICMP or ICMPv6 error, as the parser knows it by its type. Returns its verdict. */
  process(packet: Packet): number {
    const isIpv4 = packet.family === FAMILY_IPV4;
    // IPv6 has no use for one in pieces, not even in one piece, as in IPVS; IPv4's is the host's.
    if (packet.fragmentHeader !== 0) return DROP.icmp_fragment;
    if (packet.fragment !== FRAGMENT_NONE) return PASS.no_connection;
    const icmp = packet.transport;
    const end = packet.ip + packet.total;
    if (end - icmp < ICMP_BYTES) return DROP.malformed;
    const quoted = this.quoted;
    if (!quoted.read(this.view, icmp + ICMP_BYTES, end, isIpv4)) return PASS.no_connection;
    if (!this.isToSource(packet, isIpv4)) return PASS.no_connection;
    if (quoted.isFollowed) {
      const verdict = isIpv4 ? this.locate4(packet) : this.locate6(packet);
      if (verdict !== GO_ON) return verdict;
    }
    return this.tunnelErrors.process(packet, quoted);
  }

  /** Is the error addressed to who sent the quoted packet? */
  private isToSource(packet: Packet, isIpv4: boolean): boolean {
    const view = this.view;
    const { ip } = this.quoted;
    if (isIpv4) return ipv4Destination(view, packet.ip) === ipv4Source(view, ip);
    const destination = packet.ip + IPV6_DESTINATION;
    const source = ip + IPV6_SOURCE;
    for (let byte = 0; byte < 16; byte += 4) {
      if (view.getInt32(destination + byte) !== view.getInt32(source + byte)) return false;
    }
    return true;
  }

  /** GO_ON: nobody's. */
  private locate4(packet: Packet): number {
    const view = this.view;
    const { ip, connectionProtocol: protocol } = this.quoted;
    const source = ipv4Destination(view, ip);
    const destination = ipv4Source(view, ip);
    const pair = turned(this.quoted.ports(view));
    const { tick } = packet;
    const hash = connectionHash(this.seed, protocol, source, destination, pair);
    const connections = this.connections;
    let entry = connections.find(hash, protocol, source, destination, pair, tick);
    if (entry === 0) entry = this.begin(packet, protocol, pair, hash);
    if (entry === 0) return this.refusal;
    const identity = this.entries[(entry << 4) + AT.identity]!;
    const direction = connections.match(entry, protocol, source, destination, pair, tick);
    return this.relate(packet, entry, identity, direction);
  }

  private locate6(packet: Packet): number {
    const view = this.view;
    const { ip, connectionProtocol: protocol } = this.quoted;
    const source = ip + IPV6_DESTINATION;
    const destination = ip + IPV6_SOURCE;
    const pair = turned(this.quoted.ports(view));
    const { tick } = packet;
    const kind = kindOf6(protocol);
    const hash = connectionHash6(this.seed, kind, view, source, destination, pair);
    const connections = this.connections;
    let entry = connections.find6(hash, kind, view, source, destination, pair, tick);
    if (entry === 0) entry = this.begin(packet, kind, pair, hash);
    if (entry === 0) return this.refusal;
    const identity = this.entries[(entry << 4) + AT.identity]!;
    const direction = connections.match6(entry, kind, view, source, destination, pair, tick);
    return this.relate(packet, entry, identity, direction);
  }

  /**
   * schedule_icmp: an error about a connection that is not known begins it. Its entry; 0: it does
   * not, and `refusal` says what becomes of the error: GO_ON, nobody's, or a verdict.
   */
  private begin(packet: Packet, kind: number, pair: number, hash: number): number {
    this.refusal = GO_ON;
    if (this.settings.scheduleIcmp === 0 || !this.quoted.hasPorts) return 0;
    if (!isErrorWhole(this.view, packet.ip, packet.transport, packet.total)) return 0;
    const entry = this.arrival.connect(packet, this.quoted, kind, pair, hash);
    const { verdict } = this.arrival;
    this.refusal = verdict === PASS.no_connection ? GO_ON : verdict;
    return entry;
  }
  private refusal = GO_ON;

  /** The error concerns a connection. */
  private relate(packet: Packet, entry: number, identity: number, direction: number): number {
    const base = entry << 4;
    const entries = this.entries;
    const method = (entries[base + AT.state]! >>> CONNECTION_METHOD_SHIFT) & 0xf;
    const server = entries[base + AT.realServer]! & CONNECTION_SERVER_BITS;
    const translates = method === METHOD_NAT || method === METHOD_FULLNAT;
    const inbound = direction === FROM_CLIENT;
    if (!inbound && (direction !== FROM_SERVER || !translates)) return GO_ON;
    if (entries[base + AT.identity] !== identity) return GO_ON;
    if (!isErrorWhole(this.view, packet.ip, packet.transport, packet.total))
      return DROP.icmp_checksum;
    // Slot 0: a connection that bypasses all servers.
    if (inbound && server !== 0 && !this.realServers.isAvailable(server)) {
      return DROP.real_server_unavailable;
    }
    this.tracker.count(server, inbound ? INWARD : OUTWARD, packet.total);
    packet.identity = identity;
    if (!translates) return this.forwarder.forward(packet, entry, true);
    const isFullnat = method === METHOD_FULLNAT;
    if (isFullnat && !inbound) this.learn(packet, server);
    return packet.family === FAMILY_IPV4
      ? this.send4(packet, entry, identity, inbound, isFullnat)
      : this.send6(packet, entry, identity, inbound, isFullnat);
  }

  /** How long a packet may be that FULLNAT has put the client's address into. */
  private learn(packet: Packet, server: number): void {
    const view = this.view;
    const { transport } = packet;
    const isIpv4 = packet.family === FAMILY_IPV4;
    if (!isTooBig(isIpv4, icmpType(view, transport), icmpCode(view, transport))) return;
    const rest = icmpRest(view, transport);
    const mtu = isIpv4 ? rest & 0xffff : rest >>> 0;
    if (mtu !== 0) this.realServers.learnPathMtu(server, mtu, packet.tick);
  }

  private send4(
    packet: Packet,
    entry: number,
    identity: number,
    inbound: boolean,
    isFullnat: boolean,
  ): number {
    const base = entry << 4;
    const entries = this.entries;
    const client = entries[base + AT.client]!;
    const virtual = entries[base + AT.virtual]!;
    const real = entries[base + AT.real]!;
    const reply = entries[base + AT.reply]!;
    const pair = entries[base + (inbound ? AT.replyPorts : AT.clientPorts)]!;
    const peer = inbound ? real : client;
    const hop = this.departure.hop4(base + (inbound ? AT.serverHop : AT.clientHop), peer);
    const step = this.departure.mayLeave(packet, hop, 0, entry, inbound);
    if (step !== GO_ON) return step;
    if (entries[base + AT.identity] !== identity) return PASS.no_connection;
    const view = this.view;
    const { ip, transport, at, tick, total } = packet;
    // To a FULLNAT server nothing comes from elsewhere than its local address.
    const kept = isFullnat ? reply : ipv4Source(view, ip);
    const source = inbound ? kept : virtual;
    if (isFullnat) this.shift(entry, inbound);
    translateIcmpError(
      view,
      ip,
      transport,
      ip + total - transport,
      source,
      peer,
      this.quoted,
      peer,
      inbound ? reply : virtual,
      pair,
    );
    return this.egress.send(at, ETHERNET_BYTES + total, 0, hop, peer, tick);
  }

  private send6(
    packet: Packet,
    entry: number,
    identity: number,
    inbound: boolean,
    isFullnat: boolean,
  ): number {
    const base = entry << 4;
    const entries = this.entries;
    const ends = this.ends;
    this.copyEnd(CLIENT, base + EXTENSION.at.client, base + AT.client);
    this.copyEnd(VIRTUAL, base + EXTENSION.at.virtual, base + AT.virtual);
    this.copyEnd(REAL, base + EXTENSION.at.real, base + AT.real);
    this.copyEnd(REPLY, base + EXTENSION.at.reply, base + AT.reply);
    const pair = entries[base + (inbound ? AT.replyPorts : AT.clientPorts)]!;
    const peer = inbound ? REAL : CLIENT;
    const hopWord = base + (inbound ? AT.serverHop : AT.clientHop);
    const word0 = ends[peer]!;
    const word1 = ends[peer + 1]!;
    const word2 = ends[peer + 2]!;
    const word3 = ends[peer + 3]!;
    const hop = this.departure.hop6(hopWord, word0, word1, word2, word3);
    const step = this.departure.mayLeave(packet, hop, 0, entry, inbound);
    if (step !== GO_ON) return step;
    if (entries[base + AT.identity] !== identity) return PASS.no_connection;
    const { ip, transport, at, tick, total } = packet;
    if (isFullnat) this.shift(entry, inbound);
    const kept = isFullnat ? REPLY : UNCHANGED;
    translateIcmpError6(
      this.view,
      ip,
      transport,
      ip + total - transport,
      ends,
      inbound ? kept : VIRTUAL,
      peer,
      this.quoted,
      peer,
      inbound ? REPLY : VIRTUAL,
      pair,
    );
    const length = ETHERNET_BYTES + total;
    return this.egress.send6(at, length, 0, hop, word0, word1, word2, word3, tick);
  }

  private copyEnd(to: number, extensionWord: number, word: number): void {
    const ends = this.ends;
    ends[to] = this.extension[extensionWord]!;
    ends[to + 1] = this.extension[extensionWord + 1]!;
    ends[to + 2] = this.extension[extensionWord + 2]!;
    ends[to + 3] = this.entries[word]!;
  }

  /**
   * FULLNAT moves a client's sequence numbers (forward/sequence.ts): the client is quoted its own
   * ones again, the server its own acknowledgements.
   */
  private shift(entry: number, inbound: boolean): void {
    const { protocol, transport, end } = this.quoted;
    if (protocol !== PROTOCOL_TCP) return;
    const delta = this.extension[(entry << 4) + EXTENSION.at.sequenceDelta]!;
    const view = this.view;
    if (inbound) {
      if (end - transport >= ACKNOWLEDGEMENT_END) shiftAcknowledgement(view, transport, delta);
    } else if (end - transport >= SEQUENCE_END) shiftSequence(view, transport, -delta);
  }
}

/** The ports of what goes the other way. */
function turned(pair: number): number {
  return (pair << 16) | (pair >>> 16);
}
