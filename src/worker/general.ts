/**
 * The way of every packet but those that pipeline.ts forwards by itself:
 *
 *   parse -> ICMP error? -> later fragment? -> connection? -> (service? -> schedule -> new one)
 *         -> state -> forwarder -> first fragment: the later ones follow
 *
 * Both families and all protocols; the packet in hand goes through the rooms. Each step returns a
 * verdict, as in pipeline.ts.
 */
import { unfinishedChecksum, unfinishedChecksum6 } from '../forward/checksum';
import { finishSctp } from '../forward/natUnusual';
import { ETHERNET_BYTES } from '../net/ethernet';
import {
  ipv4Destination,
  ipv4Source,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  ipv6NextHeader,
  ipv6PayloadLength,
  PROTOCOL_ICMP6,
} from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';
import { TCP_SYN, tcpFlags } from '../net/tcp';
import { ports } from '../net/transport';
import type { Umem } from '../port/umem';
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  type ConnectionTable,
  FROM_CLIENT,
  FROM_SERVER,
} from '../table/connection';
// Not from there: what it hands on is looked up by its name at each use.
import { kindOf6 } from '../table/connectionEntry';
import { COUNTER, DROP, FORWARDED, GO_ON, isPass, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import type { RealServerTable } from '../table/realServer';
import type { Settings } from '../table/setting';
import { SCTP_EVENT_INIT } from '../table/stateSctp';
import type { Arrival } from './arrival';
import type { Egress } from './egress';
import type { Forwarder } from './forwarder';
import {
  FAMILY_IPV4,
  FAMILY_IPV6,
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  type Packet,
} from './packet';
import { parsePacket } from './parsePacket';
import type { FragmentRoom, IcmpRoom } from './room';
import type { Tracker } from './track';

const { identity: IDENTITY, state: STATE, realServer: REAL_SERVER } = CONNECTION.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [CLIENT_TO_SERVER, SERVER_TO_CLIENT] = [FROM_CLIENT, FROM_SERVER];
const STAGED = FORWARDED;
const CONTINUE = GO_ON;
const [TCP, UDP, SCTP] = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];
const [ICMP, ICMP6] = [PROTOCOL_ICMP, PROTOCOL_ICMP6];
const [IPV4, IPV6] = [FAMILY_IPV4, FAMILY_IPV6];
const [WHOLE, FIRST, LATER] = [FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER];
const ETHERNET = ETHERNET_BYTES;
const IPV6_HEADER = IPV6_BYTES;
const [SOURCE6, DESTINATION6] = [IPV6_SOURCE, IPV6_DESTINATION];
const SYN = TCP_SYN;
const FOREIGN_PACKETS = COUNTER.foreign_packets;
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;
const SERVER_BITS = CONNECTION_SERVER_BITS;

/**
 * In place of an entry: there is no packet, nothing is done. So a function that calls one of these
 * ways can be made ready for packets before any is there (specialize.ts).
 */
export const NO_PACKET = -1;
const NOTHING = NO_PACKET;

