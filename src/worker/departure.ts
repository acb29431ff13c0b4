/**
 * What a router does before it forwards: the next hop, which the connection remembers; TTL; MTU.
 */
import { FLAG_DONT_FRAGMENT, ipv4Fragment, ipv4Ttl } from '../net/ipv4';
import { IPV6_MTU_MIN, ipv6HopLimit } from '../net/ipv6';
import { CONNECTION, CONNECTION_METHOD_SHIFT, EXTENSION } from '../table/connection';
import { DROP, GO_ON, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import { HOP_LOCAL, type NextHopTable } from '../table/nextHop';
import { METHOD_FULLNAT, METHOD_NAT } from '../table/realServer';
import { ERROR_TIME_EXCEEDED, ERROR_TOO_BIG, type IcmpSender } from './icmp';
import { FAMILY_IPV4, FRAGMENT_LATER, type Packet } from './packet';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const LOCAL = HOP_LOCAL;
const CONTINUE = GO_ON;
const IPV4 = FAMILY_IPV4;
const IPV4_MTU_MIN = 68;
const MTU6_MIN = IPV6_MTU_MIN;
const {
  client: CLIENT,
  virtual: VIRTUAL,
  clientPorts: CLIENT_PORTS,
  real: REAL,
  replyPorts: REPLY_PORTS,
  identity: IDENTITY,
  state: STATE,
} = CONNECTION.at;
const { client: CLIENT6, virtual: VIRTUAL6, real: REAL6 } = EXTENSION.at;
/** Of a word's index: its entry. */
const ENTRY_BITS = ~(CONNECTION.size - 1);
const [NAT, FULLNAT] = [METHOD_NAT, METHOD_FULLNAT];
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;

export class Departure {
  private readonly view: DataView;
  private readonly entries: Int32Array;
  private readonly extension: Int32Array;
  private readonly hops: NextHopTable;
  private readonly icmp: IcmpSender;

  constructor(tables: Tables, view: DataView, icmp: IcmpSender) {
    this.view = view;
    this.entries = tables.connections.entries;
    this.extension = tables.connections.extension;
    this.hops = tables.nextHops;
    this.icmp = icmp;
  }

  /**
   * The hop that the connection remembers, or a new one. `word`: index of the entry's serverHop or
   * clientHop in the table.
   */
  hop4(word: number, address: number): number {
    const remembered = this.entries[word]!;
    if (remembered > 0 && this.hops.isCurrent(remembered)) return remembered;
    const identity = this.identityOf(word);
    const hop = this.hops.resolve(address);
    // Meanwhile the connection may have ended and its entry be another's, with another way.
    if (hop > 0 && this.identityOf(word) === identity) this.entries[word] = hop;
    return hop;
  }

  /** The hop that the connection remembers if it still holds, else 0. */
  remembered(word: number): number {
    const hop = this.entries[word]!;
    return hop > 0 && this.hops.isCurrent(hop) ? hop : 0;
  }

  /** As hop4, to an IPv6 address. */
  hop6(word: number, word0: number, word1: number, word2: number, word3: number): number {
    const remembered = this.entries[word]!;
    if (remembered > 0 && this.hops.isCurrent(remembered)) return remembered;
    const identity = this.identityOf(word);
    const hop = this.hops.resolve6(word0, word1, word2, word3);
    if (hop > 0 && this.identityOf(word) === identity) this.entries[word] = hop;
    return hop;
  }

  /** Identity of the entry that has this word. */
  private identityOf(word: number): number {
    return this.entries[(word & ENTRY_BITS) + IDENTITY]!;
  }

  /** May a packet of either family leave over a hop (> 0, or it may not) without another look? */
  isClear(packet: Packet, hop: number): boolean {
    const view = this.view;
    const isIpv4 = packet.family === IPV4;
    const left = isIpv4 ? ipv4Ttl(view, packet.ip) : ipv6HopLimit(view, packet.ip);
    return hop > 0 && left > 1 && this.hops.fits(hop, packet.total);
  }

  /**
   * What a router checks before it forwards: TTL, MTU. GO_ON, or the verdict. `overhead`: bytes
   * that will be put in front of the packet (tunnels), 0 for none.
   */
  mayLeave(packet: Packet, hop: number, overhead: number, entry: number, inbound: boolean): number {
    if (hop === LOCAL) return this.toHost(packet, entry);
    const view = this.view;
    const isIpv4 = packet.family === IPV4;
    const left = isIpv4 ? ipv4Ttl(view, packet.ip) : ipv6HopLimit(view, packet.ip);
    if (left <= 1) {
      return this.answer(packet, DROP.ttl_exceeded, ERROR_TIME_EXCEEDED, 0, inbound, entry);
    }
    if (hop <= 0) return CONTINUE;
    const mtu = this.mtu(packet, hop, entry, inbound) - overhead;
    if (packet.total <= mtu) return CONTINUE;
    if (mtu < (isIpv4 ? IPV4_MTU_MIN : MTU6_MIN)) return DROP.mtu_exceeded;
    // Egress cuts it.
    if (isIpv4 && (ipv4Fragment(view, packet.ip) & FLAG_DONT_FRAGMENT) === 0) return CONTINUE;
    return this.answer(packet, DROP.mtu_exceeded, ERROR_TOO_BIG, mtu, inbound, entry);
  }

  /**
   * What is for the director itself: the host takes it as it came, so there must be nothing to
   * translate. Its answers meet no worker.
   */
  private toHost(packet: Packet, entry: number): number {
    const entries = this.entries;
    const base = entry << 4;
    const method = (entries[base + STATE]! >>> METHOD_SHIFT) & 0xf;
    const isSame = this.isVirtualReal(base, packet.family === IPV4);
    if (entries[base + IDENTITY] !== packet.identity) return PASS.no_connection;
    if (method === FULLNAT || (method === NAT && !isSame)) return DROP.local_mapped;
    return PASS.local_real_server;
  }

  /** Has the real server the virtual address and port? */
  private isVirtualReal(base: number, isIpv4: boolean): boolean {
    const entries = this.entries;
    if (entries[base + REAL] !== entries[base + VIRTUAL]) return false;
    if (entries[base + REPLY_PORTS]! >>> 16 !== (entries[base + CLIENT_PORTS]! & 0xffff)) {
      return false;
    }
    if (isIpv4) return true;
    const extension = this.extension;
    const real = base + REAL6;
    const virtual = base + VIRTUAL6;
    return (
      extension[real] === extension[virtual] &&
      extension[real + 1] === extension[virtual + 1] &&
      extension[real + 2] === extension[virtual + 2]
    );
  }

  /** Of link and route to where the connection's packet goes. */
  private mtu(packet: Packet, hop: number, entry: number, inbound: boolean): number {
    const base = entry << 4;
    const last = this.entries[base + (inbound ? REAL : CLIENT)]!;
    if (packet.family === IPV4) return this.hops.mtu4(hop, last, packet.total);
    const extension = this.extension;
    const first = base + (inbound ? REAL6 : CLIENT6);
    return this.hops.mtu6(
      hop,
      extension[first]!,
      extension[first + 1]!,
      extension[first + 2]!,
      last,
      packet.total,
    );
  }

  /** A later fragment is not answered: its first one is. */
  private answer(
    packet: Packet,
    verdict: number,
    error: number,
    rest: number,
    inbound: boolean,
    entry: number,
  ): number {
    if (packet.fragment === FRAGMENT_LATER) return verdict;
    return this.icmp.answer(packet, verdict, error, rest, inbound, entry);
  }
}
