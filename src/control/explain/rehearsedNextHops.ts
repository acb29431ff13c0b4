/**
 * The next hops of a rehearsal: routes and links are the live ones, neighbours a copy, since
 * packets note that they used one; whom they ask for nobody hears of.
 */
import { NeighbourRequests } from '../../table/neighbourRequest';
import {
  HOP_HOST,
  HOP_LOCAL,
  HOP_WAIT,
  type NextHopBuffers,
  NextHopTable,
} from '../../table/nextHop';
import type { Journal } from './journal';
import { addressText, macText, type Names } from './names';
import { copyUsed } from './rehearsedTables';

function privateBuffers(live: NextHopBuffers): NextHopBuffers {
  const neighbours = new SharedArrayBuffer(live.neighbours.byteLength);
  copyUsed(live.neighbours, neighbours);
  return { ...live, neighbours, requests: NeighbourRequests.buffer() };
}

export class RehearsedNextHops extends NextHopTable {
  readonly #names: Names;
  readonly #journal: Journal;

  constructor(live: NextHopBuffers, names: Names, journal: Journal) {
    super(privateBuffers(live));
    this.#names = names;
    this.#journal = journal;
  }

  override resolve(address: number): number {
    const hop = super.resolve(address);
    this.#journal.say('next hop', `to ${addressText(4, [address])}: ${this.describe(hop)}`);
    return hop;
  }

  override resolve6(word0: number, word1: number, word2: number, word3: number): number {
    const hop = super.resolve6(word0, word1, word2, word3);
    const address = addressText(6, [word0, word1, word2, word3]);
    this.#journal.say('next hop', `to ${address}: ${this.describe(hop)}`);
    return hop;
  }

  override isCurrent(hop: number): boolean {
    const isCurrent = super.isCurrent(hop);
    if (isCurrent) {
      this.#journal.say('next hop', `the connection remembers ${this.describe(hop)}`);
    }
    return isCurrent;
  }

  override mtu4(hop: number, address: number, lengthBytes: number): number {
    return this.#fits(lengthBytes, super.mtu4(hop, address, lengthBytes));
  }

  override mtu6(...asked: Parameters<NextHopTable['mtu6']>): number {
    return this.#fits(asked[asked.length - 1]!, super.mtu6(...asked));
  }

  #fits(lengthBytes: number, mtu: number): number {
    this.#journal.say('length', `${lengthBytes} bytes, ${mtu} fit link and route`);
    return mtu;
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
