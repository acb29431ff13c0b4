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
import type { ConnectionTable } from '../table/connection';
// Not from there: what it hands on is looked up by its name at each use.
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_TEMPLATE,
  connectionHash,
  connectionHash6,
  EXTENSION,
  TEMPLATE_ASSURED,
  TEMPLATE_OF_MARK,
  TEMPLATE_OF_MARK6,
  TEMPLATE_REFERENCES,
  TEMPLATE_TICKS,
  templateKind,
  templateKind6,
} from '../table/connectionEntry';
import type { Tables } from '../table/memory';
import type { RealServerTable } from '../table/realServer';
import type { ServiceTable } from '../table/service';
import { TICKS_PER_SECOND } from '../table/setting';
import type { TimerWheel } from '../table/timer';
import { FAMILY_IPV4, type Packet } from './packet';

const AT = CONNECTION.at;
const AT6 = EXTENSION.at;
const FTP_PORT = 21;
/** A template whose time is over while connections refer to it lives this long each time. */
export const TEMPLATE_REST_TICKS = 60 * TICKS_PER_SECOND;
const REST_TICKS = TEMPLATE_REST_TICKS;
/** An ended template is still found for so long: its owner has not looked at it yet. */
const GRACE_TICKS = 5 * TICKS_PER_SECOND;
/** Virtual and real port of a template that is of no use any more. */
const NO_PORT = 0xffff;
const ADDRESS_BYTES = 16;
const PREFIX_MAX = 128;

export class Persistence {
  private readonly tables: Tables;
  private readonly services: ServiceTable;
  private readonly realServers: RealServerTable;
  private readonly connections: ConnectionTable;
  private readonly entries: Int32Array;
  private readonly wheel: TimerWheel;
  private readonly worker: number;
  private readonly view: DataView;
  /** The client's network, then the virtual address or mark, as an IPv6 packet would have them. */
  private readonly key = new DataView(new SharedArrayBuffer(2 * ADDRESS_BYTES));
  /** Template of the last choice; a reference to it is held. 0: there was no room for one. */
  template = 0;

  constructor(tables: Tables, worker: number, view: DataView) {
    this.tables = tables;
    this.view = view;
    this.services = tables.services;
    this.realServers = tables.realServers;
    this.connections = tables.connections;
    this.entries = tables.connections.entries;
    this.wheel = tables.wheels[worker]!;
    this.worker = worker;
  }

  /**
   * The server for a new connection to a persistent service, 0 when there is none (or no room for
   * a template: then `template` is 0 and the server is not).
   */
  choose(service: number, request: ScheduleRequest, packet: Packet): number {
    const mark = this.services.fwmark(service);
    const { protocol } = packet;
    const port = packet.ports & 0xffff;
    const servicePort = this.services.port(service);
    const ownPort = mark === 0 && port === servicePort && port !== FTP_PORT ? port : 0;
    let kind: number;
    if (packet.family === FAMILY_IPV4) {
      kind = mark === 0 ? templateKind(protocol) : TEMPLATE_OF_MARK;
      this.writeKey4(service, packet, mark);
    } else {
      kind = mark === 0 ? templateKind6(protocol) : TEMPLATE_OF_MARK6;
      this.writeKey6(service, packet, mark);
    }
    const isIpv4 = packet.family === FAMILY_IPV4;
    const server = this.known(kind, isIpv4, ownPort, packet.tick);
    if (server !== 0) return server;
    const chosen = schedule(this.tables, service, request);
    if (chosen !== 0) this.create(service, chosen, kind, isIpv4, ownPort, packet.tick);
    return chosen;
  }

  private writeKey4(service: number, packet: Packet, mark: number): void {
    const client = this.view.getInt32(packet.sourceAt) & this.services.netmask(service);
    this.key.setInt32(0, client);
    const virtual = this.view.getInt32(packet.destinationAt);
    this.key.setInt32(ADDRESS_BYTES, mark === 0 ? virtual : mark);
  }

  /** A mark stands in the last word. */
  private writeKey6(service: number, packet: Packet, mark: number): void {
    const key = this.key;
    const prefix = this.services.netmask(service);
    for (let word = 0; word < 4; word++) {
      const offset = word << 2;
      const client = this.view.getInt32(packet.sourceAt + offset);
      key.setInt32(offset, client & prefixWord(prefix, word));
      const virtual = this.view.getInt32(packet.destinationAt + offset);
      key.setInt32(ADDRESS_BYTES + offset, mark === 0 ? virtual : 0);
    }
    if (mark !== 0) key.setInt32(2 * ADDRESS_BYTES - 4, mark);
  }

  private find(kind: number, isIpv4: boolean, port: number, tick: number): number {
    const connections = this.connections;
    const key = this.key;
    const seed = this.tables.settings.hashSeed;
    if (isIpv4) {
      const client = key.getInt32(0);
      const virtual = key.getInt32(ADDRESS_BYTES);
      const hash = connectionHash(seed, kind, client, virtual, port);
      return connections.find(hash, kind, client, virtual, port, tick);
    }
    const hash = connectionHash6(seed, kind, key, 0, ADDRESS_BYTES, port);
    return connections.find6(hash, kind, key, 0, ADDRESS_BYTES, port, tick);
  }

