/**
 * Making connections: service found, a real server chosen under the service's lock, an entry
 * written and published. Ending them is expire.ts.
 */
import { ipv4Destination, ipv4Source, PROTOCOL_UDP } from '../net/ipv4';
import { schedule } from '../scheduler/index';
import { ScheduleRequest } from '../scheduler/request';
import { type ConnectionTable, INSERT_EXISTS, INSERT_FULL } from '../table/connection';
// Not from there: what it hands on is looked up by its name at each use.
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  CONNECTION_LIVES,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_ONE_PACKET,
  EXTENSION,
  kindFamily,
} from '../table/connectionEntry';
import {
  COUNTER,
  DROP,
  realServerTraffic,
  serviceTraffic,
  TRAFFIC_CONNECTIONS,
} from '../table/counter';
import type { Tables } from '../table/memory';
import {
  METHOD_BYPASS,
  METHOD_FULLNAT,
  METHOD_NAT,
  type RealServerTable,
} from '../table/realServer';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';
import { ESTABLISHED, isActiveState, SYN_RECV, SYNACK } from '../table/state';
import type { TimerWheel } from '../table/timer';
import type { Expiry } from './expire';
import { FAMILY_IPV4, type Packet } from './packet';
import { Persistence } from './persistence';
import type { FullnatRoom } from './room';
import { ServerHops } from './serverHops';

const {
  client: CLIENT,
  virtual: VIRTUAL,
  clientPorts: CLIENT_PORTS,
  real: REAL,
  reply: REPLY,
  replyPorts: REPLY_PORTS,
  identity: IDENTITY,
  state: STATE,
  realServer: REAL_SERVER,
  expiresAt: EXPIRES_AT,
  serverHop: SERVER_HOP,
  clientHop: CLIENT_HOP,
  timerAt: TIMER_AT,
  control: CONTROL,
} = CONNECTION.at;
const { client: CLIENT6, virtual: VIRTUAL6, real: REAL6, reply: REPLY6 } = EXTENSION.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [ACTIVE, LIVES, ONE_PACKET] = [CONNECTION_ACTIVE, CONNECTION_LIVES, CONNECTION_ONE_PACKET];
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;
const [NAT, FULLNAT, BYPASS] = [METHOD_NAT, METHOD_FULLNAT, METHOD_BYPASS];
const [EXISTS, FULL] = [INSERT_EXISTS, INSERT_FULL];
const [IPV4, UDP] = [FAMILY_IPV4, PROTOCOL_UDP];
const [ESTABLISHED_STATE, SYN_RECEIVED, SYNACK_STATE] = [ESTABLISHED, SYN_RECV, SYNACK];
const { connections_created: CREATED, connections_expired: EXPIRED } = COUNTER;
const TRAFFIC = TRAFFIC_CONNECTIONS;
const { table_full: TABLE_FULL, lock_busy: LOCK_BUSY } = DROP;
const { local_ports_exhausted: NO_LOCAL_PORT } = DROP;

/** Do replies of connections with this forwarding method come back through the director? */
export function repliesReturn(method: number): boolean {
  return method === NAT || method === FULLNAT;
}

/** What `choose` answers instead of a server, and the verdict of each (by its negative). */
const BUSY = -1;
const NO_ROOM = -2;
/** How long a one-packet connection stays for later fragments: 2 s. */
const LINGER_TICKS = 20;
/** Longer than any timeout. */
const FOREVER_TICKS = 1 << 30;
/** Words of an IPv6 address that stand in the extension. */
const FIRST_WORDS = 3;
const REFUSALS: readonly number[] = [DROP.no_real_server, LOCK_BUSY, TABLE_FULL];

export class Birth {
  private readonly tables: Tables;
  private readonly request: ScheduleRequest;
  private readonly persistence: Persistence;
  private readonly services: ServiceTable;
  private readonly realServers: RealServerTable;
  private readonly connections: ConnectionTable;
  private readonly entries: Int32Array;
  private readonly extension: Int32Array;
  private readonly view: DataView;
  /** Where FULLNAT connections get their local address and port. */
  private readonly fullnat: FullnatRoom | null;
  private readonly settings: Settings;
  private readonly wheel: TimerWheel;
  private readonly hops: ServerHops;
  private readonly counters: Float64Array;
  private readonly worker: number;
  private readonly owner: number;
  /** Why `connect` returned 0: a DROP verdict. */
  refusal: number = TABLE_FULL;

