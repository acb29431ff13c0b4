/**
 * What the host's routing says about a destination beside its next hop: how long a packet may be
 * on the way and which address of the host's own it would carry. The half of NextHopTable (see
 * nextHop.ts, also for memory and byte order) that asks routes and links only.
 */

import { words } from '../layout/record';
import { LinkTable } from './link';
import { NeighbourTable } from './neighbour';
import { ROUTE_LOCAL, ROUTE_UNICAST, RouteTable } from './route';

export const SHARED = words('next hop table', 16, {
  generation: 1, // the hop carries its low 16 bits
  smallestRouteMtu: 1, // of all routes that have one of their own, else MTU_NONE
  reserved0: 6, // its own half cache line: read per packet
  resolutions: 1, // neighbours that became usable, counted modulo 2^32
  reserved1: 7,
});
/** No packet is longer. */
export const MTU_NONE = 0x7fffffff;
const SMALLEST_ROUTE_MTU = SHARED.at.smallestRouteMtu;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const UNICAST = ROUTE_UNICAST;

/** Structured-cloneable: goes to workers as workerData. */
export interface NextHopBuffers {
  readonly shared: SharedArrayBuffer;
  readonly links: SharedArrayBuffer;
  readonly routes: SharedArrayBuffer;
  readonly routes6: SharedArrayBuffer;
  readonly neighbours: SharedArrayBuffer;
  readonly requests: SharedArrayBuffer;
}

export abstract class NextHopPaths {
  readonly links: LinkTable;
  /** IPv4 */
  readonly routes: RouteTable;
  /** IPv6 */
  readonly routes6: RouteTable;
  readonly neighbours: NeighbourTable;
  /** The address that source6 has found. */
  readonly sourceWords = new Int32Array(4);
  protected readonly words: Int32Array;

  constructor(buffers: NextHopBuffers) {
    this.words = new Int32Array(buffers.shared);
    this.links = new LinkTable(buffers.links);
    this.routes = new RouteTable(buffers.routes);
    this.routes6 = new RouteTable(buffers.routes6);
    this.neighbours = new NeighbourTable(buffers.neighbours);
  }

  /** Largest IP packet in bytes on the way to an address: the route's MTU, else the link's. */
  pathMtu4(address: number): number {
    return this.pathMtu(this.routes, this.routes.lookup(address));
  }

  /** As pathMtu4. */
  pathMtu6(word0: number, word1: number, word2: number, word3: number): number {
    return this.pathMtu(this.routes6, this.routes6.lookup6(word0, word1, word2, word3));
  }

  private pathMtu(routes: RouteTable, route: number): number {
    const interfaceSlot = routes.interfaceSlot(route);
    if (routes.kind(route) !== UNICAST || interfaceSlot < 0) {
      return 0;
    }
    const linkMtu = this.links.mtu(interfaceSlot);
    const routeMtu = routes.mtu(route);
    return routeMtu > 0 && routeMtu < linkMtu ? routeMtu : linkMtu;
  }

  /**
   * MTU that a packet of `lengthBytes` to an IPv4 address has to fit over a hop (> 0): the link's,
   * or the route's own if that is smaller. Routes are asked only for a packet longer than the
   * smallest MTU of any route.
   */
  mtu4(hop: number, address: number, lengthBytes: number): number {
    if (lengthBytes > this.words[SMALLEST_ROUTE_MTU]!) {
      const mtu = this.pathMtu4(address);
      if (mtu > 0) {
        return mtu;
      }
    }
    return this.linkMtu(hop);
  }

  /** As mtu4. */
  mtu6(
    hop: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    lengthBytes: number,
  ): number {
    if (lengthBytes > this.words[SMALLEST_ROUTE_MTU]!) {
      const mtu = this.pathMtu6(word0, word1, word2, word3);
      if (mtu > 0) {
        return mtu;
      }
    }
    return this.linkMtu(hop);
  }

  private linkMtu(hop: number): number {
    return this.links.mtu(this.neighbours.interfaceSlot(hop >> 16));
  }

  /** Does a packet fit the link of a hop (> 0), and every route that has an MTU of its own? */
  fits(hop: number, lengthBytes: number): boolean {
    return lengthBytes <= this.linkMtu(hop) && this.fitsRoutes(lengthBytes);
  }

  /** The routes alone. */
  fitsRoutes(lengthBytes: number): boolean {
    return lengthBytes <= this.words[SMALLEST_ROUTE_MTU]!;
  }

  /** Is the address the host's own? */
  isLocal4(address: number): boolean {
    return this.routes.kind(this.routes.lookup(address)) === ROUTE_LOCAL;
  }

  /** As isLocal4. */
  isLocal6(word0: number, word1: number, word2: number, word3: number): boolean {
    const { routes6 } = this;
    return routes6.kind(routes6.lookup6(word0, word1, word2, word3)) === ROUTE_LOCAL;
  }

  /** Source address for packets of the host itself towards an address; 0 = none known. */
  source4(address: number): number {
    const route = this.routes.lookup(address);
    const interfaceSlot = this.routes.interfaceSlot(route);
    const preferred = this.routes.preferredSource(route);
    if (preferred !== 0 || interfaceSlot < 0) {
      return preferred;
    }
    return this.links.address(interfaceSlot);
  }

  /** As source4; the address is then in `sourceWords`. False: none known. */
  source6(word0: number, word1: number, word2: number, word3: number): boolean {
    const { routes6, links, sourceWords } = this;
    const route = routes6.lookup6(word0, word1, word2, word3);
    const interfaceSlot = routes6.interfaceSlot(route);
    let any = 0;
    for (let word = 0; word < 4; word++) {
      any |= sourceWords[word] = routes6.preferredSourceWord(route, word);
    }
    if (any === 0 && interfaceSlot >= 0) {
      for (let word = 0; word < 4; word++) {
        any |= sourceWords[word] = links.address6(interfaceSlot, word);
      }
    }
    return any !== 0;
  }
}