  /** The server of the client's template, which is refreshed; 0 when there is none to be used. */
  private known(kind: number, isIpv4: boolean, port: number, tick: number): number {
    const entries = this.entries;
    const template = this.find(kind, isIpv4, port, tick - GRACE_TICKS);
    if (template === 0) return 0;
    const at = template << 4;
    const identity = entries[at + AT.identity]!;
    const server = entries[at + AT.realServer]!;
    const quiescent =
      this.tables.settings.expireQuiescentTemplate !== 0 && this.realServers.weight(server) === 0;
    const rest = (entries[at + AT.expiresAt]! - tick) | 0;
    // Neither is above 0. No second question: it is so rarely asked that code would not know it.
    const isOver = ((rest - 1) & (entries[at + TEMPLATE_REFERENCES]! - 1)) < 0;
    if (isOver || quiescent || !this.realServers.isAvailable(server)) {
      this.neutralise(template);
      return 0;
    }
    if (!this.acquire(at)) return 0;
    if (entries[at + AT.identity] !== identity) {
      // It ended, and the entry is another's by now.
      this.release(template);
      return 0;
    }
    // No branch of its own, for the same reason.
    const usual = entries[at + TEMPLATE_TICKS]!;
    const ticks = rest <= 0 ? REST_TICKS : usual;
    entries[at + TEMPLATE_TICKS] = ticks;
    entries[at + AT.expiresAt] = (tick + ticks) | 0;
    this.template = template;
    return server;
  }

  /** Nobody finds it any more; it lasts as long as it would have, listed as IPVS lists it. */
  private neutralise(template: number): void {
    const at = template << 4;
    this.connections.unindex(template);
    this.entries[at + AT.clientPorts] = NO_PORT;
    this.entries[at + AT.replyPorts] = NO_PORT << 16;
  }

  private acquire(at: number): boolean {
    for (;;) {
      const references = Atomics.load(this.entries, at + TEMPLATE_REFERENCES);
      if (references < 0) return false;
      const place = at + TEMPLATE_REFERENCES;
      if (Atomics.compareExchange(this.entries, place, references, references + 1) === references) {
        return true;
      }
    }
  }

  private create(
    service: number,
    server: number,
    kind: number,
    isIpv4: boolean,
    port: number,
    tick: number,
  ): void {
    this.template = 0;
    const entry = this.connections.allocate(this.worker);
    if (entry === 0) return;
    const entries = this.entries;
    const realServers = this.realServers;
    const ticks = this.services.persistentTicks(service);
    const at = entry << 4;
    if (isIpv4) this.writeAddresses4(at, server);
    else this.writeAddresses6(at, server);
    entries[at + AT.clientPorts] = port;
    entries[at + AT.reply] = 0;
    entries[at + AT.replyPorts] = port === 0 ? 0 : realServers.port(server) << 16;
    entries[at + AT.state] =
      CONNECTION_TEMPLATE | (realServers.method(server) << CONNECTION_METHOD_SHIFT);
    entries[at + AT.realServer] = server;
    entries[at + AT.expiresAt] = (tick + ticks) | 0;
    entries[at + TEMPLATE_TICKS] = ticks;
    entries[at + TEMPLATE_REFERENCES] = 1;
    entries[at + AT.control] = 0;
    this.connections.born[entry] = tick;
    const generation = entries[at + AT.identity]! & ~0xffff;
    entries[at + AT.identity] = generation | ((this.worker + 1) << 8) | kind;
    if (this.connections.insert(entry, this.worker + 1, false, tick) !== 0) {
      entries[at + AT.identity] = generation;
      this.connections.free(entry, this.worker);
      return;
    }
    realServers.countPersistent(server, 1);
    this.wheel.link(entry, tick);
    this.template = entry;
  }

  private writeAddresses4(at: number, server: number): void {
    const realServers = this.realServers;
    this.entries[at + AT.client] = this.key.getInt32(0);
    this.entries[at + AT.virtual] = this.key.getInt32(ADDRESS_BYTES);
    const isSame = realServers.family(server) === 4;
    this.entries[at + AT.real] = isSame ? realServers.address4(server) : 0;
  }

  private writeAddresses6(at: number, server: number): void {
    const key = this.key;
    const extension = this.connections.extension;
    const realServers = this.realServers;
    const isSame = realServers.family(server) === 6;
    for (let word = 0; word < 3; word++) {
      extension[at + AT6.client + word] = key.getInt32(4 * word);
      extension[at + AT6.virtual + word] = key.getInt32(ADDRESS_BYTES + 4 * word);
      extension[at + AT6.real + word] = isSame ? realServers.addressWord(server, word) : 0;
      extension[at + AT6.reply + word] = 0;
    }
    this.entries[at + AT.client] = key.getInt32(12);
    this.entries[at + AT.virtual] = key.getInt32(ADDRESS_BYTES + 12);
    this.entries[at + AT.real] = isSame ? realServers.addressWord(server, 3) : 0;
  }

  /** The template has proved to be of use: a connection through it is established. */
  assure(template: number): void {
    Atomics.or(this.entries, (template << 4) + AT.state, TEMPLATE_ASSURED);
  }

  /** A connection made through a template has ended, or was not made after all. */
  release(template: number): void {
    Atomics.sub(this.entries, (template << 4) + TEMPLATE_REFERENCES, 1);
  }
}

/** Word 0 to 3 of the mask of an IPv6 prefix of `length` bits. */
function prefixWord(length: number, word: number): number {
  const bits = Math.min(length, PREFIX_MAX) - 32 * word;
  if (bits >= 32) return -1;
  return bits <= 0 ? 0 : -1 << (32 - bits);
}
