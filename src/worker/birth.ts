/**
 * Making connections: service found, a real server chosen under the service's lock, an entry
 * written and published. Ending them is expire.ts.
 */
import { ipv4Destination, ipv4Source, PROTOCOL_UDP } from '../net/ipv4';
import { schedule } from '../scheduler/index';
import { ScheduleRequest } from '../scheduler/request';
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  CONNECTION_LIVES,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_ONE_PACKET,
  type ConnectionTable,
  EXTENSION,
  INSERT_EXISTS,
  INSERT_FULL,
  kindFamily,
} from '../table/connection';
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

const AT = CONNECTION.at;
const AT6 = EXTENSION.at;

/** Do replies of connections with this forwarding method come back through the director? */
export function repliesReturn(method: number): boolean {
  return method === METHOD_NAT || method === METHOD_FULLNAT;
}

/** What `#choose` answers instead of a server, and the verdict of each (by its negative). */
const BUSY = -1;
const NO_ROOM = -2;
/** How long a one-packet connection stays for later fragments: 2 s. */
const LINGER_TICKS = 20;
/** Longer than any timeout. */
const FOREVER_TICKS = 1 << 30;
/** Words of an IPv6 address that stand in the extension. */
const FIRST_WORDS = 3;
const REFUSALS: readonly number[] = [DROP.no_real_server, DROP.lock_busy, DROP.table_full];

export class Birth {
  readonly #tables: Tables;
  readonly #request: ScheduleRequest;
  readonly #persistence: Persistence;
  readonly #services: ServiceTable;
  readonly #realServers: RealServerTable;
  readonly #connections: ConnectionTable;
  readonly #entries: Int32Array;
  readonly #extension: Int32Array;
  readonly #view: DataView;
  /** Where FULLNAT connections get their local address and port. */
  readonly #fullnat: FullnatRoom | null;
  readonly #settings: Settings;
  readonly #wheel: TimerWheel;
  readonly #counters: Float64Array;
  readonly #worker: number;
  readonly #owner: number;
  /** Why `connect` returned 0: a DROP verdict. */
  refusal: number = DROP.table_full;

  constructor(tables: Tables, worker: number, view: DataView, fullnat: FullnatRoom | null = null) {
    this.#fullnat = fullnat;
    this.#tables = tables;
    this.#view = view;
    this.#extension = tables.connections.extension;
    this.#request = new ScheduleRequest(worker + 1, tables.settings.hashSeed + worker);
    this.#persistence = new Persistence(tables, worker, view);
    this.#services = tables.services;
    this.#realServers = tables.realServers;
    this.#connections = tables.connections;
    this.#entries = tables.connections.entries;
    this.#settings = tables.settings;
    this.#wheel = tables.wheels[worker]!;
    this.#counters = tables.counters[worker]!;
    this.#worker = worker;
    this.#owner = worker + 1;
  }

