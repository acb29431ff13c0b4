/**
 * A packet without a connection: which service is it for, may it begin a connection, and if not,
 * who shall have it. The connection itself is made in birth.ts.
 */

import { decrementTtl, ipv4Destination, ipv4Source, PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import { decrementHopLimit } from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';
import { TCP_RST, TCP_SYN } from '../net/tcp';
import { DROP, PASS } from '../table/counter';
import type { EndpointTable } from '../table/endpoint';
import type { Tables } from '../table/memory';
import { HOP_LOCAL, type NextHopTable } from '../table/nextHop';
import type { ServiceTable } from '../table/service';
import type { Settings } from '../table/setting';
import { DIRECTION_IN, NONE, nextTcpState, UDP_NORMAL } from '../table/state';
import { SCTP_EVENT_ABORT, SCTP_EVENT_INIT, SCTP_NONE } from '../table/stateSctp';
import { Birth } from './birth';
import type { Expiry } from './expire';
import { ERROR_PORT_UNREACHABLE, type IcmpSender } from './icmp';
import { ServiceLookup } from './lookup';
import { FAMILY_IPV4, type Packet } from './packet';
import type { FullnatRoom } from './room';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [TCP, UDP, SCTP] = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];
const [SYN, RST] = [TCP_SYN, TCP_RST];
const [IPV4, INWARD, NO_STATE] = [FAMILY_IPV4, DIRECTION_IN, NONE];
const [UDP_STATE, SCTP_STATE] = [UDP_NORMAL, SCTP_NONE];
const [INIT, ABORT] = [SCTP_EVENT_INIT, SCTP_EVENT_ABORT];
const { no_connection: NO_CONNECTION, not_scheduled: UNSCHEDULED } = PASS;
const { drop_packet: DROPPED, no_real_server: NO_REAL_SERVER, table_full: TABLE_FULL } = DROP;
const { real_server_refused: SERVER_REFUSED } = DROP;
const FTP_PORT = 21;
const FTP_DATA_PORT = 20;
/** No state: the packet may not begin a connection. */
const NOT_SCHEDULED = -1;

export class Arrival {
  private readonly lookup: ServiceLookup;
  private readonly services: ServiceTable;
  private readonly endpoints: EndpointTable;
  private readonly settings: Settings;
  private readonly hops: NextHopTable;
  private readonly birth: Birth;
  private readonly expiry: Expiry;
  private readonly icmp: IcmpSender;
  private readonly view: DataView;
  /** Packets until drop_packet drops the next one. */
  private untilDrop = 0;
  /** Why `connect` gave no connection. */
  verdict: number = TABLE_FULL;

  constructor(
    tables: Tables,
    worker: number,
    view: DataView,
    expiry: Expiry,
    icmp: IcmpSender,
    fullnat: FullnatRoom,
  ) {
    this.lookup = new ServiceLookup(tables);
    this.services = tables.services;
    this.endpoints = tables.endpoints;
    this.settings = tables.settings;
    this.hops = tables.nextHops;
    this.birth = new Birth(tables, worker, view, fullnat);
    this.expiry = expiry;
    this.icmp = icmp;
    this.view = view;
  }

  /** The connection that the packet begins; 0: none, and `verdict` says what becomes of it. */
  connect(packet: Packet): number {
    const { protocol, ports } = packet;
    const service = this.find(packet);
    if (service === 0) {
      this.verdict = this.stray(packet);
      return 0;
    }
    const state = this.firstState(protocol, packet.flags);
    if (state === NOT_SCHEDULED) return this.refuse(UNSCHEDULED);
    if (this.isDropped()) return this.refuse(DROPPED);
    // FTP's data from a server: belong to a connection that is known, or to nobody.
    if (ports >>> 16 === FTP_DATA_PORT) return this.refuse(UNSCHEDULED);
    const entry = this.birth.connect(packet, service, state);
    return entry !== 0 ? entry : this.unserved(packet, service, state);
  }

  /**
   * As `connect`, of a packet that an ICMP error quotes, turned round (see errorArrival.ts): its
   * flags are not known, and nobody is answered.
   */
  connectQuoted(packet: Packet): number {
    const service = this.find(packet);
    if (service === 0) return this.refuse(NO_CONNECTION);
    if (this.isDropped()) return this.refuse(DROPPED);
    const { protocol } = packet;
    // One packet's connection would be over before that comes.
    if (protocol === UDP && this.services.isOnePacket(service)) {
      return this.refuse(NO_CONNECTION);
    }
    let state = UDP_STATE;
    if (protocol === TCP) state = NO_STATE;
    else if (protocol === SCTP) state = SCTP_STATE;
    const entry = this.birth.connect(packet, service, state);
    return entry === 0 ? this.refuse(this.birth.refusal) : entry;
  }

