/**
 * Fragments of IPv4 and IPv6 packets, without reassembly. The first one has the ports: it goes the
 * way of every packet, and what became of it is noted for the whole director (table/fragment.ts).
 * Later ones follow it: to the connection's other end with their addresses rewritten, to the host,
 * or nowhere. One that comes before its first fragment is held here, in its chunk, until that was
 * noted by any worker, at most a second; then the host gets it, whose own reassembly decides.
 *
 *   first fragment -> meet -> connection ... verdict -> tell
 *   later fragment -> follow -> known: forward, host, drop
 *                            -> not yet: held -> run: known | too long | no room
 *
 * Of those held the oldest gives way to a new one: in a flood without first fragments each is held
 * for a shorter time, but still longer than the queues of a NIC differ.
 *
 * What cannot be part of any datagram, or would write over the transport header that was looked at
 * (RFC 1858, RFC 3128), is dropped here. Other overlaps are the receiver's business, which drops
 * them (RFC 5722): nothing is put together here.
 */
import { ETHERNET_BYTES } from '../net/ethernet';
import {
  FRAGMENT_UNIT,
  FRAGMENT6_BYTES,
  fragmentOffset4,
  fragmentOffset6,
  hasMore4,
  hasMore6,
  PACKET_BYTES_MAX,
} from '../net/fragment';
import { IPV4_DESTINATION, IPV4_SOURCE, ipv4Protocol, PROTOCOL_TCP } from '../net/ipv4';
import { IPV6_BYTES, IPV6_DESTINATION, IPV6_SOURCE } from '../net/ipv6';
import { PROTOCOL_SCTP, SCTP_BYTES } from '../net/sctp';
import { TCP_BYTES_MIN } from '../net/tcp';
import type { Port } from '../port/port';
import type { Umem } from '../port/umem';
import { CONNECTION, CONNECTION_SERVER_BITS, FROM_CLIENT, FROM_SERVER } from '../table/connection';
import { COUNTER, DROP, FORWARDED, GO_ON, isDrop, PASS } from '../table/counter';
import {
  ADDRESS_WORDS4,
  ADDRESS_WORDS6,
  FATE_DROPPED,
  FATE_FROM_CLIENT,
  FATE_FROM_SERVER,
  FATE_HOST,
  FATE_UNKNOWN,
  type FragmentTable,
  NOTED_BY_FORCE,
} from '../table/fragment';
import type { Tables } from '../table/memory';
import type { RealServerTable } from '../table/realServer';
import type { Egress } from './egress';
import type { Forwarder } from './forwarder';
import { FAMILY_IPV4, FRAGMENT_LATER, Packet } from './packet';
import type { FragmentRoom } from './room';
import type { Tracker } from './track';

// Bound here, so that a rare branch has nothing to look up.
const [INWARD, OUTWARD] = [FROM_CLIENT, FROM_SERVER];
const REFUSED = DROP.fragment_refused;
const UNAVAILABLE = DROP.real_server_unavailable;
/** Fragments that a worker holds at most; and never more than a quarter of its frame memory. */
export const HELD_MAX = 256;
/** How long, in ticks. */
export const HELD_TICKS = 10;

const {
  identity: IDENTITY,
  realServer: REAL_SERVER,
  clientPorts: CLIENT_PORTS,
  replyPorts: REPLY_PORTS,
} = CONNECTION.at;

// A held frame: words of one list, oldest first.
const WORDS = 12;
const [AT, SLOT, TOTAL, FAMILY, IP, TRANSPORT] = [0, 1, 2, 3, 4, 5];
const [PROTOCOL, HEADER, ID, HASH, SINCE] = [6, 7, 8, 9, 10];

export class Fragments implements FragmentRoom {
  private readonly view: DataView;
  private readonly table: FragmentTable;
  private readonly entries: Int32Array;
  private readonly realServers: RealServerTable;
  private readonly counters: Float64Array;
  private readonly ports: readonly (Port | null)[];
  private readonly forwarder: Forwarder;
  private readonly egress: Egress;
  private readonly tracker: Tracker;
  private readonly owner: number;
  private readonly heldMax: number;
  private readonly list: Int32Array;
  /** A held packet that is looked at again. */
  private readonly packet: Packet;
  private heldCount = 0;
  private seenVersion = 0;
  private seenTick = 0;