export class GeneralPath {
  private readonly icmp: IcmpRoom;
  private readonly fragments: FragmentRoom;
  private readonly view: DataView;
  private readonly connections: ConnectionTable;
  private readonly entries: Int32Array;
  private readonly realServers: RealServerTable;
  private readonly settings: Settings;
  private readonly counters: Float64Array;
  private readonly arrival: Arrival;
  private readonly tracker: Tracker;
  private readonly forwarder: Forwarder;
  private readonly egress: Egress;
  private readonly seed: number;
  private readonly owner: number;
  /** Of the connection that `locate` found: which way the packet goes. */
  private direction = 0;

  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    arrival: Arrival,
    tracker: Tracker,
    forwarder: Forwarder,
    egress: Egress,
    icmp: IcmpRoom,
    fragments: FragmentRoom,
  ) {
    this.view = umem.view;
    this.connections = tables.connections;
    this.entries = tables.connections.entries;
    this.realServers = tables.realServers;
    this.settings = tables.settings;
    this.counters = tables.counters[worker]!;
    this.seed = tables.settings.hashSeed;
    this.owner = worker + 1;
    this.arrival = arrival;
    this.tracker = tracker;
    this.forwarder = forwarder;
    this.egress = egress;
    this.icmp = icmp;
    this.fragments = fragments;
  }

  /**
   * A frame of `lengthBytes` whose `at`, `port` and `tick` are in `packet`. Afterwards the frame is
   * not the caller's any more.
   */
  process(packet: Packet, lengthBytes: number): void {
    const verdict = parsePacket(this.view, packet, lengthBytes, this.seed);
    if (verdict !== CONTINUE) this.refuse(packet, verdict, lengthBytes);
    else this.settle(packet, this.dispatch(packet));
  }

  /**
   * As `process`, of a frame that is PLAIN_IPV6, with its hash and the candidate that fits it;
   * `vacancy` is the packet's already.
   */
  processPlain6(packet: Packet, hash: number, candidate: number): void {
    if (candidate === NOTHING) return;
    fillPlain6(this.view, packet, hash);
    if (this.settings.serviceCount === 0) {
      this.settle(packet, PASS.no_service);
      return;
    }
    const entry = this.locate(packet, candidate);
    this.settle(packet, this.handle(packet, entry));
  }

  /** An IPv4 packet that the pipeline has filled in, with the candidate that fits it. */
  processPlain4(packet: Packet, candidate: number): void {
    if (candidate === NOTHING) return;
    const entry = this.locate(packet, candidate);
    this.settle(packet, this.handle(packet, entry));
  }

  /** The same of one whose connection is known, with its identity: to the rooms of its method. */
  proceed(packet: Packet, entry: number, inbound: boolean): void {
    if (entry === NOTHING) return;
    this.settle(packet, this.follow(packet, entry, inbound));
  }

  private dispatch(packet: Packet): number {
    // Without a service connections are nobody's either: the host answers them, as IPVS has it.
    if (this.settings.serviceCount === 0) return PASS.no_service;
    const { protocol } = packet;
    if (packet.fragment === LATER) return this.fragments.follow(packet);
    if (protocol === ICMP || protocol === ICMP6) return this.icmp.process(packet);
    const entry = this.locate(packet, this.connections.candidate(packet.hash));
    return this.handle(packet, entry);
  }

  /** The packet's connection, 0 = none; its identity and direction are left where they belong. */
  private locate(packet: Packet, candidate: number): number {
    this.direction = 0;
    if (candidate !== 0 && this.matches(packet, candidate)) return candidate;
    const connections = this.connections;
    const { hash, kind, ip, tick } = packet;
    const view = this.view;
    const pair = packet.ports;
    const entry =
      packet.family === IPV4
        ? connections.find(hash, kind, ipv4Source(view, ip), ipv4Destination(view, ip), pair, tick)
        : connections.find6(hash, kind, view, ip + SOURCE6, ip + DESTINATION6, pair, tick);
    return entry !== 0 && this.matches(packet, entry) ? entry : 0;
  }

  private matches(packet: Packet, entry: number): boolean {
    const connections = this.connections;
    const { kind, ip, tick } = packet;
    const view = this.view;
    const pair = packet.ports;
    // Read before the match: what ends and becomes another's after that is noticed.
    packet.identity = this.entries[(entry << 4) + IDENTITY]!;
    this.direction =
      packet.family === IPV4
        ? connections.match(
            entry,
            kind,
            ipv4Source(view, ip),
            ipv4Destination(view, ip),
            pair,
            tick,
          )
        : connections.match6(entry, kind, view, ip + SOURCE6, ip + DESTINATION6, pair, tick);
    return this.direction !== 0;
  }

  /** A packet with ports and its connection, 0 = none. */
  private handle(packet: Packet, located: number): number {
    let entry = located;
    let inbound = this.direction === CLIENT_TO_SERVER;
    let verdict: number;
    const isFirst = packet.fragment === FIRST;
    if (isFirst) this.fragments.meet(packet);
    if (entry !== 0 && inbound && this.isReplaced(packet, entry)) entry = 0;
    if (entry !== 0) verdict = this.follow(packet, entry, inbound);
    else {
      entry = this.begin(packet);
      if (entry === 0) verdict = this.arrival.verdict;
      else {
        inbound = true;
        packet.identity = this.entries[(entry << 4) + IDENTITY]!;
        verdict = this.follow(packet, entry, true);
        this.arrival.dismissOnePacket(entry, isFirst, packet.tick);
      }
    }
    if (isFirst) this.fragments.tell(packet, verdict, entry, inbound);
    return verdict;
  }

  /** Only what has ports of its own begins a connection: AH and ESP follow another's. */
  private begin(packet: Packet): number {
    const { protocol } = packet;
    if (protocol === TCP || protocol === UDP || protocol === SCTP) {
      return this.arrival.connect(packet);
    }
    this.arrival.verdict = PASS.no_connection;
    return 0;
  }

  private isReplaced(packet: Packet, entry: number): boolean {
    let { flags } = packet;
    if (packet.protocol === SCTP) flags = flags === SCTP_EVENT_INIT ? SYN : 0;
    if (packet.fragment === FIRST) flags &= ~SYN;
    const tracker = this.tracker;
    return tracker.mayBeReplaced(flags) && tracker.isReplaced(entry, flags, packet.tick);
  }

  /** A packet of a connection: state, timer, counters, then by its method. */
  private follow(packet: Packet, entry: number, inbound: boolean): number {
    const entries = this.entries;
    const base = entry << 4;
    const { identity } = packet;
    const server = entries[base + REAL_SERVER]! & SERVER_BITS;
    // Slot 0: a connection that bypasses all servers.
    if (inbound && !this.realServers.isAvailable(server) && server !== 0) {
      return DROP.real_server_unavailable;
    }
    const method = (entries[base + STATE]! >>> METHOD_SHIFT) & 0xf;
    if (entries[base + IDENTITY] !== identity) return PASS.no_connection;
    if (!inbound) {
      const step = this.forwarder.mayReturn(packet, entry);
      if (step !== CONTINUE) return step;
    }
    const { protocol, flags, tick, total } = packet;
    this.tracker.advance(entry, base, protocol, inbound, method, flags, tick);
    this.tracker.count(server, inbound ? CLIENT_TO_SERVER : SERVER_TO_CLIENT, total);
    if (((identity >>> 8) & 0xff) !== this.owner) this.counters[FOREIGN_PACKETS]! += 1;
    return this.forwarder.forward(packet, entry, inbound);
  }

  /** Ends a packet that is not forwarded. */
  private settle(packet: Packet, verdict: number): void {
    if (verdict !== STAGED) this.finish(packet, verdict);
  }

  private refuse(packet: Packet, verdict: number, lengthBytes: number): void {
    // Malformed, or no IP packet at all: its fields say nothing.
    if (packet.total === 0) {
      this.egress.finish(verdict, packet.at, lengthBytes, 0);
      return;
    }
    if (packet.fragment === FIRST) {
      this.fragments.meet(packet);
      this.fragments.tell(packet, verdict, 0, false);
    }
    this.finish(packet, verdict);
  }

  /** Gives a parsed packet to the host, with its checksum request, or drops it. */
  finish(packet: Packet, verdict: number): void {
    const checksum = isPass(verdict) ? this.hostChecksum(packet) : 0;
    this.egress.finish(verdict, packet.at, packet.frameBytes, checksum);
  }

  private hostChecksum(packet: Packet): number {
    if (packet.fragment !== WHOLE) return 0;
    const { at, ip, transport, protocol } = packet;
    const length = packet.transportBytes;
    const view = this.view;
    if (protocol === SCTP && length >= SCTP_BYTES_MIN) {
      finishSctp(view, transport, length);
      return 0;
    }
    if (length < (protocol === TCP ? TCP_BYTES : UDP_BYTES_MIN)) return 0;
    if (protocol !== TCP && protocol !== UDP) return 0;
    if (packet.family === IPV6) {
      return unfinishedChecksum6(view, at, ip, transport, protocol, length);
    }
    const source = ipv4Source(view, ip);
    const destination = ipv4Destination(view, ip);
    return unfinishedChecksum(view, at, transport, protocol, source, destination, length);
  }
}

const SCTP_BYTES_MIN = 12;
const TCP_BYTES = 20;
const UDP_BYTES_MIN = 8;

/** What parsePacket makes of a frame that parse.ts found to be PLAIN_IPV6. */
function fillPlain6(view: DataView, packet: Packet, hash: number): void {
  const ip = packet.at + ETHERNET;
  const transport = ip + IPV6_HEADER;
  const protocol = ipv6NextHeader(view, ip);
  packet.family = IPV6;
  packet.ip = ip;
  packet.total = IPV6_HEADER + ipv6PayloadLength(view, ip);
  packet.sourceAt = ip + SOURCE6;
  packet.destinationAt = ip + DESTINATION6;
  packet.transport = transport;
  packet.protocol = protocol;
  packet.kind = kindOf6(protocol);
  packet.ports = ports(view, transport);
  packet.flags = protocol === TCP ? tcpFlags(view, transport) : 0;
  packet.hash = hash;
  packet.fragment = WHOLE;
  packet.fragmentId = 0;
  packet.fragmentHeader = 0;
}
