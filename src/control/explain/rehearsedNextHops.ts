/**
 * The next hops of a rehearsal: routes and links are the live ones, neighbours a copy, since
 * packets note that they used one; whom they ask for nobody hears of.
 */
import { NeighbourRequests } from '../../table/neighbourRequest';
import {
  HOP_HOST,
  HOP_LOCAL,
  HOP_NONE,
  HOP_WAIT,
  type NextHopBuffers,
  NextHopTable,
} from '../../table/nextHop';
import type { Journal } from './journal';
import { addressText, macText, type Names } from './names';
import { copyUsed } from './rehearsedTables';

/** The smallest TTL with which a router forwards. */
const TTL_MIN = 2;

function privateBuffers(live: NextHopBuffers): NextHopBuffers {
  const neighbours = new SharedArrayBuffer(live.neighbours.byteLength);
  copyUsed(live.neighbours, neighbours);
  return { ...live, neighbours, requests: NeighbourRequests.buffer() };
}

export class RehearsedNextHops extends NextHopTable {
  readonly #names: Names;
  readonly #journal: Journal;
  /** TTL or hop limit of the packet when it came; null: it has no whole IP header. */
  readonly #arrivedHops: number | null;
  /** Found in this rehearsal: no connection remembers them from before. */
  readonly #found = new Set<number>();
  #hop = HOP_NONE;

  constructor(live: NextHopBuffers, names: Names, journal: Journal, arrivedHops: number | null) {
    super(privateBuffers(live));
    this.#names = names;
    this.#journal = journal;
    this.#arrivedHops = arrivedHops;
  }

  override resolve(address: number): number {
    const hop = this.#note(super.resolve(address));
    this.#journal.say('next hop', `to ${addressText(4, [address])}: ${this.describe(hop)}`);
    return hop;
  }

  override resolve6(word0: number, word1: number, word2: number, word3: number): number {
    const hop = this.#note(super.resolve6(word0, word1, word2, word3));
    const address = addressText(6, [word0, word1, word2, word3]);
    this.#journal.say('next hop', `to ${address}: ${this.describe(hop)}`);
    return hop;
  }

  #note(hop: number): number {
    this.#found.add(hop);
    this.#hop = hop;
    return hop;
  }

  override isCurrent(hop: number): boolean {
    const isCurrent = super.isCurrent(hop);
    if (!isCurrent) return false;
    this.#hop = hop;
    if (!this.#found.has(hop)) {
      this.#journal.say('next hop', `the connection remembers ${this.describe(hop)}`);
    }
    return true;
  }

  /** Asked for last, of a packet whose TTL suffices and which fits the link. */
  override fitsRoutes(lengthBytes: number): boolean {
    const fits = super.fitsRoutes(lengthBytes);
    this.#reportTtl();
    const link = this.links.mtu(this.neighbours.interfaceSlot(this.slotOf(this.#hop)));
    if (fits) this.#reportLength(lengthBytes, link);
    return fits;
  }

  override mtu4(hop: number, address: number, lengthBytes: number): number {
    return this.#fits(lengthBytes, super.mtu4(hop, address, lengthBytes));
  }

  override mtu6(...asked: Parameters<NextHopTable['mtu6']>): number {
    return this.#fits(asked[asked.length - 1]!, super.mtu6(...asked));
  }

  #fits(lengthBytes: number, mtu: number): number {
    this.#reportTtl();
    this.#reportLength(lengthBytes, mtu);
    return mtu;
  }

  #reportLength(lengthBytes: number, mtu: number): void {
    const fit = lengthBytes <= mtu ? 'fit' : 'are too long for';
    this.#journal.sayOnce('length', `${lengthBytes} bytes ${fit} link and route, MTU ${mtu}`);
  }

  /** What the packet brought; of one that may not go on, its verdict tells. */
  #reportTtl(): void {
    const hops = this.#arrivedHops;
    if (hops === null || hops < TTL_MIN) return;
    this.#journal.sayOnce('ttl', `${hops} when it came, ${hops - 1} when it leaves`);
  }

  describe(hop: number): string {
    if (hop === HOP_WAIT) return 'its neighbour has no MAC yet, the kernel is asked for it';
    if (hop === HOP_LOCAL) return "an address of the host's own";
    if (hop === HOP_HOST) return 'by an interface that xvs does not serve';
    if (hop <= 0) return 'no route, or a neighbour that does not answer';
    const slot = this.slotOf(hop);
    const { neighbours, links } = this;
    const host = neighbours.address(slot);
    const address = typeof host === 'number' ? addressText(4, [host]) : addressText(6, host);
    const link = neighbours.interfaceSlot(slot);
    const mac = macText(neighbours.macHigh(slot), neighbours.macLow(slot));
    return `${this.#names.interface(link)}, neighbour ${address} (${mac}), MTU ${links.mtu(link)}`;
  }
}