  constructor(tables: Tables, worker: number, view: DataView, fullnat: FullnatRoom | null = null) {
    this.fullnat = fullnat;
    this.tables = tables;
    this.view = view;
    this.extension = tables.connections.extension;
    this.request = new ScheduleRequest(worker + 1, tables.settings.hashSeed + worker);
    this.persistence = new Persistence(tables, worker, view);
    this.services = tables.services;
    this.realServers = tables.realServers;
    this.connections = tables.connections;
    this.entries = tables.connections.entries;
    this.settings = tables.settings;
    this.wheel = tables.wheels[worker]!;
    this.hops = new ServerHops(tables);
    this.counters = tables.counters[worker]!;
    this.worker = worker;
    this.owner = worker + 1;
  }

  /**
   * A new connection of a packet to `service`, in `state`. Returns its entry; the one that another
   * worker made meanwhile when there is one; 0 when there is none to be had: see `refusal`.
   */
  connect(packet: Packet, service: number, state: number): number {
    const connections = this.connections;
    const entry = connections.allocate(this.worker);
    if (entry === 0) return this.refuse(TABLE_FULL);
    const active = isActiveState(state);
    this.fillRequest(packet);
    const server = this.choose(service, packet, active);
    if (server <= 0) {
      connections.free(entry, this.worker);
      return this.refuse(REFUSALS[-server]!);
    }
    this.write(entry, service, server, packet, state, active);
    const method = this.realServers.method(server);
    if (method === FULLNAT && !this.beginFullnat(entry, service, server)) {
      this.undo(entry, server, active, false);
      return this.refuse(NO_LOCAL_PORT);
    }
    if (packet.protocol === UDP && this.services.isOnePacket(service)) {
      return this.writeOnePacket(entry, service, server);
    }
    const { tick, vacancy } = packet;
    const result = connections.insert(entry, this.owner, repliesReturn(method), tick, vacancy);
    if (result !== 0) {
      this.undo(entry, server, active, method === FULLNAT);
      if (result !== EXISTS) {
        return this.refuse(result === FULL ? TABLE_FULL : LOCK_BUSY);
      }
      // Should that one have ended by now, the client's next try makes its own.
      this.refusal = LOCK_BUSY;
      return this.find(packet);
    }
    this.wheel.link(entry, packet.tick);
    this.count(service, server);
    return entry;
  }

  /**
   * A connection without a server: its packets go on to where the client wrote (cache_bypass). As
   * `connect`, but for its real address, which is the virtual one.
   */
  bypass(packet: Packet, state: number): number {
    const connections = this.connections;
    const entry = connections.allocate(this.worker);
    if (entry === 0) return this.refuse(TABLE_FULL);
    const active = isActiveState(state);
    this.persistence.template = 0;
    this.write(entry, 0, 0, packet, state, active);
    this.copyVirtual(entry << 4, packet.ports & 0xffff);
    this.entries[(entry << 4) + STATE]! |= BYPASS << METHOD_SHIFT;
    const result = connections.insert(entry, this.owner, false, packet.tick, packet.vacancy);
    if (result !== 0) {
      this.entries[(entry << 4) + IDENTITY]! &= ~0xffff;
      connections.free(entry, this.worker);
      if (result === FULL) return this.refuse(TABLE_FULL);
      this.refusal = LOCK_BUSY;
      return result === EXISTS ? this.find(packet) : 0;
    }
    this.wheel.link(entry, packet.tick);
    this.counters[CREATED]! += 1;
    return entry;
  }

  private copyVirtual(at: number, port: number): void {
    const entries = this.entries;
    const extension = this.extension;
    entries[at + REAL] = entries[at + VIRTUAL]!;
    entries[at + REPLY_PORTS] = (port << 16) | (entries[at + REPLY_PORTS]! & 0xffff);
    if (kindFamily(entries[at + IDENTITY]! & 0xff) === 4) return;
    for (let word = 0; word < FIRST_WORDS; word++) {
      extension[at + REAL6 + word] = extension[at + VIRTUAL6 + word]!;
    }
  }

