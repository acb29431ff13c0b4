/**
 * Making connections: service found, a real server chosen under the service's lock, an entry
 * written and published. Ending them is expire.ts.
 */
import { PROTOCOL_UDP } from '../net/ipv4';
import { schedule } from '../scheduler/index';
import { ScheduleRequest } from '../scheduler/request';
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_ONE_PACKET,
  type ConnectionTable,
  INSERT_EXISTS,
  INSERT_FULL,
} from '../table/connection';
import {
  COUNTER,
  DROP,
  realServerTraffic,
  serviceTraffic,
  TRAFFIC_CONNECTIONS,
} from '../table/counter';
import type { Tables } from '../table/memory';
import { METHOD_FULLNAT, METHOD_NAT, type RealServerTable } from '../table/realServer';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';
import { ESTABLISHED, isActiveState, SYN_RECV, SYNACK } from '../table/state';
import type { TimerWheel } from '../table/timer';
import type { Expiry } from './expire';
import { Persistence } from './persistence';

const AT = CONNECTION.at;

/** Do replies of connections with this forwarding method come back through the director? */
export function repliesReturn(method: number): boolean {
  return method === METHOD_NAT || method === METHOD_FULLNAT;
}

/** What `#choose` answers instead of a server, and the verdict of each (by its negative). */
const BUSY = -1;
const NO_ROOM = -2;
/** Longer than any timeout. */
const FOREVER_TICKS = 1 << 30;
const REFUSALS: readonly number[] = [DROP.no_real_server, DROP.lock_busy, DROP.table_full];

export class Birth {
  readonly #tables: Tables;
  readonly #request: ScheduleRequest;
  readonly #persistence: Persistence;
  readonly #services: ServiceTable;
  readonly #realServers: RealServerTable;
  readonly #connections: ConnectionTable;
  readonly #entries: Int32Array;
  readonly #settings: Settings;
  readonly #wheel: TimerWheel;
  readonly #counters: Float64Array;
  readonly #worker: number;
  readonly #owner: number;
  /** Why `connect` returned 0: a DROP verdict. */
  refusal: number = DROP.table_full;

  constructor(tables: Tables, worker: number) {
    this.#tables = tables;
    this.#request = new ScheduleRequest(worker + 1, tables.settings.hashSeed + worker);
    this.#persistence = new Persistence(tables, worker);
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
  connect(
    service: number,
    protocol: number,
    client: number,
    virtual: number,
    ports: number,
    hash: number,
    state: number,
    tick: number,
  ): number {
    const connections = this.#connections;
    const entry = connections.allocate(this.#worker);
    if (entry === 0) return this.#refuse(DROP.table_full);
    const active = isActiveState(state);
    this.#request.set4(client, virtual, ports >>> 16, protocol, tick);
    const server = this.#choose(service, protocol, client, virtual, ports & 0xffff, active, tick);
    if (server <= 0) {
      connections.free(entry, this.#worker);
      return this.#refuse(REFUSALS[-server]!);
    }
    this.#write(entry, service, server, protocol, client, virtual, ports, state, active, tick);
    if (protocol === PROTOCOL_UDP && this.#services.isOnePacket(service)) {
      return this.#writeOnePacket(entry, service, server);
    }
    const both = repliesReturn(this.#realServers.method(server));
    const result = connections.insert(entry, this.#owner, both, tick);
    if (result !== 0) {
      this.#undo(entry, server, active);
      if (result !== INSERT_EXISTS) {
        return this.#refuse(result === INSERT_FULL ? DROP.table_full : DROP.lock_busy);
      }
      // Should that one have ended by now, the client's next try makes its own.
      this.refusal = DROP.lock_busy;
      return connections.find(hash, protocol, client, virtual, ports, tick);
    }
    this.#wheel.link(entry, tick);
    this.#count(service, server);
    return entry;
  }

  #refuse(verdict: number): number {
    this.refusal = verdict;
    return 0;
  }

  /**
   * Chooses and binds a server under the service's lock, so that thresholds hold to the last
   * connection. 0: there is none; BUSY, NO_ROOM.
   */
  #choose(
    service: number,
    protocol: number,
    client: number,
    virtual: number,
    port: number,
    active: boolean,
    tick: number,
  ): number {
    const services = this.#services;
    if (!services.lock(service, this.#owner)) return BUSY;
    let server = 0;
    if (services.isInUse(service) && this.#isServed(service, port)) {
      this.#persistence.template = 0;
      server =
        services.persistentTicks(service) === 0
          ? schedule(this.#tables, service, this.#request)
          : this.#persistence.choose(service, this.#request, protocol, client, virtual, port, tick);
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
    this.#entries[(entry << 4) + AT.identity]! &= ~0xffff;
    expiry.dismiss(entry, word);
    this.#counters[COUNTER.connections_expired]! += 1;
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
    protocol: number,
    client: number,
    virtual: number,
    ports: number,
    state: number,
    active: boolean,
    tick: number,
  ): void {
    const entries = this.#entries;
    const realServers = this.#realServers;
    const at = entry << 4;
    const realPort = this.#realPort(service, server, ports & 0xffff);
    entries[at + AT.client] = client;
    entries[at + AT.virtual] = virtual;
    entries[at + AT.clientPorts] = ports;
    entries[at + AT.real] = realServers.address4(server);
    entries[at + AT.reply] = client;
    entries[at + AT.replyPorts] = (realPort << 16) | (ports >>> 16);
    entries[at + AT.state] =
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
    const generation = entries[at + AT.identity]! & ~0xffff;
    entries[at + AT.identity] = generation | (this.#owner << 8) | protocol;
  }

  /** `state` is that of a connection whose replies are seen; with secure_tcp others begin apart. */
  #firstState(state: number, server: number): number {
    if (state !== SYN_RECV || this.#settings.secureTcp === 0) return state;
    return this.#realServers.method(server) === METHOD_NAT ? state : SYNACK;
  }

  #undo(entry: number, server: number, active: boolean): void {
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
