/**
 * The way of a packet through a worker, on one page:
 *
 *   parse -> connection? -> (service? -> schedule -> new connection) -> state -> rewrite
 *         -> next hop -> tx
 *
 * A burst goes through in three passes, so that the cache lines of one packet are on their way
 * from memory while another is worked on: (1) parse, hash, touch the index line; (2) pick the
 * candidate entry, touch it; (3) everything else. Each step returns a verdict: FORWARDED, or the
 * counter of why not (table/counter.ts). After construction nothing here allocates.
 */
import { unfinishedChecksum } from '../forward/checksum';
import { translateDestination, translateSource } from '../forward/nat';
import { ETHERNET_BYTES } from '../net/ethernet';
import {
  CODE_FRAGMENTATION_NEEDED,
  CODE_PORT_UNREACHABLE,
  CODE_TTL_EXCEEDED,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
} from '../net/icmp';
import {
  FLAG_DONT_FRAGMENT,
  ipv4Destination,
  ipv4Fragment,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  ipv4Ttl,
  PROTOCOL_TCP,
} from '../net/ipv4';
import { TCP_RST, TCP_SYN, tcpFlags } from '../net/tcp';
import { ports } from '../net/transport';
import { BURST_MAX, type HostPort, type Port, RX_WORDS } from '../port/port';
import type { Umem } from '../port/umem';
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  type ConnectionTable,
  connectionHash,
  FROM_CLIENT,
} from '../table/connection';
import {
  COUNTER,
  DROP,
  FORWARDED,
  GO_ON,
  PASS,
  realServerTraffic,
  serviceTraffic,
  TRAFFIC_IN_BYTES,
  TRAFFIC_IN_PACKETS,
  TRAFFIC_OUT_BYTES,
  TRAFFIC_OUT_PACKETS,
} from '../table/counter';
import type { Tables } from '../table/memory';
import { HOP_LOCAL, type NextHopTable } from '../table/nextHop';
import type { RealServerTable } from '../table/realServer';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';
import {
  CLOSE,
  DIRECTION_IN,
  DIRECTION_OUT,
  isActiveState,
  NONE,
  nextTcpState,
  TIME_WAIT,
  UDP_NORMAL,
} from '../table/state';
import { Birth } from './birth';
import { Egress } from './egress';
import { Expiry } from './expire';
import { IcmpSender } from './icmp';
import { parseFrame } from './parse';

const {
  client: CLIENT,
  virtual: VIRTUAL,
  clientPorts: CLIENT_PORTS,
  real: REAL,
  replyPorts: REPLY_PORTS,
  identity: IDENTITY,
  state: STATE,
  realServer: REAL_SERVER,
  expiresAt: EXPIRES_AT,
  serverHop: SERVER_HOP,
  clientHop: CLIENT_HOP,
  timerAt: TIMER_AT,
} = CONNECTION.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const ETHERNET = ETHERNET_BYTES;
const TCP = PROTOCOL_TCP;
const SYN = TCP_SYN;
const DESCRIPTOR = RX_WORDS;
const CLIENT_TO_SERVER = FROM_CLIENT;
const STAGED = FORWARDED;
const CONTINUE = GO_ON;
const LOCAL = HOP_LOCAL;
const {
  rx_frames: RX_FRAMES,
  rx_bytes: RX_BYTES,
  foreign_packets: FOREIGN_PACKETS,
  checksums_unfinished: UNFINISHED,
} = COUNTER;
const [IN_PACKETS, OUT_PACKETS] = [TRAFFIC_IN_PACKETS, TRAFFIC_OUT_PACKETS];
const [IN_BYTES, OUT_BYTES] = [TRAFFIC_IN_BYTES, TRAFFIC_OUT_BYTES];
const [INWARD, OUTWARD] = [DIRECTION_IN, DIRECTION_OUT];

