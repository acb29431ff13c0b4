/**
 * Persistence (IPVS's templates, spec 3.6): a client, or its network, keeps its real server for as
 * long as a template lives. Templates stand in the connection table under kinds of their own, with
 * the client's port 0; connections made through one refer to it (`control`) and keep it.
 *
 * Two words of a template mean something else than in a connection: `serverHop` holds the ticks it
 * lives after its last new connection, `clientHop` how many connections refer to it (-1: it ends).
 * Everything here happens under the service's lock, but for the release of a reference.
 */
import { schedule } from '../scheduler/index';
import type { ScheduleRequest } from '../scheduler/request';
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_TEMPLATE,
  type ConnectionTable,
  connectionHash,
  TEMPLATE_ASSURED,
  TEMPLATE_OF_MARK,
  TEMPLATE_REFERENCES,
  TEMPLATE_TICKS,
  templateKind,
} from '../table/connection';
import type { Tables } from '../table/memory';
import type { RealServerTable } from '../table/realServer';
import type { ServiceTable } from '../table/service';
import { TICKS_PER_SECOND } from '../table/setting';
import type { TimerWheel } from '../table/timer';

const AT = CONNECTION.at;
const FTP_PORT = 21;
/** A template whose time is over while connections refer to it lives this long each time. */
export const TEMPLATE_REST_TICKS = 60 * TICKS_PER_SECOND;
/** An ended template is still found for so long: its owner has not looked at it yet. */
const GRACE_TICKS = 5 * TICKS_PER_SECOND;
/** Virtual and real port of a template that is of no use any more. */
const NO_PORT = 0xffff;

export class Persistence {
  readonly #tables: Tables;
  readonly #services: ServiceTable;
  readonly #realServers: RealServerTable;
  readonly #connections: ConnectionTable;
  readonly #entries: Int32Array;
  readonly #wheel: TimerWheel;
  readonly #worker: number;
  /** Template of the last choice; a reference to it is held. 0: there was no room for one. */
  template = 0;

  constructor(tables: Tables, worker: number) {
    this.#tables = tables;
    this.#services = tables.services;
    this.#realServers = tables.realServers;
    this.#connections = tables.connections;
    this.#entries = tables.connections.entries;
    this.#wheel = tables.wheels[worker]!;
    this.#worker = worker;
  }

  /**
   * The server for a new connection to a persistent service, 0 when there is none (or no room for
   * a template: then `template` is 0 and the server is not).
   */
  choose(
    service: number,
    request: ScheduleRequest,
    protocol: number,
    client: number,
    virtual: number,
    port: number,
    tick: number,
  ): number {
    const mark = this.#services.fwmark(service);
    const kind = mark === 0 ? templateKind(protocol) : TEMPLATE_OF_MARK;
    const address = mark === 0 ? virtual : mark;
    const servicePort = this.#services.port(service);
    const ownPort = mark === 0 && port === servicePort && port !== FTP_PORT ? port : 0;
    const masked = client & this.#services.netmask(service);
    const server = this.#known(kind, masked, address, ownPort, tick);
    if (server !== 0) return server;
    const chosen = schedule(this.#tables, service, request);
    if (chosen !== 0) this.#create(service, chosen, kind, masked, address, ownPort, tick);
    return chosen;
  }

  /** The server of the client's template, which is refreshed; 0 when there is none to be used. */
  #known(kind: number, client: number, address: number, port: number, tick: number): number {
    const connections = this.#connections;
    const entries = this.#entries;
    const seed = this.#tables.settings.hashSeed;
    const hash = connectionHash(seed, kind, client, address, port);
    const template = connections.find(hash, kind, client, address, port, tick - GRACE_TICKS);
    if (template === 0) return 0;
    const at = template << 4;
    const identity = entries[at + AT.identity]!;
    const server = entries[at + AT.realServer]!;
    const quiescent =
      this.#tables.settings.expireQuiescentTemplate !== 0 && this.#realServers.weight(server) === 0;
    const isOver =
      ((entries[at + AT.expiresAt]! - tick) | 0) <= 0 && entries[at + TEMPLATE_REFERENCES]! <= 0;
    if (isOver || quiescent || !this.#realServers.isAvailable(server)) {
      this.#neutralise(template);
      return 0;
    }
    if (!this.#acquire(at)) return 0;
    if (entries[at + AT.identity] !== identity) {
      // It ended, and the entry is another's by now.
      this.release(template);
      return 0;
    }
    if (((entries[at + AT.expiresAt]! - tick) | 0) <= 0) {
      entries[at + TEMPLATE_TICKS] = TEMPLATE_REST_TICKS;
    }
    entries[at + AT.expiresAt] = (tick + entries[at + TEMPLATE_TICKS]!) | 0;
    this.template = template;
    return server;
  }

  /** Nobody finds it any more; it lasts as long as it would have, listed as IPVS lists it. */
  #neutralise(template: number): void {
    const at = template << 4;
    this.#connections.unindex(template);
    this.#entries[at + AT.clientPorts] = NO_PORT;
    this.#entries[at + AT.replyPorts] = NO_PORT << 16;
  }

  #acquire(at: number): boolean {
    for (;;) {
      const references = Atomics.load(this.#entries, at + TEMPLATE_REFERENCES);
      if (references < 0) return false;
      const place = at + TEMPLATE_REFERENCES;
      if (
        Atomics.compareExchange(this.#entries, place, references, references + 1) === references
      ) {
        return true;
      }
    }
  }

  #create(
    service: number,
    server: number,
    kind: number,
    client: number,
    address: number,
    port: number,
    tick: number,
  ): void {
    this.template = 0;
    const entry = this.#connections.allocate(this.#worker);
    if (entry === 0) return;
    const entries = this.#entries;
    const realServers = this.#realServers;
    const ticks = this.#services.persistentTicks(service);
    const at = entry << 4;
    entries[at + AT.client] = client;
    entries[at + AT.virtual] = address;
    entries[at + AT.clientPorts] = port;
    entries[at + AT.real] = realServers.address4(server);
    entries[at + AT.reply] = 0;
    entries[at + AT.replyPorts] = port === 0 ? 0 : realServers.port(server) << 16;
    entries[at + AT.state] =
      CONNECTION_TEMPLATE | (realServers.method(server) << CONNECTION_METHOD_SHIFT);
    entries[at + AT.realServer] = server;
    entries[at + AT.expiresAt] = (tick + ticks) | 0;
    entries[at + TEMPLATE_TICKS] = ticks;
    entries[at + TEMPLATE_REFERENCES] = 1;
    entries[at + AT.control] = 0;
    const generation = entries[at + AT.identity]! & ~0xffff;
    entries[at + AT.identity] = generation | ((this.#worker + 1) << 8) | kind;
    if (this.#connections.insert(entry, this.#worker + 1, false, tick) !== 0) {
      entries[at + AT.identity] = generation;
      this.#connections.free(entry, this.#worker);
      return;
    }
    realServers.countPersistent(server, 1);
    this.#wheel.link(entry, tick);
    this.template = entry;
  }

  /** The template has proved to be of use: a connection through it is established. */
  assure(template: number): void {
    Atomics.or(this.#entries, (template << 4) + AT.state, TEMPLATE_ASSURED);
  }

  /** A connection made through a template has ended, or was not made after all. */
  release(template: number): void {
    Atomics.sub(this.#entries, (template << 4) + TEMPLATE_REFERENCES, 1);
  }
}
