/**
 * ICMP and ICMPv6 errors that the worker itself sends: port unreachable, time exceeded, too big;
 * and those that it passes on to a client in place of one about a tunnel's packet.
 * At most 50 in each tick of 100 ms: the burst Linux allows itself (icmp_msgs_burst), and half of
 * its 1,000 a second (icmp_msgs_per_sec).
 */
import { buildIcmpError, ICMP_ERROR_PREFIX, mayGetIcmpError } from '../forward/icmpError';
import { buildIcmpError6, ICMP_ERROR6_PREFIX, mayGetIcmpError6 } from '../forward/icmpError6';
import { isGroupFrame } from '../net/ethernet';
import {
  CODE_FRAGMENTATION_NEEDED,
  CODE_HOST_UNREACHABLE,
  CODE_PORT_UNREACHABLE,
  CODE_TTL_EXCEEDED,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
} from '../net/icmp';
import {
  CODE6_ADDRESS_UNREACHABLE,
  CODE6_HOP_LIMIT,
  CODE6_PORT_UNREACHABLE,
  ICMP6_TIME_EXCEEDED,
  ICMP6_TOO_BIG,
  ICMP6_UNREACHABLE,
} from '../net/icmp6';
import { ipv4Destination, ipv4Source, PROTOCOL_ICMP } from '../net/ipv4';
import { IPV6_DESTINATION, IPV6_SOURCE, PROTOCOL_ICMP6 } from '../net/ipv6';
import type { Umem } from '../port/umem';
import { CONNECTION, CONNECTION_METHOD_SHIFT } from '../table/connection';
import { COUNTER, FORWARDED } from '../table/counter';
import type { Tables } from '../table/memory';
import type { NextHopTable } from '../table/nextHop';
import { METHOD_FULLNAT } from '../table/realServer';
import type { Egress } from './egress';
import { FAMILY_IPV4, FRAGMENT_LATER, type Packet } from './packet';

/** What an error says; each family has its own type and code for it. */
export const ERROR_PORT_UNREACHABLE = 0;
export const ERROR_TIME_EXCEEDED = 1;
/** `rest`: the MTU that the packet does not fit. */
export const ERROR_TOO_BIG = 2;
export const ERROR_HOST_UNREACHABLE = 3;

const TYPES4 = [ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, ICMP_UNREACHABLE];
const CODES4 = [
  CODE_PORT_UNREACHABLE,
  CODE_TTL_EXCEEDED,
  CODE_FRAGMENTATION_NEEDED,
  CODE_HOST_UNREACHABLE,
];
const TYPES6 = [ICMP6_UNREACHABLE, ICMP6_TIME_EXCEEDED, ICMP6_TOO_BIG, ICMP6_UNREACHABLE];
const CODES6 = [CODE6_PORT_UNREACHABLE, CODE6_HOP_LIMIT, 0, CODE6_ADDRESS_UNREACHABLE];

const TOKENS_MAX = 50;
const STATE = CONNECTION.at.state;

export class IcmpSender {
  private readonly view: DataView;
  private readonly entries: Int32Array;
  private readonly egress: Egress;
  private readonly hops: NextHopTable;
  private readonly counters: Float64Array;
  private tokens = TOKENS_MAX;
  private tick = 0;
  private id = 0;
  /** Whom the error comes from: IPv4 in the first word. */
  private readonly source = new Int32Array(4);

  constructor(tables: Tables, worker: number, umem: Umem, egress: Egress) {
    this.view = umem.view;
    this.entries = tables.connections.entries;
    this.egress = egress;
    this.hops = tables.nextHops;
    this.counters = tables.counters[worker]!;
  }

  /**
   * Answers a packet, as it stands at `packet.ip`, with an error (ERROR_*): to a client
   * (`inbound`) from the address it wrote to, to a real server from the director's own. `entry`:
   * its connection, 0 = none. Returns FORWARDED when the error took the frame's chunk, else
   * `verdict`: then the frame is still the caller's. Counts `verdict` in both cases, once.
   */
  answer(
    packet: Packet,
    verdict: number,
    error: number,
    rest: number,
    inbound: boolean,
    entry: number,
  ): number {
    if (!this.mayAnswer(packet)) return verdict;
    const isIpv4 = packet.family === FAMILY_IPV4;
    if (!this.chooseSource(packet, isIpv4, inbound, entry)) return verdict;
    const type = isIpv4 ? TYPES4[error]! : TYPES6[error]!;
    const code = isIpv4 ? CODES4[error]! : CODES6[error]!;
    return this.send(packet, verdict, packet.ip, packet.total, isIpv4, type, code, rest);
  }