  /**
   * A new connection of a packet to `service`, in `state`. Returns its entry; the one that another
   * worker made meanwhile when there is one; 0 when there is none to be had: see `refusal`.
   */
  connect(packet: Packet, service: number, state: number): number {
    const connections = this.#connections;
    const entry = connections.allocate(this.#worker);
    if (entry === 0) return this.#refuse(DROP.table_full);
    const active = isActiveState(state);
    this.#fillRequest(packet);
    const server = this.#choose(service, packet, active);
    if (server <= 0) {
      connections.free(entry, this.#worker);
      return this.#refuse(REFUSALS[-server]!);
    }
    this.#write(entry, service, server, packet, state, active);
    const method = this.#realServers.method(server);
    if (method === METHOD_FULLNAT && !this.#beginFullnat(entry, service, server)) {
      this.#undo(entry, server, active, false);
      return this.#refuse(DROP.local_ports_exhausted);
    }
    if (packet.protocol === PROTOCOL_UDP && this.#services.isOnePacket(service)) {
      return this.#writeOnePacket(entry, service, server);
    }
    const result = connections.insert(entry, this.#owner, repliesReturn(method), packet.tick);
    if (result !== 0) {
      this.#undo(entry, server, active, method === METHOD_FULLNAT);
      if (result !== INSERT_EXISTS) {
        return this.#refuse(result === INSERT_FULL ? DROP.table_full : DROP.lock_busy);
      }
      // Should that one have ended by now, the client's next try makes its own.
      this.refusal = DROP.lock_busy;
      return this.#find(packet);
    }
    this.#wheel.link(entry, packet.tick);
    this.#count(service, server);
    return entry;
  }

  /**
   * A connection without a server: its packets go on to where the client wrote (cache_bypass). As
   * `connect`, but for its real address, which is the virtual one.
   */
  bypass(packet: Packet, state: number): number {
    const connections = this.#connections;
    const entry = connections.allocate(this.#worker);
    if (entry === 0) return this.#refuse(DROP.table_full);
    const active = isActiveState(state);
    this.#persistence.template = 0;
    this.#write(entry, 0, 0, packet, state, active);
    this.#copyVirtual(entry << 4, packet.ports & 0xffff);
    this.#entries[(entry << 4) + AT.state]! |= METHOD_BYPASS << CONNECTION_METHOD_SHIFT;
    const result = connections.insert(entry, this.#owner, false, packet.tick);
    if (result !== 0) {
      this.#entries[(entry << 4) + AT.identity]! &= ~0xffff;
      connections.free(entry, this.#worker);
      if (result === INSERT_FULL) return this.#refuse(DROP.table_full);
      this.refusal = DROP.lock_busy;
      return result === INSERT_EXISTS ? this.#find(packet) : 0;
    }
    this.#wheel.link(entry, packet.tick);
    this.#counters[COUNTER.connections_created]! += 1;
    return entry;
  }

  #copyVirtual(at: number, port: number): void {
    const entries = this.#entries;
    const extension = this.#extension;
    entries[at + AT.real] = entries[at + AT.virtual]!;
    entries[at + AT.replyPorts] = (port << 16) | (entries[at + AT.replyPorts]! & 0xffff);
    if (kindFamily(entries[at + AT.identity]! & 0xff) === 4) return;
    for (let word = 0; word < FIRST_WORDS; word++) {
      extension[at + AT6.real + word] = extension[at + AT6.virtual + word]!;
    }
  }

  #fillRequest(packet: Packet): void {
    const view = this.#view;
    const { ports, protocol, ip, tick } = packet;
    const port = ports >>> 16;
    if (packet.family === FAMILY_IPV4) {
      this.#request.set4(ipv4Source(view, ip), ipv4Destination(view, ip), port, protocol, tick);
    } else {
      this.#request.set6(view, packet.sourceAt, packet.destinationAt, port, protocol, tick);
    }
  }

  #beginFullnat(entry: number, service: number, server: number): boolean {
    return this.#fullnat?.begin(entry, service, server) ?? true;
  }

  #find(packet: Packet): number {
    const { hash, kind, ports, ip, tick } = packet;
    const view = this.#view;
    const connections = this.#connections;
    if (packet.family === FAMILY_IPV4) {
      const source = ipv4Source(view, ip);
      const destination = ipv4Destination(view, ip);
      return connections.find(hash, kind, source, destination, ports, tick);
    }
    const { sourceAt, destinationAt } = packet;
    return connections.find6(hash, kind, view, sourceAt, destinationAt, ports, tick);
  }

  #refuse(verdict: number): number {
    this.refusal = verdict;
    return 0;
  }

  /**
   * Chooses and binds a server under the service's lock, so that thresholds hold to the last
   * connection. 0: there is none; BUSY, NO_ROOM.
   */
  #choose(service: number, packet: Packet, active: boolean): number {
    const services = this.#services;
    if (!services.lock(service, this.#owner)) return BUSY;
    let server = 0;
    if (services.isInUse(service) && this.#isServed(service, packet.ports & 0xffff)) {
      this.#persistence.template = 0;
      server =
        services.persistentTicks(service) === 0
          ? schedule(this.#tables, service, this.#request)
          : this.#persistence.choose(service, this.#request, packet);
      // Without room for a template the client would not keep its server.
      if (
        this.#persistence.template === 0 &&
        services.persistentTicks(service) !== 0 &&
        server > 0
      ) {
        server = NO_ROOM;
      }
      if (server > 0) this.#realServers.bind(server, active);
    }
    services.unlock(service, this.#owner);
    return server;
  }

  /** A service that is not persistent is for its own port alone: FTP's data need persistence. */
  #isServed(service: number, port: number): boolean {
    const services = this.#services;
    return (
      port === services.port(service) ||
      services.persistentTicks(service) !== 0 ||
      services.fwmark(service) !== 0
    );
  }

  /** After its packet: a one-packet connection ends at once. Others stay. */
  dismissOnePacket(entry: number, expiry: Expiry): void {
    const at = (entry << 4) + AT.state;
    const word = this.#entries[at]!;
    if ((word & CONNECTION_ONE_PACKET) === 0) return;
    this.#entries[at] = 0;
    if (((word >>> CONNECTION_METHOD_SHIFT) & 0xf) === METHOD_FULLNAT) this.#fullnat?.end(entry);
    this.#entries[(entry << 4) + AT.identity]! &= ~0xffff;
    expiry.dismiss(entry, word);
    this.#counters[COUNTER.connections_expired]! += 1;
  }

  /** As dismissOnePacket, after a first fragment: the later ones are to follow it. */
  lingerOnePacket(entry: number, tick: number): void {
    const at = entry << 4;
    if ((this.#entries[at + AT.state]! & CONNECTION_ONE_PACKET) === 0) return;
    this.#entries[at + AT.expiresAt] = (tick + LINGER_TICKS) | 0;
    this.#wheel.link(entry, tick);
  }

  /** A connection for this packet alone: nobody else will find it. See `dismiss`. */
  #writeOnePacket(entry: number, service: number, server: number): number {
    const at = entry << 4;
    this.#entries[at + AT.state]! |= CONNECTION_ONE_PACKET;
    // It is on no timer: none of its packets may ever ask for a sooner look.
    this.#entries[at + AT.timerAt] = (this.#entries[at + AT.expiresAt]! - FOREVER_TICKS) | 0;
    this.#count(service, server);
    return entry;
  }

  /**
   * The port at the real server. A persistent service maps only the port that it has itself:
   * behind one for all ports, or for a mark, each port goes to the same port.
   */
  #realPort(service: number, server: number, port: number): number {
    const mapped = this.#realServers.port(server);
    if (mapped === 0) return port;
    if (this.#services.persistentTicks(service) === 0) return mapped;
    return port === this.#services.port(service) ? mapped : port;
  }

  #write(
    entry: number,
    service: number,
    server: number,
    packet: Packet,
    state: number,
    active: boolean,
  ): void {
    const entries = this.#entries;
    const realServers = this.#realServers;
    const { ports, tick } = packet;
    const at = entry << 4;
    const realPort = this.#realPort(service, server, ports & 0xffff);
    if (packet.family === FAMILY_IPV4) this.#writeAddresses4(at, packet, server);
    else this.#writeAddresses6(at, packet, server);
    entries[at + AT.clientPorts] = ports;
    entries[at + AT.replyPorts] = (realPort << 16) | (ports >>> 16);
    entries[at + AT.state] =
      CONNECTION_LIVES |
      this.#firstState(state, server) |
      (active ? CONNECTION_ACTIVE : 0) |
      (realServers.method(server) << CONNECTION_METHOD_SHIFT);
    entries[at + AT.realServer] = server;
    entries[at + AT.expiresAt] = (tick + this.#settings.timeouts[state]!) | 0;
    entries[at + AT.serverHop] = 0;
    entries[at + AT.clientHop] = 0;
    entries[at + AT.control] = this.#persistence.template;
    if (state === ESTABLISHED && this.#persistence.template !== 0) {
      this.#persistence.assure(this.#persistence.template);
    }
    this.#connections.born[entry] = tick;
    const generation = entries[at + AT.identity]! & ~0xffff;
    entries[at + AT.identity] = generation | (this.#owner << 8) | packet.kind;
  }

  #writeAddresses4(at: number, packet: Packet, server: number): void {
    const entries = this.#entries;
    const realServers = this.#realServers;
    const client = ipv4Source(this.#view, packet.ip);
    entries[at + AT.client] = client;
    entries[at + AT.virtual] = ipv4Destination(this.#view, packet.ip);
    entries[at + AT.real] = realServers.family(server) === 4 ? realServers.address4(server) : 0;
    entries[at + AT.reply] = client;
  }

  #writeAddresses6(at: number, packet: Packet, server: number): void {
    const entries = this.#entries;
    const extension = this.#extension;
    const realServers = this.#realServers;
    const view = this.#view;
    const { sourceAt, destinationAt } = packet;
    const isSame = realServers.family(server) === 6;
    for (let word = 0; word < FIRST_WORDS; word++) {
      const client = view.getInt32(sourceAt + 4 * word);
      extension[at + AT6.client + word] = client;
      extension[at + AT6.virtual + word] = view.getInt32(destinationAt + 4 * word);
      extension[at + AT6.real + word] = isSame ? realServers.addressWord(server, word) : 0;
      extension[at + AT6.reply + word] = client;
    }
    const client = view.getInt32(sourceAt + 4 * FIRST_WORDS);
    entries[at + AT.client] = client;
    entries[at + AT.virtual] = view.getInt32(destinationAt + 4 * FIRST_WORDS);
    entries[at + AT.real] = isSame ? realServers.addressWord(server, FIRST_WORDS) : 0;
    entries[at + AT.reply] = client;
  }

  /** `state` is that of a connection whose replies are seen; with secure_tcp others begin apart. */
  #firstState(state: number, server: number): number {
    if (state !== SYN_RECV || this.#settings.secureTcp === 0) return state;
    return repliesReturn(this.#realServers.method(server)) ? state : SYNACK;
  }

  #undo(entry: number, server: number, active: boolean, hasLocalPort: boolean): void {
    if (hasLocalPort) this.#fullnat?.end(entry);
    this.#realServers.unbind(server, active);
    if (this.#persistence.template !== 0) this.#persistence.release(this.#persistence.template);
    this.#entries[(entry << 4) + AT.identity] =
      (this.#entries[(entry << 4) + AT.identity]! & ~0xffff) | 0;
    this.#connections.free(entry, this.#worker);
  }

  #count(service: number, server: number): void {
    const counters = this.#counters;
    counters[COUNTER.connections_created]! += 1;
    counters[serviceTraffic(service) + TRAFFIC_CONNECTIONS]! += 1;
    counters[realServerTraffic(server) + TRAFFIC_CONNECTIONS]! += 1;
  }
}
