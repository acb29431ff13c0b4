/**
 * What a router does before it forwards: the next hop, which the connection remembers; TTL; MTU.
 */
import {
  CODE_FRAGMENTATION_NEEDED,
  CODE_TTL_EXCEEDED,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
} from '../net/icmp';
import { FLAG_DONT_FRAGMENT, ipv4Fragment, ipv4Ttl } from '../net/ipv4';
import type { Port } from '../port/port';
import { CONNECTION } from '../table/connection';
import { DROP, GO_ON, PASS } from '../table/counter';
import type { Tables } from '../table/memory';
import { HOP_LOCAL, type NextHopTable } from '../table/nextHop';
import type { Egress } from './egress';
import type { IcmpSender } from './icmp';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const LOCAL = HOP_LOCAL;
const CONTINUE = GO_ON;
const VIRTUAL = CONNECTION.at.virtual;

export class Departure {
  readonly #view: DataView;
  readonly #entries: Int32Array;
  readonly #hops: NextHopTable;
  readonly #egress: Egress;
  readonly #icmp: IcmpSender;

  constructor(tables: Tables, view: DataView, egress: Egress, icmp: IcmpSender) {
    this.#view = view;
    this.#entries = tables.connections.entries;
    this.#hops = tables.nextHops;
    this.#egress = egress;
    this.#icmp = icmp;
  }

  /** The hop that the connection remembers, or a new one. */
  hop(word: number, address: number): number {
    const remembered = this.#entries[word]!;
    if (remembered > 0 && this.#hops.isCurrent(remembered)) return remembered;
    const hop = this.#hops.resolve(address);
    if (hop > 0) this.#entries[word] = hop;
    return hop;
  }

  /** What a router checks before it forwards: TTL, MTU. GO_ON, or the verdict. */
  mayLeave(
    port: Port,
    at: number,
    ip: number,
    total: number,
    hop: number,
    entry: number,
    inbound: boolean,
    tick: number,
  ): number {
    if (hop === LOCAL) return PASS.local_real_server;
    const view = this.#view;
    const expired = ipv4Ttl(view, ip) <= 1;
    const tooLong = hop > 0 && total > this.#egress.mtu(hop);
    if (!expired && !tooLong) return CONTINUE;
    // Errors to the client come from the VIP, to the server from the director's own address.
    const own = inbound
      ? this.#entries[(entry << 4) + VIRTUAL]!
      : this.#hops.links.address(port.slot);
    if (expired) {
      return this.#icmp.answer(
        DROP.ttl_exceeded,
        at,
        ICMP_TIME_EXCEEDED,
        CODE_TTL_EXCEEDED,
        0,
        own,
        tick,
      );
    }
    if ((ipv4Fragment(view, ip) & FLAG_DONT_FRAGMENT) === 0) return DROP.mtu_exceeded;
    return this.#icmp.answer(
      DROP.mtu_exceeded,
      at,
      ICMP_UNREACHABLE,
      CODE_FRAGMENTATION_NEEDED,
      this.#egress.mtu(hop),
      own,
      tick,
    );
  }
}