  /**
   * Tells the source of the packet at `quoted`, which `packet` quotes and of which `quotedBytes`
   * are there, the same of the address it wrote to. Otherwise as `answer`.
   */
  relay(
    packet: Packet,
    verdict: number,
    quoted: number,
    quotedBytes: number,
    isIpv4: boolean,
    type: number,
    code: number,
    rest: number,
  ): number {
    const view = this.view;
    const mayGet = isIpv4
      ? mayGetIcmpError(ipv4Source(view, quoted))
      : mayGetIcmpError6(view, quoted);
    if (!mayGet) return verdict;
    this.takeSource(quoted, isIpv4);
    return this.send(packet, verdict, quoted, quotedBytes, isIpv4, type, code, rest);
  }

  /** Never about an ICMP error, a later fragment, or what was sent to many (RFC 1122 3.2.2). */
  private mayAnswer(packet: Packet): boolean {
    const { protocol } = packet;
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMP6) return false;
    if (packet.fragment === FRAGMENT_LATER || isGroupFrame(this.view, packet.at)) return false;
    if (packet.family !== FAMILY_IPV4) return mayGetIcmpError6(this.view, packet.ip);
    return mayGetIcmpError(ipv4Source(this.view, packet.ip));
  }

  /** False: the director has no address to send from. */
  private chooseSource(packet: Packet, isIpv4: boolean, inbound: boolean, entry: number): boolean {
    // What a FULLNAT server sends is to an address of the director's own, too.
    if (inbound || this.isFullnat(entry)) {
      this.takeSource(packet.ip, isIpv4);
      return true;
    }
    const source = this.source;
    const { links } = this.hops;
    const { slot } = packet.port;
    if (isIpv4) {
      source[0] = links.address(slot);
      return source[0] !== 0;
    }
    for (let word = 0; word < 4; word++) source[word] = links.address6(slot, word);
    return (source[0]! | source[1]! | source[2]! | source[3]!) !== 0;
  }

  private isFullnat(entry: number): boolean {
    if (entry === 0) return false;
    const method = (this.entries[(entry << 4) + STATE]! >>> CONNECTION_METHOD_SHIFT) & 0xf;
    return method === METHOD_FULLNAT;
  }

  /** The error comes from where the packet at `ip` was sent to. */
  private takeSource(ip: number, isIpv4: boolean): void {
    const source = this.source;
    if (isIpv4) {
      source[0] = ipv4Destination(this.view, ip);
      return;
    }
    for (let word = 0; word < 4; word++) {
      source[word] = this.view.getInt32(ip + IPV6_DESTINATION + 4 * word);
    }
  }

  private send(
    packet: Packet,
    verdict: number,
    quoted: number,
    quotedBytes: number,
    isIpv4: boolean,
    type: number,
    code: number,
    rest: number,
  ): number {
    if (!this.takeToken(packet.tick)) {
      this.counters[COUNTER.icmp_rate_limited]! += 1;
      return verdict;
    }
    const sent = isIpv4
      ? this.send4(packet, quoted, quotedBytes, type, code, rest)
      : this.send6(packet, quoted, quotedBytes, type, code, rest);
    // No way back to the client: the message is dropped in the frame's stead.
    if (sent !== FORWARDED) return verdict;
    this.counters[COUNTER.icmp_sent]! += 1;
    this.counters[verdict]! += 1;
    return FORWARDED;
  }

  private send4(
    packet: Packet,
    quoted: number,
    quotedBytes: number,
    type: number,
    code: number,
    rest: number,
  ): number {
    const view = this.view;
    const client = ipv4Source(view, quoted);
    this.id = (this.id + 1) & 0xffff;
    const source = this.source[0]!;
    const length = buildIcmpError(view, quoted, quotedBytes, type, code, rest, source, this.id);
    const start = quoted - ICMP_ERROR_PREFIX;
    return this.egress.send(start, length, 0, this.hops.resolve(client), client, packet.tick);
  }

  private send6(
    packet: Packet,
    quoted: number,
    quotedBytes: number,
    type: number,
    code: number,
    rest: number,
  ): number {
    const view = this.view;
    const source = this.source;
    const length = buildIcmpError6(
      view,
      quoted,
      quotedBytes,
      type,
      code,
      rest,
      source[0]!,
      source[1]!,
      source[2]!,
      source[3]!,
    );
    const client = quoted + IPV6_SOURCE;
    const word0 = view.getInt32(client);
    const word1 = view.getInt32(client + 4);
    const word2 = view.getInt32(client + 8);
    const word3 = view.getInt32(client + 12);
    const hop = this.hops.resolve6(word0, word1, word2, word3);
    const start = quoted - ICMP_ERROR6_PREFIX;
    return this.egress.send6(start, length, 0, hop, word0, word1, word2, word3, packet.tick);
  }

  private takeToken(tick: number): boolean {
    if (tick !== this.tick) {
      this.tick = tick;
      this.tokens = TOKENS_MAX;
    }
    if (this.tokens === 0) return false;
    this.tokens--;
    return true;
  }
}
