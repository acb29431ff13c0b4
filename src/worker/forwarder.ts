/**
 * The packet of a known connection leaves, by the connection's forwarding method: the way of all
 * packets but those that pipeline.ts forwards itself (whole TCP and UDP over IPv4 with NAT or DR,
 * as a matter of course).
 * The state is advanced and the packet counted when it comes here.
 */
import { routeDirectly4, routeDirectly6 } from '../forward/directRouting';
import { translate } from '../forward/nat';
import { translate6 } from '../forward/nat6';
import { translateUnusual } from '../forward/natUnusual';
import { IPV4_DESTINATION, IPV4_SOURCE, PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import type { Umem } from '../port/umem';
import {
  CONNECTION,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  EXTENSION,
} from '../table/connection';
import { COUNTER, DROP, GO_ON, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import {
  METHOD_BYPASS,
  METHOD_DR,
  METHOD_FULLNAT,
  METHOD_NAT,
  METHOD_TUNNEL,
} from '../table/realServer';
import type { Departure } from './departure';
import type { Egress } from './egress';
import { FAMILY_IPV4, FRAGMENT_LATER, FRAGMENT_NONE, type Packet } from './packet';
import type { FullnatRoom, TunnelRoom } from './room';

const {
  client: CLIENT,
  virtual: VIRTUAL,
  clientPorts: CLIENT_PORTS,
  real: REAL,
  replyPorts: REPLY_PORTS,
  realServer: REAL_SERVER,
  identity: IDENTITY,
  state: STATE,
  serverHop: SERVER_HOP,
  clientHop: CLIENT_HOP,
} = CONNECTION.at;
const { client: CLIENT6, virtual: VIRTUAL6, real: REAL6 } = EXTENSION.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const [TCP, UDP] = [PROTOCOL_TCP, PROTOCOL_UDP];
const [NAT, DR, BYPASS] = [METHOD_NAT, METHOD_DR, METHOD_BYPASS];
const [TUNNEL, FULLNAT] = [METHOD_TUNNEL, METHOD_FULLNAT];
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;
const SERVER_BITS = CONNECTION_SERVER_BITS;
const [IPV4, LATER, WHOLE] = [FAMILY_IPV4, FRAGMENT_LATER, FRAGMENT_NONE];
const CONTINUE = GO_ON;
const UNFINISHED = COUNTER.checksums_unfinished;

export class Forwarder {
  private readonly entries: Int32Array;
  private readonly extension: Int32Array;
  private readonly view: DataView;
  private readonly halfWords: Uint16Array;
  private readonly egress: Egress;
  private readonly departure: Departure;
  private readonly counters: Float64Array;
  private readonly tunnel: TunnelRoom;
  private readonly fullnat: FullnatRoom;

  constructor(
    tables: Tables,
    worker: number,
    umem: Umem,
    egress: Egress,
    departure: Departure,
    tunnel: TunnelRoom,
    fullnat: FullnatRoom,
  ) {
    this.entries = tables.connections.entries;
    this.extension = tables.connections.extension;
    this.view = umem.view;
    this.halfWords = umem.halfWords;
    this.egress = egress;
    this.departure = departure;
    this.tunnel = tunnel;
    this.fullnat = fullnat;
    this.counters = tables.counters[worker]!;
  }

  /**
   * Sends a packet of the connection `entry`; `packet.identity` is the entry's, from before it was
   * found to match. FORWARDED, or the verdict: then the frame is as it came, and the caller's.
   */
  forward(packet: Packet, entry: number, inbound: boolean): number {
    const method = (this.entries[(entry << 4) + STATE]! >>> METHOD_SHIFT) & 0xf;
    if (method === TUNNEL) return this.tunnel.forward(packet, entry);
    if (method === FULLNAT) return this.fullnat.forward(packet, entry, inbound);
    if (method !== NAT && method !== DR && !this.isBypass(entry, method)) {
      return DROP.forwarding_method;
    }
    return packet.family === IPV4
      ? this.forward4(packet, entry, inbound, method)
      : this.forward6(packet, entry, inbound, method);
  }

  /** One without a server, not a server of that method. */
  private isBypass(entry: number, method: number): boolean {
    if (method !== BYPASS) return false;
    return (this.entries[(entry << 4) + REAL_SERVER]! & SERVER_BITS) === 0;
  }

  /**
   * May this reply leave? A router looks at TTL and MTU before anybody sees a packet that it
   * forwards, so this comes before the state is advanced. GO_ON, or the verdict.
   */
  mayReturn(packet: Packet, entry: number): number {
    const base = entry << 4;
    const remembered = this.departure.remembered(base + CLIENT_HOP);
    if (this.departure.isClear(packet, remembered)) return CONTINUE;
    const hop =
      packet.family === IPV4
        ? this.departure.hop4(base + CLIENT_HOP, this.entries[base + CLIENT]!)
        : this.hop6(base, CLIENT_HOP, CLIENT, CLIENT6);
    return this.departure.mayLeave(packet, hop, 0, entry, false);
  }

  private hop6(base: number, hop: number, last: number, first: number): number {
    const extension = this.extension;
    return this.departure.hop6(
      base + hop,
      extension[base + first]!,
      extension[base + first + 1]!,
      extension[base + first + 2]!,
      this.entries[base + last]!,
    );
  }

  private forward4(packet: Packet, entry: number, inbound: boolean, method: number): number {
    const entries = this.entries;
    const base = entry << 4;
    const peer = inbound ? entries[base + REAL]! : entries[base + CLIENT]!;
    const hop = this.departure.hop4(base + (inbound ? SERVER_HOP : CLIENT_HOP), peer);
    const step = this.departure.mayLeave(packet, hop, 0, entry, inbound);
    if (step !== CONTINUE) return step;
    const address = inbound ? peer : entries[base + VIRTUAL]!;
    const port = this.newPort(base, inbound);
    // The entry may have ended and be another's by now: then these are not this packet's.
    if (entries[base + IDENTITY] !== packet.identity) return PASS.no_connection;
    const { at, ip, transport, protocol, fragment } = packet;
    const length = packet.transportBytes;
    const { view, halfWords } = this;
    const isWhole = fragment === WHOLE;
    let checksum: number;
    if (method !== NAT) {
      checksum = routeDirectly4(view, halfWords, at, ip, transport, protocol, length, isWhole);
    } else if (!isWhole || (protocol !== TCP && protocol !== UDP)) {
      checksum = this.translateUnusual(packet, inbound, 0, 0, 0, address, port);
    } else {
      const to = inbound ? IPV4_DESTINATION : IPV4_SOURCE;
      checksum = translate(view, halfWords, at, ip, transport, protocol, length, to, address, port);
    }
    if (checksum !== 0) this.counters[UNFINISHED]! += 1;
    return this.egress.send(at, packet.frameBytes, checksum, hop, peer, packet.tick);
  }

  private forward6(packet: Packet, entry: number, inbound: boolean, method: number): number {
    const base = entry << 4;
    const remembered = this.departure.remembered(base + (inbound ? SERVER_HOP : CLIENT_HOP));
    if (!this.departure.isClear(packet, remembered)) {
      return this.forward6Anew(packet, entry, inbound, method);
    }
    const checksum = this.rewrite6(packet, base, inbound, method);
    if (checksum < 0) return PASS.no_connection;
    if (checksum !== 0) this.counters[UNFINISHED]! += 1;
    const { at, tick } = packet;
    return this.egress.sendFitting(at, packet.frameBytes, checksum, remembered, tick);
  }

  /** The same of a packet whose next hop, TTL or length has to be looked at. */
  private forward6Anew(packet: Packet, entry: number, inbound: boolean, method: number): number {
    const entries = this.entries;
    const extension = this.extension;
    const base = entry << 4;
    const first = base + (inbound ? REAL6 : CLIENT6);
    const peer0 = extension[first]!;
    const peer1 = extension[first + 1]!;
    const peer2 = extension[first + 2]!;
    const peer3 = entries[base + (inbound ? REAL : CLIENT)]!;
    const word = base + (inbound ? SERVER_HOP : CLIENT_HOP);
    const hop = this.departure.hop6(word, peer0, peer1, peer2, peer3);
    const step = this.departure.mayLeave(packet, hop, 0, entry, inbound);
    if (step !== CONTINUE) return step;
    const checksum = this.rewrite6(packet, base, inbound, method);
    if (checksum < 0) return PASS.no_connection;
    if (checksum !== 0) this.counters[UNFINISHED]! += 1;
    const { at, tick } = packet;
    return this.egress.send6(
      at,
      packet.frameBytes,
      checksum,
      hop,
      peer0,
      peer1,
      peer2,
      peer3,
      tick,
    );
  }

  /** The checksum request; -1: the entry is another's by now, and nothing was written. */
  private rewrite6(packet: Packet, base: number, inbound: boolean, method: number): number {
    const entries = this.entries;
    const extension = this.extension;
    const first = base + (inbound ? REAL6 : VIRTUAL6);
    const word0 = extension[first]!;
    const word1 = extension[first + 1]!;
    const word2 = extension[first + 2]!;
    const word3 = entries[base + (inbound ? REAL : VIRTUAL)]!;
    const port = this.newPort(base, inbound);
    if (entries[base + IDENTITY] !== packet.identity) return -1;
    const { at, ip, transport, protocol, fragment } = packet;
    const length = packet.transportBytes;
    const view = this.view;
    if (method !== NAT) {
      return routeDirectly6(view, at, ip, transport, protocol, length, fragment === WHOLE);
    }
    if (fragment !== WHOLE || (protocol !== TCP && protocol !== UDP)) {
      return this.translateUnusual(packet, inbound, word0, word1, word2, word3, port);
    }
    return translate6(
      view,
      at,
      ip,
      transport,
      protocol,
      length,
      inbound,
      word0,
      word1,
      word2,
      word3,
      port,
    );
  }

  private newPort(base: number, inbound: boolean): number {
    const entries = this.entries;
    return inbound ? entries[base + REPLY_PORTS]! >>> 16 : entries[base + CLIENT_PORTS]! & 0xffff;
  }

  /** What is no whole TCP or UDP packet. */
  private translateUnusual(
    packet: Packet,
    inbound: boolean,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    port: number,
  ): number {
    translateUnusual(
      this.view,
      packet.family,
      packet.ip,
      packet.transport,
      packet.fragment === LATER ? 0 : packet.protocol,
      packet.transportBytes,
      inbound,
      word0,
      word1,
      word2,
      word3,
      port,
    );
    return 0;
  }
}
