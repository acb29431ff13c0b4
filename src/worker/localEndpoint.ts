/**
 * Where a FULLNAT connection comes from, as its real server sees it: a local address of the
 * service, in turn, and a port that is free towards this server. Given at birth, given back when
 * the connection ends, by whichever worker does that.
 */

import { SCHEDULER_NAMES } from '../scheduler/index';
import {
  CONNECTION,
  type ConnectionTable,
  EXTENSION,
  kindFamily,
  kindProtocol,
} from '../table/connection';
import type { LocalAddressTable } from '../table/localAddress';
import type { LocalPortTable } from '../table/localPort';
import type { Tables } from '../table/memory';
import type { RealServerTable } from '../table/realServer';
import type { ServiceTable } from '../table/service';

const { real: REAL, reply: REPLY, replyPorts: REPLY_PORTS } = CONNECTION.at;
const { identity: IDENTITY, realServer: REAL_SERVER } = CONNECTION.at;
const AT = EXTENSION.at;
/** Addresses tried for one connection at most. */
const TRIES_MAX = 16;
/** Schedulers that go round, as the addresses do. */
const ROUND: readonly boolean[] = SCHEDULER_NAMES.map((name) => name === 'rr' || name === 'wrr');

export class LocalEndpoints {
  private readonly services: ServiceTable;
  private readonly realServers: RealServerTable;
  private readonly connections: ConnectionTable;
  private readonly addresses: LocalAddressTable;
  private readonly ports: LocalPortTable;
  private readonly owner: number;
  /** Local and real address of an entry. */
  private readonly local = new Int32Array(4);
  private readonly real = new Int32Array(4);

  constructor(tables: Tables, worker: number) {
    this.services = tables.services;
    this.realServers = tables.realServers;
    this.connections = tables.connections;
    this.addresses = tables.localAddresses;
    this.ports = tables.localPorts;
    this.owner = worker + 1;
  }

  /**
   * Gives an entry its local address and port: for one that is written but not yet inserted, with
   * method FULLNAT. False: there is none to be had (DROP.local_ports_exhausted).
   */
  assign(entry: number, service: number): boolean {
    const addresses = this.addresses;
    const tries = Math.min(TRIES_MAX, addresses.count(service));
    const spreads = ROUND[this.services.scheduler(service)]!;
    this.readReal(entry);
    for (let attempt = 0; attempt < tries; attempt++) {
      const slot = addresses.pick(service, this.owner, spreads && attempt === 0);
      if (slot === 0) return false;
      const at = addresses.addressAt(slot);
      this.setKey(entry, addresses.words, at);
      const port = this.ports.allocate(this.owner);
      if (port !== 0) {
        this.write(entry, addresses.words, at, port);
        addresses.countConnection(slot);
        return true;
      }
      addresses.countConflict(slot);
    }
    return false;
  }

  /** Gives back what `assign` gave. The entry's words must still be there. */
  release(entry: number): void {
    const { entries, extension } = this.connections;
    const base = entry << 4;
    const local = this.local;
    local[0] = entries[base + REPLY]!;
    for (let i = 1; i < 4; i++) local[i] = 0;
    if (kindFamily(entries[base + IDENTITY]! & 0xff) === 6) {
      for (let i = 0; i < 3; i++) local[i] = extension[base + AT.reply + i]!;
      local[3] = entries[base + REPLY]!;
    }
    this.readReal(entry);
    this.setKey(entry, local, 0);
    this.ports.release(entries[base + REPLY_PORTS]! & 0xffff);
    const server = entries[base + REAL_SERVER]! & 0xffffff;
    this.addresses.discount(this.realServers.service(server), local, 0);
  }

  private readReal(entry: number): void {
    const { entries, extension } = this.connections;
    const base = entry << 4;
    const real = this.real;
    const isIpv6 = kindFamily(entries[base + IDENTITY]! & 0xff) === 6;
    for (let i = 0; i < 3; i++) real[i] = isIpv6 ? extension[base + AT.real + i]! : 0;
    real[isIpv6 ? 3 : 0] = entries[base + REAL]!;
    if (!isIpv6) real[3] = 0;
  }

  private setKey(entry: number, local: Int32Array, at: number): void {
    const { entries } = this.connections;
    const base = entry << 4;
    const realPort = entries[base + REPLY_PORTS]! >>> 16;
    const protocol = kindProtocol(entries[base + IDENTITY]! & 0xff);
    this.ports.setKey(local, at, this.real, 0, realPort, protocol);
  }

  /** The entry's words of the reply, and the sequence numbers of one that begins. */
  private write(entry: number, local: Int32Array, at: number, port: number): void {
    const { entries, extension } = this.connections;
    const base = entry << 4;
    entries[base + REPLY_PORTS] = (entries[base + REPLY_PORTS]! & ~0xffff) | port;
    extension[base + AT.sequenceDelta] = 0;
    extension[base + AT.serverSequence] = 0;
    extension[base + AT.clientAck] = 0;
    extension[base + AT.serverAck] = 0;
    if (kindFamily(entries[base + IDENTITY]! & 0xff) === 4) {
      entries[base + REPLY] = local[at]!;
      return;
    }
    for (let i = 0; i < 3; i++) extension[base + AT.reply + i] = local[at + i]!;
    entries[base + REPLY] = local[at + 3]!;
  }
}
