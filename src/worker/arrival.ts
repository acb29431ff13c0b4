/**
 * A packet without a connection: which service is it for, may it begin a connection, and if not,
 * who shall have it. The connection itself is made in birth.ts.
 */

import { ETHERNET_BYTES } from '../net/ethernet';
import { CODE_PORT_UNREACHABLE, ICMP_UNREACHABLE } from '../net/icmp';
import { decrementTtl, PROTOCOL_TCP } from '../net/ipv4';
import { TCP_RST, TCP_SYN } from '../net/tcp';
import type { Port } from '../port/port';
import { DROP, PASS } from '../table/counter';
import type { EndpointTable } from '../table/endpoint';
import type { Tables } from '../table/memory';
import { HOP_LOCAL, type NextHopTable } from '../table/nextHop';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';
import { DIRECTION_IN, NONE, nextTcpState, UDP_NORMAL } from '../table/state';
import { Birth } from './birth';
import type { Expiry } from './expire';
import type { IcmpSender } from './icmp';
import { ServiceLookup } from './lookup';

const FTP_PORT = 21;
const FTP_DATA_PORT = 20;

export class Arrival {
  readonly #lookup: ServiceLookup;
  readonly #services: ServiceTable;
  readonly #endpoints: EndpointTable;
  readonly #settings: Settings;
  readonly #hops: NextHopTable;
  readonly #birth: Birth;
  readonly #expiry: Expiry;
  readonly #icmp: IcmpSender;
  readonly #view: DataView;
  /** Packets until drop_packet drops the next one. */
  #untilDrop = 0;
  /** Why `connect` gave no connection. */
  verdict: number = DROP.table_full;

  constructor(tables: Tables, worker: number, view: DataView, expiry: Expiry, icmp: IcmpSender) {
    this.#lookup = new ServiceLookup(tables);
    this.#services = tables.services;
    this.#endpoints = tables.endpoints;
    this.#settings = tables.settings;
    this.#hops = tables.nextHops;
    this.#birth = new Birth(tables, worker);
    this.#expiry = expiry;
    this.#icmp = icmp;
    this.#view = view;
  }

  /** The connection that the packet begins; 0: none, and `verdict` says what becomes of it. */
  connect(
    port: Port,
    at: number,
    protocol: number,
    source: number,
    destination: number,
    pair: number,
    flags: number,
    hash: number,
    tick: number,
  ): number {
    const service = this.#lookup.find4(protocol, source, destination, pair, port.slot);
    if (service === 0) {
      this.verdict = this.#stray(port, at, protocol, source, pair, flags, tick);
      return 0;
    }
    let state = UDP_NORMAL;
    if (protocol === PROTOCOL_TCP) {
      const begins = this.#settings.sloppyTcp === 0 ? TCP_SYN : 0;
      if ((flags & (begins | TCP_RST)) !== begins) return this.#refuse(PASS.not_scheduled);
      state = nextTcpState(DIRECTION_IN, flags, NONE, this.#settings.secureTcp);
    }
    if (this.#isDropped()) return this.#refuse(DROP.drop_packet);
    // FTP's data from a server: belong to a connection that is known, or to nobody.
    if (pair >>> 16 === FTP_DATA_PORT) return this.#refuse(PASS.not_scheduled);
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
    if (entry === 0) this.verdict = this.#unserved(service, at, destination, pair, tick);
    return entry;
  }

  #refuse(verdict: number): number {
    this.verdict = verdict;
    return 0;
  }

  /** After the packet that made it: a one-packet connection ends at once. */
  dismissOnePacket(entry: number): void {
    this.#birth.dismissOnePacket(entry, this.#expiry);
  }

  /** To a service that made no connection of it. */
  #unserved(service: number, at: number, destination: number, pair: number, tick: number): number {
    const refusal = this.#birth.refusal;
    if (refusal !== DROP.no_real_server) return refusal;
    const servicePort = this.#services.port(service);
    if (servicePort === FTP_PORT && (pair & 0xffff) !== FTP_PORT) return PASS.not_scheduled;
    if (
      this.#settings.cacheBypass !== 0 &&
      this.#services.fwmark(service) !== 0 &&
      this.#hops.resolve(destination) !== HOP_LOCAL
    ) {
      return PASS.bypass;
    }
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

  /** A packet that is to no service: the host's, unless nat_icmp_send has an answer for it. */
  #stray(
    port: Port,
    at: number,
    protocol: number,
    source: number,
    pair: number,
    flags: number,
    tick: number,
  ): number {
    if (this.#settings.natIcmpSend === 0 || (flags & TCP_RST) !== 0) return PASS.no_connection;
    if (!this.#endpoints.has(protocol, source, pair >>> 16)) return PASS.no_connection;
    // Quoted as it would have left, as the kernel does.
    decrementTtl(this.#view, at + ETHERNET_BYTES, 0);
    return this.#icmp.answer(
      DROP.real_server_refused,
      at,
      ICMP_UNREACHABLE,
      CODE_PORT_UNREACHABLE,
      0,
      this.#hops.links.address(port.slot),
      tick,
    );
  }

  /** drop_packet: every so many-th packet that would make a connection is dropped. */
  #isDropped(): boolean {
    const rate = this.#settings.dropRate;
    if (rate === 0 || --this.#untilDrop > 0) return false;
    this.#untilDrop = rate;
    return true;
  }
}
