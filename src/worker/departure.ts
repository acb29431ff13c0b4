/**
 * What a router does before it forwards: the next hop, which the connection remembers; TTL; MTU.
 */
import { FLAG_DONT_FRAGMENT, ipv4Fragment, ipv4Ttl } from '../net/ipv4';
import { IPV6_MTU_MIN, ipv6HopLimit } from '../net/ipv6';
import { CONNECTION, EXTENSION } from '../table/connection';
import { DROP, GO_ON, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import { HOP_LOCAL, type NextHopTable } from '../table/nextHop';
import type { Egress } from './egress';
import { ERROR_TIME_EXCEEDED, ERROR_TOO_BIG, type IcmpSender } from './icmp';
import { FAMILY_IPV4, FRAGMENT_LATER, type Packet } from './packet';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const LOCAL = HOP_LOCAL;
const CONTINUE = GO_ON;
const IPV4 = FAMILY_IPV4;
const IPV4_MTU_MIN = 68;
const MTU6_MIN = IPV6_MTU_MIN;
const { client: CLIENT, real: REAL } = CONNECTION.at;
const { client: CLIENT6, real: REAL6 } = EXTENSION.at;

export class Departure {
  readonly #view: DataView;
  readonly #entries: Int32Array;
  readonly #extension: Int32Array;
  readonly #hops: NextHopTable;
  readonly #egress: Egress;
  readonly #icmp: IcmpSender;

  constructor(tables: Tables, view: DataView, egress: Egress, icmp: IcmpSender) {
    this.#view = view;
    this.#entries = tables.connections.entries;
    this.#extension = tables.connections.extension;
    this.#hops = tables.nextHops;
    this.#egress = egress;
    this.#icmp = icmp;
  }

  /**
   * The hop that the connection remembers, or a new one. `word`: index of the entry's serverHop or
   * clientHop in the table.
   */
  hop4(word: number, address: number): number {
    const remembered = this.#entries[word]!;
    if (remembered > 0 && this.#hops.isCurrent(remembered)) return remembered;
    const hop = this.#hops.resolve(address);
    if (hop > 0) this.#entries[word] = hop;
    return hop;
  }

  /** The hop that the connection remembers if it still holds, else 0. */
  remembered(word: number): number {
    const hop = this.#entries[word]!;
    return hop > 0 && this.#hops.isCurrent(hop) ? hop : 0;
  }

  /** As hop4, to an IPv6 address. */
  hop6(word: number, word0: number, word1: number, word2: number, word3: number): number {
    const remembered = this.#entries[word]!;
    if (remembered > 0 && this.#hops.isCurrent(remembered)) return remembered;
    const hop = this.#hops.resolve6(word0, word1, word2, word3);
    if (hop > 0) this.#entries[word] = hop;
    return hop;
  }

  /** May an IPv4 packet leave without another look? If not, `mayLeave` says what becomes of it. */
  isClear4(ip: number, total: number, hop: number): boolean {
    if (hop === LOCAL || ipv4Ttl(this.#view, ip) <= 1) return false;
    if (hop <= 0) return true;
    return total <= this.#egress.mtu(hop) && total <= this.#hops.smallestRouteMtu;
  }

  /** May a packet of either family leave over a hop (> 0, or it may not) without another look? */
  isClear(packet: Packet, hop: number): boolean {
    const view = this.#view;
    const isIpv4 = packet.family === IPV4;
    const left = isIpv4 ? ipv4Ttl(view, packet.ip) : ipv6HopLimit(view, packet.ip);
    if (hop <= 0 || left <= 1) return false;
    return packet.total <= this.#egress.mtu(hop) && packet.total <= this.#hops.smallestRouteMtu;
  }

  /**
   * What a router checks before it forwards: TTL, MTU. GO_ON, or the verdict. `overhead`: bytes
   * that will be put in front of the packet (tunnels), 0 for none.
   */
  mayLeave(packet: Packet, hop: number, overhead: number, entry: number, inbound: boolean): number {
    if (hop === LOCAL) return PASS.local_real_server;
    const view = this.#view;
    const isIpv4 = packet.family === IPV4;
    const left = isIpv4 ? ipv4Ttl(view, packet.ip) : ipv6HopLimit(view, packet.ip);
    if (left <= 1) {
      return this.#answer(packet, DROP.ttl_exceeded, ERROR_TIME_EXCEEDED, 0, inbound, entry);
    }
    if (hop <= 0) return CONTINUE;
    const mtu = this.#mtu(packet, hop, entry, inbound) - overhead;
    if (packet.total <= mtu) return CONTINUE;
    if (mtu < (isIpv4 ? IPV4_MTU_MIN : MTU6_MIN)) return DROP.mtu_exceeded;
    // Egress cuts it.
    if (isIpv4 && (ipv4Fragment(view, packet.ip) & FLAG_DONT_FRAGMENT) === 0) return CONTINUE;
    return this.#answer(packet, DROP.mtu_exceeded, ERROR_TOO_BIG, mtu, inbound, entry);
  }

  /** Of link and route to where the connection's packet goes. */
  #mtu(packet: Packet, hop: number, entry: number, inbound: boolean): number {
    const base = entry << 4;
    const last = this.#entries[base + (inbound ? REAL : CLIENT)]!;
    if (packet.family === IPV4) return this.#hops.mtu4(hop, last, packet.total);
    const extension = this.#extension;
    const first = base + (inbound ? REAL6 : CLIENT6);
    return this.#hops.mtu6(
      hop,
      extension[first]!,
      extension[first + 1]!,
      extension[first + 2]!,
      last,
      packet.total,
    );
  }

  /** A later fragment is not answered: its first one is. */
  #answer(
    packet: Packet,
    verdict: number,
    error: number,
    rest: number,
    inbound: boolean,
    entry: number,
  ): number {
    if (packet.fragment === FRAGMENT_LATER) return verdict;
    return this.#icmp.answer(packet, verdict, error, rest, inbound, entry);
  }
}