export class Pipeline {
  readonly egress: Egress;
  readonly expiry: Expiry;
  readonly #umem: Umem;
  readonly #view: DataView;
  readonly #services: ServiceTable;
  readonly #realServers: RealServerTable;
  readonly #connections: ConnectionTable;
  readonly #entries: Int32Array;
  readonly #settings: Settings;
  readonly #timeouts: Int32Array;
  readonly #hops: NextHopTable;
  readonly #counters: Float64Array;
  readonly #birth: Birth;
  readonly #icmp: IcmpSender;
  readonly #seed: number;
  readonly #owner: number;
  /** Of each frame of the burst: hash, and transport offset or ~verdict. */
  readonly #hashes = new Int32Array(BURST_MAX);
  readonly #transports = new Int32Array(BURST_MAX);
  readonly #candidates = new Int32Array(BURST_MAX);
  /** Keeps the reads of pass 1 and 2 from being optimised away. */
  #touched = 0;

  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    ports: readonly (Port | null)[],
    host: HostPort,
  ) {
    this.#umem = umem;
    this.#view = umem.view;
    this.#services = tables.services;
    this.#realServers = tables.realServers;
    this.#connections = tables.connections;
    this.#entries = tables.connections.entries;
    this.#settings = tables.settings;
    this.#timeouts = tables.settings.timeouts;
    this.#hops = tables.nextHops;
    this.#counters = tables.counters[worker]!;
    this.#seed = tables.settings.hashSeed;
    this.#owner = worker + 1;
    this.#birth = new Birth(tables, worker);
    this.expiry = new Expiry(tables, worker);
    this.egress = new Egress(umem, ports, host, tables.nextHops, this.#counters);
    this.#icmp = new IcmpSender(umem, this.egress, tables.nextHops, this.#counters);
  }

  /** A burst of `count` frames that `port` received. Afterwards none of them is the caller's. */
  process(port: Port, count: number): void {
    const rx = port.rx;
    const tick = this.#umem.clock[0]!;
    // Without a service connections are nobody's either: the host answers them, as IPVS has it.
    const isIdle = this.#settings.serviceCount === 0;
    this.#look(rx, count);
    this.#pick(count);
    for (let i = 0; i < count; i++) {
      const at = rx[i * DESCRIPTOR]!;
      const transport = this.#transports[i]!;
      if (transport < 0) this.egress.finish(~transport, at, rx[i * DESCRIPTOR + 1]!, 0);
      else if (isIdle) this.#passIdle(at, transport);
      else this.#forward(port, at, transport, this.#hashes[i]!, this.#candidates[i]!, tick);
    }
  }

  /** Pass 1: parse, hash, touch the index lines. */
  #look(rx: Int32Array, count: number): void {
    const view = this.#view;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const at = rx[i * DESCRIPTOR]!;
      const length = rx[i * DESCRIPTOR + 1]!;
      bytes += length;
      const transport = parseFrame(view, at, length);
      this.#transports[i] = transport;
      if (transport < 0) continue;
      const ip = at + ETHERNET;
      this.#hashes[i] = connectionHash(
        this.#seed,
        ipv4Protocol(view, ip),
        ipv4Source(view, ip),
        ipv4Destination(view, ip),
        ports(view, transport),
      );
    }
    this.#touched ^= this.#connections.touchIndex(this.#hashes, count);
    this.#counters[RX_FRAMES]! += count;
    this.#counters[RX_BYTES]! += bytes;
  }

  /** Pass 2: candidates, touch the entries. Where pass 1 gave no hash an old one does no harm. */
  #pick(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#candidates[i] = this.#connections.candidate(this.#hashes[i]!);
    }
    this.#touched ^= this.#connections.touchEntries(this.#candidates, count);
  }

  #passIdle(at: number, transport: number): void {
    const ip = at + ETHERNET;
    this.#finish(PASS.no_service, at, ip, transport, ipv4Protocol(this.#view, ip));
  }

  /** Pass 3 for one frame. */
  #forward(
    port: Port,
    at: number,
    transport: number,
    hash: number,
    candidate: number,
    tick: number,
  ): void {
    const view = this.#view;
    const ip = at + ETHERNET;
    const protocol = ipv4Protocol(view, ip);
    const source = ipv4Source(view, ip);
    const destination = ipv4Destination(view, ip);
    const pair = ports(view, transport);
    const connections = this.#connections;
    let entry = candidate;
    let direction =
      entry === 0 ? 0 : connections.match(entry, protocol, source, destination, pair, tick);
    if (direction === 0) {
      entry = connections.find(hash, protocol, source, destination, pair, tick);
      if (entry !== 0) {
        direction = connections.match(entry, protocol, source, destination, pair, tick);
      }
    }
    const flags = protocol === TCP ? tcpFlags(view, transport) : 0;
    if (direction === CLIENT_TO_SERVER && (flags & SYN) !== 0 && this.#isReused(entry, tick)) {
      direction = 0;
    }
    let verdict: number;
    if (direction === 0) {
      verdict = this.#arrive(
        port,
        at,
        transport,
        protocol,
        source,
        destination,
        pair,
        flags,
        hash,
        tick,
      );
    } else {
      verdict = this.#follow(port, at, transport, protocol, entry, direction, flags, tick);
    }
    if (verdict !== STAGED) this.#finish(verdict, at, ip, transport, protocol);
  }

  /** A packet without a connection: makes one if a service wants it. */
  #arrive(
    port: Port,
    at: number,
    transport: number,
    protocol: number,
    source: number,
    destination: number,
    pair: number,
    flags: number,
    hash: number,
    tick: number,
  ): number {
    const service = this.#services.find4(protocol, destination, pair & 0xffff);
    if (service === 0) return PASS.no_connection;
    let state = UDP_NORMAL;
    if (protocol === TCP) {
      if ((flags & (SYN | TCP_RST)) !== SYN) return PASS.not_scheduled;
      state = nextTcpState(INWARD, flags, NONE);
    }
    const entry = this.#birth.connect(
      service,
      protocol,
      source,
      destination,
      pair,
      hash,
      state,
      tick,
    );
    if (entry !== 0) {
      return this.#follow(port, at, transport, protocol, entry, CLIENT_TO_SERVER, flags, tick);
    }
    const refusal = this.#birth.refusal;
    if (refusal !== DROP.no_real_server) return refusal;
    return this.#icmp.answer(
      refusal,
      at,
      ICMP_UNREACHABLE,
      CODE_PORT_UNREACHABLE,
      0,
      destination,
      tick,
    );
  }

  /** A packet of a connection: state, timer, counters, rewrite, next hop, tx. */
  #follow(
    port: Port,
    at: number,
    transport: number,
    protocol: number,
    entry: number,
    direction: number,
    flags: number,
    tick: number,
  ): number {
    const entries = this.#entries;
    const base = entry << 4;
    const identity = entries[base + IDENTITY]!;
    const inbound = direction === CLIENT_TO_SERVER;
    const server = entries[base + REAL_SERVER]!;
    if (inbound && !this.#realServers.isAvailable(server)) return DROP.real_server_unavailable;
    this.#advance(entry, base, protocol, inbound, flags, tick);
    const view = this.#view;
    const ip = at + ETHERNET;
    const total = ipv4TotalLength(view, ip);
    this.#count(server, inbound, total);
    if (((identity >>> 8) & 0xff) !== this.#owner) this.#counters[FOREIGN_PACKETS]! += 1;

    const peer = inbound ? entries[base + REAL]! : entries[base + CLIENT]!;
    const hop = this.#hop(base + (inbound ? SERVER_HOP : CLIENT_HOP), peer);
    const step = this.#mayLeave(port, at, ip, total, hop, entry, inbound, tick);
    if (step !== CONTINUE) return step;

    const length = total - (transport - ip);
    const address = inbound ? peer : entries[base + VIRTUAL]!;
    const portNumber = inbound
      ? entries[base + REPLY_PORTS]! >>> 16
      : entries[base + CLIENT_PORTS]! & 0xffff;
    // The entry may have ended and be another's by now: then these are not this packet's.
    if (entries[base + IDENTITY] !== identity) return PASS.no_connection;
    const checksum = inbound
      ? translateDestination(view, at, ip, transport, protocol, length, address, portNumber)
      : translateSource(view, at, ip, transport, protocol, length, address, portNumber);
    if (checksum !== 0) this.#counters[UNFINISHED]! += 1;
    return this.egress.send(at, ETHERNET + total, checksum, hop, peer, tick);
  }

  /** State and timer of a connection after one more packet. */
  #advance(
    entry: number,
    base: number,
    protocol: number,
    inbound: boolean,
    flags: number,
    tick: number,
  ): void {
    const entries = this.#entries;
    const word = entries[base + STATE]!;
    let state = word & 0xff;
    if (protocol === TCP) {
      const next = nextTcpState(inbound ? INWARD : OUTWARD, flags, state);
      if (next !== state) {
        this.#transit(base, word, next);
        state = next;
      }
    }
    const expiresAt = (tick + this.#timeouts[state]!) | 0;
    if (entries[base + EXPIRES_AT] === expiresAt) return;
    entries[base + EXPIRES_AT] = expiresAt;
    if (((expiresAt - entries[base + TIMER_AT]!) | 0) < 0) this.expiry.sooner(entry, tick);
  }

  /** Another worker may do the same at this moment: then its transition holds. */
  #transit(base: number, word: number, next: number): void {
    const wasActive = (word & CONNECTION_ACTIVE) !== 0;
    const active = isActiveState(next);
    const changed = (word & ~(0xff | CONNECTION_ACTIVE)) | next | (active ? CONNECTION_ACTIVE : 0);
    if (Atomics.compareExchange(this.#entries, base + STATE, word, changed) !== word) return;
    if (active !== wasActive) this.#realServers.move(this.#entries[base + REAL_SERVER]!, active);
  }

  /** conn_reuse_mode 1: a SYN on a connection that is over ends it, to be scheduled anew. */
  #isReused(entry: number, tick: number): boolean {
    const state = this.#entries[(entry << 4) + STATE]! & 0xff;
    if (state !== TIME_WAIT && state !== CLOSE) return false;
    this.#entries[(entry << 4) + EXPIRES_AT] = tick;
    this.expiry.sooner(entry, tick);
    return true;
  }

  #count(server: number, inbound: boolean, lengthBytes: number): void {
    if (!this.#realServers.isAvailable(server)) return;
    const counters = this.#counters;
    const ofServer = realServerTraffic(server);
    const ofService = serviceTraffic(this.#realServers.service(server));
    const packets = inbound ? IN_PACKETS : OUT_PACKETS;
    const bytes = inbound ? IN_BYTES : OUT_BYTES;
    counters[ofServer + packets]! += 1;
    counters[ofServer + bytes]! += lengthBytes;
    counters[ofService + packets]! += 1;
    counters[ofService + bytes]! += lengthBytes;
  }

  /** The hop that the connection remembers, or a new one. */
  #hop(word: number, address: number): number {
    const remembered = this.#entries[word]!;
    if (remembered > 0 && this.#hops.isCurrent(remembered)) return remembered;
    const hop = this.#hops.resolve(address);
    if (hop > 0) this.#entries[word] = hop;
    return hop;
  }

  /** What a router checks before it forwards: TTL, MTU. CONTINUE, or the verdict. */
  #mayLeave(
    port: Port,
    at: number,
    ip: number,
    total: number,
    hop: number,
    entry: number,
    inbound: boolean,
    tick: number,
  ): number {
    if (hop === LOCAL) return PASS.local_real_server;
    const view = this.#view;
    const expired = ipv4Ttl(view, ip) <= 1;
    const tooLong = hop > 0 && total > this.egress.mtu(hop);
    if (!expired && !tooLong) return CONTINUE;
    // Errors to the client come from the VIP, to the server from the director's own address.
    const own = inbound
      ? this.#entries[(entry << 4) + VIRTUAL]!
      : this.#hops.links.address(port.slot);
    if (expired) {
      return this.#icmp.answer(
        DROP.ttl_exceeded,
        at,
        ICMP_TIME_EXCEEDED,
        CODE_TTL_EXCEEDED,
        0,
        own,
        tick,
      );
    }
    if ((ipv4Fragment(view, ip) & FLAG_DONT_FRAGMENT) === 0) return DROP.mtu_exceeded;
    return this.#icmp.answer(
      DROP.mtu_exceeded,
      at,
      ICMP_UNREACHABLE,
      CODE_FRAGMENTATION_NEEDED,
      this.egress.mtu(hop),
      own,
      tick,
    );
  }

  /** Gives a frame that is not forwarded to the host, with its checksum request, or drops it. */
  #finish(verdict: number, at: number, ip: number, transport: number, protocol: number): void {
    const view = this.#view;
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