  private find(packet: Packet): number {
    const { protocol, ports, ip } = packet;
    const view = this.view;
    const { slot } = packet.port;
    if (packet.family === IPV4) {
      const source = ipv4Source(view, ip);
      const destination = ipv4Destination(view, ip);
      return this.lookup.find4(protocol, source, destination, ports, slot);
    }
    const { sourceAt, destinationAt } = packet;
    return this.lookup.find6(protocol, view, sourceAt, destinationAt, ports, slot);
  }

  /** State of a connection that a packet with these flags begins, or NOT_SCHEDULED. */
  private firstState(protocol: number, flags: number): number {
    const settings = this.settings;
    if (protocol === TCP) {
      const begins = settings.sloppyTcp === 0 ? SYN : 0;
      if ((flags & (begins | RST)) !== begins) return NOT_SCHEDULED;
      return nextTcpState(INWARD, flags, NO_STATE, settings.secureTcp);
    }
    if (protocol === SCTP) {
      const isInit = flags === INIT;
      const begins = isInit || (settings.sloppySctp !== 0 && flags !== ABORT);
      // The packet's own event is yet to come: twice an INIT leads further than once.
      return begins ? SCTP_STATE : NOT_SCHEDULED;
    }
    return UDP_STATE;
  }

  private refuse(verdict: number): number {
    this.verdict = verdict;
    return 0;
  }

  /** After the packet that made it: a one-packet connection ends at once. */
  dismissOnePacket(entry: number, isFragment: boolean, tick: number): void {
    if (isFragment) this.birth.lingerOnePacket(entry, tick);
    else this.birth.dismissOnePacket(entry, this.expiry);
  }

  /** To a service that has no server for it: a connection all the same, or 0 and the verdict. */
  private unserved(packet: Packet, service: number, state: number): number {
    const { refusal } = this.birth;
    if (refusal !== NO_REAL_SERVER) return this.refuse(refusal);
    const servicePort = this.services.port(service);
    if (servicePort === FTP_PORT && (packet.ports & 0xffff) !== FTP_PORT) {
      return this.refuse(UNSCHEDULED);
    }
    if (
      this.settings.cacheBypass !== 0 &&
      this.services.fwmark(service) !== 0 &&
      this.hopOf(packet) !== HOP_LOCAL
    ) {
      const entry = this.birth.bypass(packet, state);
      return entry !== 0 ? entry : this.refuse(this.birth.refusal);
    }
    return this.refuse(this.icmp.answer(packet, refusal, ERROR_PORT_UNREACHABLE, 0, true, 0));
  }

  /** Towards where the client wrote to. */
  private hopOf(packet: Packet): number {
    const view = this.view;
    const at = packet.destinationAt;
    const word0 = view.getInt32(at);
    if (packet.family === IPV4) return this.hops.resolve(word0);
    return this.hops.resolve6(
      word0,
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
  }

  /** A packet that is to no service: the host's, unless nat_icmp_send has an answer for it. */
  private stray(packet: Packet): number {
    if (this.settings.natIcmpSend === 0 || this.isReset(packet)) return NO_CONNECTION;
    if (!this.isFromServer(packet)) return NO_CONNECTION;
    // Quoted as it would have left, as the kernel does.
    if (packet.family === IPV4) decrementTtl(this.view, packet.ip, 0);
    else decrementHopLimit(this.view, packet.ip);
    const verdict = SERVER_REFUSED;
    return this.icmp.answer(packet, verdict, ERROR_PORT_UNREACHABLE, 0, false, 0);
  }

  private isReset(packet: Packet): boolean {
    if (packet.protocol === SCTP) return packet.flags === ABORT;
    return (packet.flags & RST) !== 0;
  }

  private isFromServer(packet: Packet): boolean {
    const port = packet.ports >>> 16;
    if (packet.family === IPV4) {
      return this.endpoints.has(packet.protocol, ipv4Source(this.view, packet.ip), port);
    }
    const view = this.view;
    const at = packet.sourceAt;
    return this.endpoints.has6(
      packet.protocol,
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
      port,
    );
  }

  /** drop_packet: every so many-th packet that would make a connection is dropped. */
  private isDropped(): boolean {
    const rate = this.settings.dropRate;
    if (rate === 0 || --this.untilDrop > 0) return false;
    this.untilDrop = rate;
    return true;
  }
}
