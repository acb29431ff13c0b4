/**
 * The way of a packet through a worker, on one page:
 *
 *   parse -> connection? -> (service? -> schedule -> new connection) -> next hop -> state
 *         -> tx -> rewrite
 *
 * A burst goes through in three passes, so that the cache lines of one packet are on their way
 * from memory while another is worked on: (1) parse, hash, fetch the index line; (2) pick the
 * candidate entry, fetch it; (3) everything else. Each step returns a verdict: FORWARDED, or the
 * counter of why not (table/counter.ts). After construction nothing here allocates.
 *
 * Whole TCP and UDP packets over IPv4 of connections with NAT or DR go through right here. All
 * others, and whatever begins a connection, take the general path (general.ts), IPv6 after passes
 * 1 and 2.
 */
import { unfinishedChecksum } from '../forward/checksum';
import { routeDirectly } from '../forward/directRouting';
import { translate } from '../forward/nat';
import { ETHERNET_BYTES } from '../net/ethernet';
import {
  IPV4_DESTINATION,
  IPV4_SOURCE,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv4Ttl,
  PROTOCOL_TCP,
} from '../net/ipv4';
import { IPV6_BYTES, IPV6_DESTINATION, IPV6_SOURCE, ipv6NextHeader } from '../net/ipv6';
import { TCP_SYN, tcpFlags } from '../net/tcp';
import { ports } from '../net/transport';
import { BURST_MAX, type HostPort, type Port, RX_WORDS } from '../port/port';
import { OFFSET_BITS, type Umem } from '../port/umem';
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  type ConnectionTable,
  DIRECTED,
  FROM_CLIENT,
  VACANCY_UNKNOWN,
} from '../table/connection';
import { byDirection, connectionHash, connectionHash6, kindOf6 } from '../table/connectionEntry';
import { INDEX } from '../table/connectionIndex';
import { COUNTER, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import { type MakePrefetcher, type Prefetcher, prefetchByReading } from '../table/prefetch';
import { METHOD_DR, METHOD_FULLNAT, METHOD_NAT, type RealServerTable } from '../table/realServer';
import type { Settings } from '../table/setting';
import type { Departure } from './departure';
import type { Egress } from './egress';
import type { Expiry } from './expire';
import type { Fragments } from './fragments';
import { type GeneralPath, NO_PACKET } from './general';
import { FAMILY_IPV4, FRAGMENT_NONE, type Packet } from './packet';
import { GENERAL, MISPLACED, PLAIN_IPV6, parseFrame } from './parse';
import { Rooms } from './rooms';
import { type Join, joinPlainly } from './specialize';
import type { Tracker } from './track';

const { identity: IDENTITY, state: STATE, realServer: REAL_SERVER } = CONNECTION.at;
const { first: HOP, step: HOP_STEP } = DIRECTED.hop;
const { first: ADDRESS, step: ADDRESS_STEP } = DIRECTED.address;
const { first: PORTS, step: PORTS_STEP } = DIRECTED.ports;
const { first: PORT_SHIFT, step: PORT_SHIFT_STEP } = DIRECTED.portShift;
const [SOURCE4, DESTINATION4] = [IPV4_SOURCE, IPV4_DESTINATION];
const { first: FIELD, step: FIELD_STEP } = byDirection(DESTINATION4, SOURCE4);
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const ETHERNET = ETHERNET_BYTES;
const TCP = PROTOCOL_TCP;
const SYN = TCP_SYN;
const DESCRIPTOR = RX_WORDS;
// Masks that change nothing: by them V8 knows that what is added to a number cannot overflow.
const [OFFSET, ENTRY] = [OFFSET_BITS, INDEX.entryBits];
const LENGTH = 0xffff;
const PLACE = BURST_MAX - 1;
/** A frame begins with a word of its memory. */
const UNALIGNED = 3;
/** Of a smaller burst nothing is fetched ahead: asking for it takes longer than it saves. */
const FETCH_MIN = 3;
const CLIENT_TO_SERVER = FROM_CLIENT;
const {
  rx_frames: RX_FRAMES,
  rx_bytes: RX_BYTES,
  foreign_packets: FOREIGN_PACKETS,
  checksums_unfinished: UNFINISHED,
} = COUNTER;
const DR = METHOD_DR;
const NAT = METHOD_NAT;
const FULLNAT = METHOD_FULLNAT;
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;
const SERVER_BITS = CONNECTION_SERVER_BITS;
const [TO_GENERAL, PLAIN6, OFF_WORD] = [GENERAL, PLAIN_IPV6, MISPLACED];
const IPV4 = FAMILY_IPV4;
const UNKNOWN = VACANCY_UNKNOWN;
const NOTHING = NO_PACKET;
const WHOLE = FRAGMENT_NONE;
const IPV6_HEADER = IPV6_BYTES;
const [SOURCE6, DESTINATION6] = [IPV6_SOURCE, IPV6_DESTINATION];

export class Pipeline {
  readonly egress: Egress;
  readonly expiry: Expiry;
  readonly fragments: Fragments;
  /** A burst of `count` frames that `port` received. Afterwards none of them is the caller's. */
  readonly process: Pipeline['processBurst'];
  /** Expiry.run */
  readonly expire: Expiry['run'];
  private readonly general: GeneralPath;
  private readonly processPlain4: GeneralPath['processPlain4'];
  private readonly processPlain6: GeneralPath['processPlain6'];
  private readonly proceed: GeneralPath['proceed'];
  private readonly umem: Umem;
  private readonly rx: Int32Array;
  private readonly view: DataView;
  private readonly halfWords: Uint16Array;
  private readonly realServers: RealServerTable;
  private readonly connections: ConnectionTable;
  private readonly entries: Int32Array;
  private readonly settings: Settings;
  private readonly counters: Float64Array;
  private readonly packet: Packet;
  private readonly tracker: Tracker;
  private readonly departure: Departure;
  private readonly seed: number;
  private readonly owner: number;
  /** Of each frame of the burst: hash, and transport offset or ~verdict. */
  private readonly hashes = new Int32Array(BURST_MAX);
  private readonly transports = new Int32Array(BURST_MAX);
  private readonly candidates = new Int32Array(BURST_MAX);
  /** Of those without a candidate. */
  private readonly vacancies = new Int32Array(BURST_MAX);
  private readonly indexLines: Prefetcher;
  private readonly entryLines: Prefetcher;
  private readonly extensionLines: Prefetcher;
  /** Connections with an extension are met in this burst (IPv6), or were in the last (FULLNAT). */
  private isExtended = false;

  /** `join`: how what is called for each burst, and the rarer ways of a packet, are called. */
  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    ports: readonly (Port | null)[],
    host: HostPort,
    prefetch: MakePrefetcher = prefetchByReading,
    join: Join = joinPlainly,
  ) {
    for (const port of ports) {
      // A list by slot may have holes.
      if (port && port.rx !== umem.rx) {
        throw new RangeError(`port ${port.name}: receives into another list than its UMEM's`);
      }
    }
    this.umem = umem;
    this.rx = umem.rx;
    this.view = umem.view;
    this.halfWords = umem.halfWords;
    this.realServers = tables.realServers;
    this.connections = tables.connections;
    this.entries = tables.connections.entries;
    this.settings = tables.settings;
    this.counters = tables.counters[worker]!;
    this.seed = tables.settings.hashSeed;
    this.owner = worker + 1;
    const rooms = new Rooms(tables, worker, umem, ports, host);
    this.egress = rooms.egress;
    this.expiry = rooms.expiry;
    this.fragments = rooms.fragments;
    this.general = rooms.general;
    this.packet = rooms.packet;
    this.tracker = rooms.tracker;
    this.departure = rooms.departure;
    this.indexLines = tables.connections.indexPrefetcher(prefetch, this.hashes);
    this.entryLines = tables.connections.entryPrefetcher(prefetch, this.candidates);
    this.extensionLines = tables.connections.extensionPrefetcher(prefetch, this.candidates);
    const { general, expiry, packet } = rooms;
    this.processPlain4 = join(general, 'processPlain4', packet, NOTHING);
    this.processPlain6 = join(general, 'processPlain6', packet, 0, NOTHING);
    this.proceed = join(general, 'proceed', packet, NOTHING, true);
    this.expire = join(expiry, 'run', 0, 0);
    this.process = join(this as Pipeline, 'processBurst', packet.port, 0);
  }

  /** See `process`. */
  processBurst(port: Port, count: number): void {
    const rx = this.rx;
    const tick = this.umem.clock[0]!;
    // Without a service connections are nobody's either: the host answers them, as IPVS has it.
    const isIdle = this.settings.serviceCount === 0;
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += this.look(i);
    if (count >= FETCH_MIN) this.indexLines.fetch(count);
    for (let i = 0; i < count; i++) this.pick(i);
    if (count >= FETCH_MIN) this.entryLines.fetch(count);
    if (this.isExtended) this.extensionLines.fetch(count);
    this.isExtended = false;
    this.counters[RX_FRAMES]! += count;
    this.counters[RX_BYTES]! += bytes;
    for (let i = 0; i < count; i++) {
      const at = rx[(i & PLACE) * DESCRIPTOR]!;
      const transport = this.transports[i]!;
      if (transport < 0) this.divert(port, at, rx[i * DESCRIPTOR + 1]!, transport, i, tick);
      else if (isIdle) this.passIdle(at, transport);
      else this.forward(port, at, transport, i, tick);
    }
  }

  /** What pass 1 found to be no plain IPv4 packet. `place`: in the burst. */
  private divert(
    port: Port,
    at: number,
    lengthBytes: number,
    transport: number,
    place: number,
    tick: number,
  ): void {
    if (transport > TO_GENERAL) {
      this.egress.finish(~transport, at, lengthBytes, 0);
      return;
    }
    const packet = this.packet;
    // A reference costs more to store than a number.
    if (packet.port !== port) packet.port = port;
    packet.at = transport === OFF_WORD ? this.align(at, lengthBytes) : at;
    packet.tick = tick;
    if (transport === PLAIN6) {
      packet.vacancy = this.candidates[place]! === 0 ? this.vacancies[place]! : UNKNOWN;
      this.processPlain6(packet, this.hashes[place]!, this.candidates[place]!);
    } else this.general.process(packet, lengthBytes);
  }

  /** Pass 1 for one frame: parse, hash. Returns its length in bytes. */
  private look(place: number): number {
    const { rx, view } = this;
    const descriptor = (place & PLACE) * DESCRIPTOR;
    const length = rx[descriptor + 1]! & LENGTH;
    const at = rx[descriptor]! & OFFSET;
    const transport = (at & UNALIGNED) === 0 ? parseFrame(view, at, length) : OFF_WORD;
    this.transports[place] = transport;
    const ip = at + ETHERNET;
    if (transport >= 0) {
      this.hashes[place] = connectionHash(
        this.seed,
        ipv4Protocol(view, ip),
        ipv4Source(view, ip),
        ipv4Destination(view, ip),
        ports(view, transport),
      );
    } else if (transport === PLAIN6) {
      this.hashes[place] = this.hash6(ip);
      this.isExtended = true;
    }
    return length;
  }

  /** Moves a frame to where all rooms may take it to be; no driver known makes that necessary. */
  private align(at: number, lengthBytes: number): number {
    const to = at & ~UNALIGNED;
    this.umem.bytes.copyWithin(to, at, at + lengthBytes);
    return to;
  }

  private hash6(ip: number): number {
    const view = this.view;
    const kind = kindOf6(ipv6NextHeader(view, ip));
    const pair = ports(view, ip + IPV6_HEADER);
    return connectionHash6(this.seed, kind, view, ip + SOURCE6, ip + DESTINATION6, pair);
  }

  /** Pass 2 for one frame: its candidate. Where pass 1 gave no hash an old one does no harm. */
  private pick(place: number): void {
    const connections = this.connections;
    const candidate = connections.candidate(this.hashes[place]!);
    this.candidates[place] = candidate;
    if (candidate === 0) this.vacancies[place] = connections.vacancy;
  }

  private passIdle(at: number, transport: number): void {
    const ip = at + ETHERNET;
    this.finish(PASS.no_service, at, ip, transport, ipv4Protocol(this.view, ip));
  }

  /**
   * Pass 3 for one frame; `place`: its number in the burst. What is not a packet of a connection,
   * or not one that is forwarded as a matter of course, goes the general path, from the start: so
   * that nothing here has a branch to come back from.
   */
  private forward(
    port: Port,
    offset: number,
    transportOffset: number,
    place: number,
    tick: number,
  ): void {
    const view = this.view;
    const candidate = this.candidates[place]!;
    const at = offset & OFFSET;
    const transport = transportOffset & OFFSET;
    const ip = at + ETHERNET;
    const protocol = ipv4Protocol(view, ip);
    const source = ipv4Source(view, ip);
    const destination = ipv4Destination(view, ip);
    const pair = ports(view, transport);
    // Read before the match: what ends and becomes another's after that is noticed.
    const identity = this.entries[((candidate & ENTRY) << 4) + IDENTITY]!;
    const direction = this.connections.match(candidate, protocol, source, destination, pair, tick);
    const flags = protocol === TCP ? tcpFlags(view, transport) : 0;
    if (
      direction === 0 ||
      (direction === CLIENT_TO_SERVER && (flags & SYN) !== 0) ||
      !this.follow(port, at, transport, protocol, candidate, identity, direction & 3, flags, tick)
    ) {
      this.fill(port, at, transport, protocol, pair, flags, this.hashes[place]!, tick);
      this.packet.vacancy = candidate === 0 ? this.vacancies[place]! : UNKNOWN;
      this.processPlain4(this.packet, candidate);
    }
  }

  /**
   * A packet of a connection: next hop, state, timer, counters, tx, rewrite; or to the rooms of its
   * method. False: it is no plain case, and nothing was done.
   */
  private follow(
    port: Port,
    at: number,
    transport: number,
    protocol: number,
    entry: number,
    identity: number,
    direction: number,
    flags: number,
    tick: number,
  ): boolean {
    const { view, entries, tracker, egress } = this;
    const base = (entry & ENTRY) << 4;
    const inbound = direction === CLIENT_TO_SERVER;
    const server = entries[base + REAL_SERVER]! & SERVER_BITS;
    if (!this.realServers.isAvailable(server)) return false;
    const method = (entries[base + STATE]! >>> METHOD_SHIFT) & 0xf;
    if (method !== NAT && method !== DR) {
      if (method === FULLNAT) this.isExtended = true;
      this.fill(port, at, transport, protocol, ports(view, transport), flags, 0, tick);
      this.packet.identity = identity;
      this.proceed(this.packet, entry, inbound);
      return true;
    }
    const hop = this.departure.remembered(base + HOP + HOP_STEP * direction);
    const ip = at + ETHERNET;
    const total = ipv4TotalLength(view, ip);
    const address = entries[base + ADDRESS + ADDRESS_STEP * direction]!;
    const pair = entries[base + PORTS + PORTS_STEP * direction]!;
    // The entry may have ended and be another's by now: then these are not this packet's.
    if (hop === 0 || ipv4Ttl(view, ip) <= 1 || entries[base + IDENTITY] !== identity) return false;
    const way = egress.way(hop, total);
    if (way === null) return false;
    tracker.advance(entry, base, protocol, inbound, method, flags, tick);
    tracker.countFor(server, direction, total);
    if (((identity >>> 8) & 0xff) !== this.owner) this.counters[FOREIGN_PACKETS]! += 1;
    egress.stage(way, at, ETHERNET + total, hop, tick);
    // The last to be done, for V8 knows little of anything after it has stored by a DataView.
    const { halfWords } = this;
    const length = total - (transport - ip);
    const field = FIELD + FIELD_STEP * direction;
    const newPort = (pair >>> (PORT_SHIFT + PORT_SHIFT_STEP * direction)) & 0xffff;
    const request =
      method === DR
        ? routeDirectly(view, halfWords, at, ip, transport, protocol, length)
        : translate(view, halfWords, at, ip, transport, protocol, length, field, address, newPort);
    if (request !== 0) this.request(way, request);
    return true;
  }

  private request(way: Port, checksum: number): void {
    this.counters[UNFINISHED]! += 1;
    this.egress.request(way, checksum);
  }

  /** The packet in hand, for the general path. */
  private fill(
    port: Port,
    at: number,
    transport: number,
    protocol: number,
    pair: number,
    flags: number,
    hash: number,
    tick: number,
  ): void {
    const packet = this.packet;
    const ip = at + ETHERNET;
    if (packet.port !== port) packet.port = port;
    packet.at = at;
    packet.total = ipv4TotalLength(this.view, ip);
    packet.family = IPV4;
    packet.ip = ip;
    packet.sourceAt = ip + SOURCE4;
    packet.destinationAt = ip + DESTINATION4;
    packet.transport = transport;
    packet.protocol = protocol;
    packet.kind = protocol;
    packet.ports = pair;
    packet.flags = flags;
    packet.hash = hash;
    packet.fragment = WHOLE;
    packet.fragmentId = 0;
    packet.fragmentHeader = 0;
    packet.tick = tick;
  }

  /** Gives a frame that is not forwarded to the host, with its checksum request, or drops it. */
  private finish(
    verdict: number,
    at: number,
    ip: number,
    transport: number,
    protocol: number,
  ): void {
    const view = this.view;
    const total = ipv4TotalLength(view, ip);
    const checksum = unfinishedChecksum(
      view,
      at,
      transport,
      protocol,
      ipv4Source(view, ip),
      ipv4Destination(view, ip),
      total - ipv4HeaderBytes(view, ip),
    );
    this.egress.finish(verdict, at, ETHERNET + total, checksum);
  }
}