  private fillRequest(packet: Packet): void {
    const view = this.view;
    const { ports, protocol, ip, tick } = packet;
    const port = ports >>> 16;
    if (packet.family === IPV4) {
      this.request.set4(ipv4Source(view, ip), ipv4Destination(view, ip), port, protocol, tick);
    } else {
      this.request.set6(view, packet.sourceAt, packet.destinationAt, port, protocol, tick);
    }
  }

  private beginFullnat(entry: number, service: number, server: number): boolean {
    return this.fullnat?.begin(entry, service, server) ?? true;
  }

  private find(packet: Packet): number {
    const { hash, kind, ports, ip, tick } = packet;
    const view = this.view;
    const connections = this.connections;
    if (packet.family === IPV4) {
      const source = ipv4Source(view, ip);
      const destination = ipv4Destination(view, ip);
      return connections.find(hash, kind, source, destination, ports, tick);
    }
    const { sourceAt, destinationAt } = packet;
    return connections.find6(hash, kind, view, sourceAt, destinationAt, ports, tick);
  }

  private refuse(verdict: number): number {
    this.refusal = verdict;
    return 0;
  }

  /**
   * Chooses and binds a server under the service's lock, so that thresholds hold to the last
   * connection. 0: there is none; BUSY, NO_ROOM.
   */
  private choose(service: number, packet: Packet, active: boolean): number {
    const services = this.services;
    if (!services.lock(service, this.owner)) return BUSY;
    let server = 0;
    if (services.isInUse(service) && this.isServed(service, packet.ports & 0xffff)) {
      this.persistence.template = 0;
      server =
        services.persistentTicks(service) === 0
          ? schedule(this.tables, service, this.request)
          : this.persistence.choose(service, this.request, packet);
      // Without room for a template the client would not keep its server.
      if (
        server > 0 &&
        this.persistence.template === 0 &&
        services.persistentTicks(service) !== 0
      ) {
        server = NO_ROOM;
      }
      if (server > 0) this.realServers.bind(server, active);
    }
    services.unlock(service, this.owner);
    return server;
  }

  /** A service that is not persistent is for its own port alone: FTP's data need persistence. */
  private isServed(service: number, port: number): boolean {
    const services = this.services;
    return (
      port === services.port(service) ||
      services.persistentTicks(service) !== 0 ||
      services.fwmark(service) !== 0
    );
  }

  /** After its packet: a one-packet connection ends at once. Others stay. */
  dismissOnePacket(entry: number, expiry: Expiry): void {
    const at = (entry << 4) + STATE;
    const word = this.entries[at]!;
    if ((word & ONE_PACKET) === 0) return;
    this.entries[at] = 0;
    if (((word >>> METHOD_SHIFT) & 0xf) === FULLNAT) this.fullnat?.end(entry);
    this.entries[(entry << 4) + IDENTITY]! &= ~0xffff;
    expiry.dismiss(entry, word);
    this.counters[EXPIRED]! += 1;
  }

  /** As dismissOnePacket, after a first fragment: the later ones are to follow it. */
  lingerOnePacket(entry: number, tick: number): void {
    const at = entry << 4;
    if ((this.entries[at + STATE]! & ONE_PACKET) === 0) return;
    this.entries[at + EXPIRES_AT] = (tick + LINGER_TICKS) | 0;
    this.wheel.link(entry, tick);
  }

  /** A connection for this packet alone: nobody else will find it. See `dismiss`. */
  private writeOnePacket(entry: number, service: number, server: number): number {
    const at = entry << 4;
    this.entries[at + STATE]! |= ONE_PACKET;
    // It is on no timer: none of its packets may ever ask for a sooner look.
    this.entries[at + TIMER_AT] = (this.entries[at + EXPIRES_AT]! - FOREVER_TICKS) | 0;
    this.count(service, server);
    return entry;
  }

  /**
   * The port at the real server. A persistent service maps only the port that it has itself:
   * behind one for all ports, or for a mark, each port goes to the same port.
   */
  private realPort(service: number, server: number, port: number): number {
    const mapped = this.realServers.port(server);
    if (mapped === 0) return port;
    if (this.services.persistentTicks(service) === 0) return mapped;
    return port === this.services.port(service) ? mapped : port;
  }