  /** `ports` by interface slot. Throws a RangeError when there is none. */
  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    ports: readonly (Port | null)[],
    forwarder: Forwarder,
    egress: Egress,
    tracker: Tracker,
  ) {
    this.view = umem.view;
    this.table = tables.fragments;
    this.entries = tables.connections.entries;
    this.realServers = tables.realServers;
    this.counters = tables.counters[worker]!;
    this.ports = ports;
    this.forwarder = forwarder;
    this.egress = egress;
    this.tracker = tracker;
    this.owner = worker + 1;
    this.heldMax = Math.min(HELD_MAX, umem.chunkCount >> 2);
    this.list = new Int32Array(HELD_MAX * WORDS);
    const port = ports.find((each) => each !== null);
    if (port === undefined || port === null) {
      throw new RangeError(`worker ${worker} has no port: at least one is needed`);
    }
    this.packet = new Packet(port);
    this.packet.fragment = FRAGMENT_LATER;
  }

  /** Fragments that wait for their first one. */
  get held(): number {
    return this.heldCount;
  }

  /** A first fragment: which packet it is of, before its addresses are rewritten. */
  meet(packet: Packet): void {
    this.met = this.select(packet);
    this.metBytes = dataBytes(packet);
    this.errorsBefore = this.counters[COUNTER.icmp_sent]!;
  }
  private met = 0;
  private errorsBefore = 0;
  private metBytes = 0;

  /**
   * What became of the first fragment that was met last. Whatever has a connection is forwarded in
   * its way, also where the host does the last step: it gets all fragments rewritten or none.
   */
  tell(packet: Packet, verdict: number, entry: number, inbound: boolean): void {
    let fate = FATE_HOST;
    // Its sender got an ICMP error, in the very frame: the rest is of no use to anybody.
    const isAnswered = this.counters[COUNTER.icmp_sent] !== this.errorsBefore;
    if (isDrop(verdict) || isAnswered) fate = FATE_DROPPED;
    else if (entry !== 0) fate = inbound ? FATE_FROM_CLIENT : FATE_FROM_SERVER;
    const { identity, tick } = packet;
    const result = this.table.note(fate, entry, identity, this.metBytes, tick, this.owner);
    if (result === NOTED_BY_FORCE) this.counters[COUNTER.fragments_displaced]! += 1;
    if (this.heldCount > 0) this.lookAgain(this.met, true, tick);
  }

  /**
   * What becomes of a later fragment. FORWARDED: it was sent, or is held; else the verdict, and
   * the frame is still the caller's.
   */
  follow(packet: Packet): number {
    const sound = this.check(packet);
    if (sound !== GO_ON) return sound;
    const hash = this.select(packet);
    const fate = this.table.find(packet.tick);
    if (fate === FATE_UNKNOWN) return this.hold(packet, hash);
    if (this.heldCount > 0) {
      // In the order in which they came.
      this.lookAgain(hash, true, packet.tick);
      this.select(packet);
      this.table.find(packet.tick);
    }
    return this.go(packet, fate);
  }

  private select(packet: Packet): number {
    const view = this.view;
    const { family, fragmentId, sourceAt } = packet;
    if (family !== FAMILY_IPV4) {
      return this.table.select(family << 8, fragmentId, view, sourceAt, ADDRESS_WORDS6);
    }
    const kind = (family << 8) | ipv4Protocol(view, packet.ip);
    return this.table.select(kind, fragmentId, view, sourceAt, ADDRESS_WORDS4);
  }

  /** Can it be a part of a datagram, behind the transport header? GO_ON, or the verdict. */
  private check(packet: Packet): number {
    const view = this.view;
    const isIpv4 = packet.family === FAMILY_IPV4;
    const header = packet.fragmentHeader;
    const offset = isIpv4 ? fragmentOffset4(view, packet.ip) : fragmentOffset6(view, header);
    const more = isIpv4 ? hasMore4(view, packet.ip) : hasMore6(view, header);
    const headers = packet.transport - packet.ip;
    const bytes = packet.total - headers;
    // The whole packet's length field counts neither IPv6's fixed nor the fragment header.
    const counted = isIpv4 ? headers : headers - IPV6_BYTES - FRAGMENT6_BYTES;
    if (bytes <= 0 || counted + offset + bytes > PACKET_BYTES_MAX) return DROP.fragment_unsound;
    if (!isIpv4 && more && bytes % FRAGMENT_UNIT !== 0) return DROP.fragment_unsound;
    if (packet.protocol === PROTOCOL_TCP && offset < TCP_BYTES_MIN) return DROP.fragment_unsound;
    if (packet.protocol === PROTOCOL_SCTP && offset < SCTP_BYTES) return DROP.fragment_unsound;
    return GO_ON;
  }

  /** A later fragment whose datagram is selected and found. */
  private go(packet: Packet, fate: number): number {
    const view = this.view;
    const table = this.table;
    const { ip, fragmentHeader } = packet;
    const bytes = dataBytes(packet);
    let end = 0;
    if (packet.family === FAMILY_IPV4) {
      if (!hasMore4(view, ip)) end = fragmentOffset4(view, ip) + bytes;
    } else if (!hasMore6(view, fragmentHeader)) {
      end = fragmentOffset6(view, fragmentHeader) + bytes;
    }
    table.account(bytes, end, packet.tick);
    if (fate === FATE_HOST) return PASS.fragment;
    if (fate === FATE_DROPPED) return REFUSED;
    const entries = this.entries;
    const base = table.entry << 4;
    const identity = table.identity;
    const inbound = fate === FATE_FROM_CLIENT;
    const server = entries[base + REAL_SERVER]! & CONNECTION_SERVER_BITS;
    packet.ports = entries[base + (inbound ? CLIENT_PORTS : REPLY_PORTS)]!;
    packet.identity = identity;
    if (entries[base + IDENTITY] !== identity) return REFUSED;
    // Slot 0: a connection that bypasses all servers.
    if (inbound && !this.realServers.isAvailable(server) && server !== 0) {
      return UNAVAILABLE;
    }
    this.tracker.count(server, inbound ? INWARD : OUTWARD, packet.total);
    if (((identity >>> 8) & 0xff) !== this.owner) this.counters[COUNTER.foreign_packets]! += 1;
    return this.forwarder.forward(packet, table.entry, inbound);
  }

  /** Keeps a fragment until its first one is known. */
  private hold(packet: Packet, hash: number): number {
    if (this.heldMax === 0) return PASS.fragment_orphan;
    if (this.heldCount === this.heldMax) {
      this.counters[COUNTER.fragments_crowded_out]! += 1;
      this.giveToHost(0);
      this.heldCount--;
      this.list.copyWithin(0, WORDS, (this.heldCount + 1) * WORDS);
    }
    const list = this.list;
    const place = this.heldCount * WORDS;
    list[place + AT] = packet.at;
    list[place + SLOT] = packet.port.slot;
    list[place + TOTAL] = packet.total;
    list[place + FAMILY] = packet.family;
    list[place + IP] = packet.ip;
    list[place + TRANSPORT] = packet.transport;
    list[place + PROTOCOL] = packet.protocol;
    list[place + HEADER] = packet.fragmentHeader;
    list[place + ID] = packet.fragmentId;
    list[place + HASH] = hash;
    list[place + SINCE] = packet.tick;
    this.heldCount++;
    this.counters[COUNTER.fragments_held]! += 1;
    return FORWARDED;
  }

  private giveToHost(place: number): void {
    const at = this.list[place + AT]!;
    const bytes = ETHERNET_BYTES + this.list[place + TOTAL]!;
    this.egress.finish(PASS.fragment_orphan, at, bytes, 0);
  }

  /** Sends what was held and whose first fragment is known by now. Once a burst and tick. */
  run(tick: number): void {
    if (this.heldCount === 0) return;
    const version = this.table.version;
    if (version === this.seenVersion && tick === this.seenTick) return;
    this.seenVersion = version;
    this.seenTick = tick;
    this.lookAgain(0, false, tick);
  }

  /** All held fragments, or those of one hash, in the order in which they came. */
  private lookAgain(hash: number, only: boolean, tick: number): void {
    const list = this.list;
    const count = this.heldCount;
    let kept = 0;
    for (let held = 0; held < count; held++) {
      const place = held * WORDS;
      if ((!only || list[place + HASH] === hash) && this.isSettled(place, tick)) continue;
      if (kept !== held) list.copyWithin(kept * WORDS, place, place + WORDS);
      kept++;
    }
    this.heldCount = kept;
  }

  /** Was the fragment at `place` sent, given to the host or dropped? */
  private isSettled(place: number, tick: number): boolean {
    const list = this.list;
    const packet = this.packet;
    const ip = list[place + IP]!;
    const isIpv4 = list[place + FAMILY] === FAMILY_IPV4;
    packet.port = this.ports[list[place + SLOT]!]!;
    packet.at = list[place + AT]!;
    packet.total = list[place + TOTAL]!;
    packet.family = list[place + FAMILY]!;
    packet.ip = ip;
    packet.sourceAt = ip + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    packet.destinationAt = ip + (isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION);
    packet.transport = list[place + TRANSPORT]!;
    packet.protocol = list[place + PROTOCOL]!;
    packet.fragmentHeader = list[place + HEADER]!;
    packet.fragmentId = list[place + ID]!;
    packet.tick = tick;
    this.select(packet);
    const fate = this.table.find(tick);
    if (fate === FATE_UNKNOWN) {
      if (((tick - list[place + SINCE]!) | 0) < HELD_TICKS) return false;
      this.counters[COUNTER.fragments_timed_out]! += 1;
      this.giveToHost(place);
      return true;
    }
    this.counters[COUNTER.fragments_rejoined]! += 1;
    const verdict = this.go(packet, fate);
    if (verdict !== FORWARDED) {
      this.egress.finish(verdict, packet.at, ETHERNET_BYTES + packet.total, 0);
    }
    return true;
  }
}

/** Of a fragment: bytes behind IPv4's header, or IPv6's fragment header. */
function dataBytes(packet: Packet): number {
  const header =
    packet.family === FAMILY_IPV4 ? packet.transport : packet.fragmentHeader + FRAGMENT6_BYTES;
  return packet.total - (header - packet.ip);
}
