/**
 * ICMP errors that the worker itself sends: port unreachable, time exceeded, fragmentation needed.
 * At most 50 in each tick of 100 ms: the burst Linux allows itself (icmp_msgs_burst), and half of
 * its 1,000 a second (icmp_msgs_per_sec).
 */
import { buildIcmpError, ICMP_ERROR_PREFIX, mayGetIcmpError } from '../forward/icmpError';
import { ETHERNET_BYTES } from '../net/ethernet';
import { ipv4Source, ipv4TotalLength } from '../net/ipv4';
import type { Umem } from '../port/umem';
import { COUNTER, FORWARDED } from '../table/counter';
import type { NextHopTable } from '../table/nextHop';
import type { Egress } from './egress';

const TOKENS_MAX = 50;

export class IcmpSender {
  readonly #umem: Umem;
  readonly #egress: Egress;
  readonly #hops: NextHopTable;
  readonly #counters: Float64Array;
  #tokens = TOKENS_MAX;
  #tick = 0;
  #id = 0;

  constructor(umem: Umem, egress: Egress, hops: NextHopTable, counters: Float64Array) {
    this.#umem = umem;
    this.#egress = egress;
    this.#hops = hops;
    this.#counters = counters;
  }

  /**
   * Answers the frame at `at` with an error from `source`. Returns FORWARDED when the error took
   * the frame's chunk, else `verdict`: then the frame is still the caller's. Counts `verdict` in
   * both cases, once.
   */
  answer(
    verdict: number,
    at: number,
    type: number,
    code: number,
    rest: number,
    source: number,
    tick: number,
  ): number {
    const view = this.#umem.view;
    const client = ipv4Source(view, at + ETHERNET_BYTES);
    if (!mayGetIcmpError(client) || source === 0) return verdict;
    if (!this.#takeToken(tick)) {
      this.#counters[COUNTER.icmp_rate_limited]! += 1;
      return verdict;
    }
    this.#id = (this.#id + 1) & 0xffff;
    const total = ipv4TotalLength(view, at + ETHERNET_BYTES);
    const length = buildIcmpError(view, at, total, type, code, rest, source, this.#id);
    const start = at - ICMP_ERROR_PREFIX;
    const sent = this.#egress.send(start, length, 0, this.#hops.resolve(client), client, tick);
    if (sent !== FORWARDED) {
      // No way back to the client: the message is dropped in the frame's stead.
      return verdict;
    }
    this.#counters[COUNTER.icmp_sent]! += 1;
    this.#counters[verdict]! += 1;
    return FORWARDED;
  }

  #takeToken(tick: number): boolean {
    if (tick !== this.#tick) {
      this.#tick = tick;
      this.#tokens = TOKENS_MAX;
    }
    if (this.#tokens === 0) return false;
    this.#tokens--;
    return true;
  }
}