  private write(
    entry: number,
    service: number,
    server: number,
    packet: Packet,
    state: number,
    active: boolean,
  ): void {
    const entries = this.entries;
    const realServers = this.realServers;
    const { ports, tick } = packet;
    const at = entry << 4;
    const realPort = this.realPort(service, server, ports & 0xffff);
    if (packet.family === IPV4) this.writeAddresses4(at, packet, server);
    else this.writeAddresses6(at, packet, server);
    entries[at + CLIENT_PORTS] = ports;
    entries[at + REPLY_PORTS] = (realPort << 16) | (ports >>> 16);
    entries[at + STATE] =
      LIVES |
      this.firstState(state, server) |
      (active ? ACTIVE : 0) |
      (realServers.method(server) << METHOD_SHIFT);
    entries[at + REAL_SERVER] = server;
    entries[at + EXPIRES_AT] = (tick + this.settings.timeouts[state]!) | 0;
    entries[at + SERVER_HOP] = this.hops.get(server, packet.family);
    entries[at + CLIENT_HOP] = 0;
    entries[at + CONTROL] = this.persistence.template;
    if (state === ESTABLISHED_STATE && this.persistence.template !== 0) {
      this.persistence.assure(this.persistence.template);
    }
    this.connections.born[entry] = tick;
    const generation = entries[at + IDENTITY]! & ~0xffff;
    entries[at + IDENTITY] = generation | (this.owner << 8) | packet.kind;
  }

  private writeAddresses4(at: number, packet: Packet, server: number): void {
    const entries = this.entries;
    const realServers = this.realServers;
    const client = ipv4Source(this.view, packet.ip);
    entries[at + CLIENT] = client;
    entries[at + VIRTUAL] = ipv4Destination(this.view, packet.ip);
    entries[at + REAL] = realServers.family(server) === 4 ? realServers.address4(server) : 0;
    entries[at + REPLY] = client;
  }

  private writeAddresses6(at: number, packet: Packet, server: number): void {
    const entries = this.entries;
    const extension = this.extension;
    const realServers = this.realServers;
    const view = this.view;
    const { sourceAt, destinationAt } = packet;
    const isSame = realServers.family(server) === 6;
    for (let word = 0; word < FIRST_WORDS; word++) {
      const client = view.getInt32(sourceAt + 4 * word);
      extension[at + CLIENT6 + word] = client;
      extension[at + VIRTUAL6 + word] = view.getInt32(destinationAt + 4 * word);
      extension[at + REAL6 + word] = isSame ? realServers.addressWord(server, word) : 0;
      extension[at + REPLY6 + word] = client;
    }
    const client = view.getInt32(sourceAt + 4 * FIRST_WORDS);
    entries[at + CLIENT] = client;
    entries[at + VIRTUAL] = view.getInt32(destinationAt + 4 * FIRST_WORDS);
    entries[at + REAL] = isSame ? realServers.addressWord(server, FIRST_WORDS) : 0;
    entries[at + REPLY] = client;
  }

  /** `state` is that of a connection whose replies are seen; with secure_tcp others begin apart. */
  private firstState(state: number, server: number): number {
    if (state !== SYN_RECEIVED || this.settings.secureTcp === 0) return state;
    return repliesReturn(this.realServers.method(server)) ? state : SYNACK_STATE;
  }

  private undo(entry: number, server: number, active: boolean, hasLocalPort: boolean): void {
    if (hasLocalPort) this.fullnat?.end(entry);
    this.realServers.unbind(server, active);
    if (this.persistence.template !== 0) this.persistence.release(this.persistence.template);
    this.entries[(entry << 4) + IDENTITY] = (this.entries[(entry << 4) + IDENTITY]! & ~0xffff) | 0;
    this.connections.free(entry, this.worker);
  }

  private count(service: number, server: number): void {
    const counters = this.counters;
    counters[CREATED]! += 1;
    counters[serviceTraffic(service) + TRAFFIC]! += 1;
    counters[realServerTraffic(server) + TRAFFIC]! += 1;
  }
}
