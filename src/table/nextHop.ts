/**
 * Next hop of a destination address: routes, neighbours and links tied together for the workers.
 *
 * A "hop" is one int32 that a connection remembers:
 *
 *   31  30..............16  15...............0
 *    0   neighbour slot       generation
 *
 * It is positive, since slots are 1..32767. `isCurrent` says whether it still holds: the generation
 * is bumped by every change of routes or links and by every neighbour that stops being usable or
 * changes its MAC. A hop that is not current is resolved again; its slot stays readable for two
 * seconds, so a burst may finish with it. (A connection idle while exactly a multiple of 65,536
 * changes happen would use an old hop until the next change.)
 *
 * Not a hop: HOP_NONE, HOP_WAIT, HOP_LOCAL, HOP_HOST (0 and below).
 *
 * Memory: SharedArrayBuffers made by the main thread (`buffers`), written by the control plane
 * only, save a neighbour's lastUsedTick and requested words and the request cells. Workers read
 * plainly; `resolve` (not a per-packet call) ends with one atomic load, so that a change under its
 * hands is noticed. IPv4 addresses: signed int32, host order; IPv6 addresses: four of those.
 */

import type { HostAddress } from './address6';
import { LinkTable } from './link';
import {
  NEIGHBOUR_FAILED,
  NEIGHBOUR_RESOLVED,
  type NEIGHBOUR_UNRESOLVED,
  NeighbourTable,
} from './neighbour';
import { NeighbourRequests } from './neighbourRequest';
import { MTU_NONE, type NextHopBuffers, NextHopPaths, SHARED } from './nextHopPath';
import {
  NEXT_HOPS_MIN,
  ROUTE_LOCAL,
  ROUTE_UNICAST,
  type Route,
  type Route6,
  type RouteCapacity,
  RouteTable,
  TRIE_NODES_MIN,
  TRIE_NODES6_MIN,
} from './route';

/** No route, an unreachable route, or a neighbour that does not answer. */
export const HOP_NONE = 0;
/** There is a route; its neighbour's MAC has been asked for. */
export const HOP_WAIT = -1;
/** The destination is the host itself. */
export const HOP_LOCAL = -2;
/** Leaves by an interface xvs does not serve: the host's stack can forward it. */
export const HOP_HOST = -3;

const GENERATION_MASK = 0xffff;
/** A resolve that is overtaken by changes this often in a row says HOP_WAIT. */
const RESOLVE_ATTEMPTS_MAX = 8;

export type { NextHopBuffers } from './nextHopPath';

const {
  generation: GENERATION,
  smallestRouteMtu: SMALLEST_ROUTE_MTU,
  resolutions: RESOLUTIONS,
} = SHARED.at;

export interface NextHopCapacity extends RouteCapacity {
  /** Of both families together. */
  readonly neighbours: number;
  /** Of the IPv6 routes; default: what a host with few of them needs. */
  readonly routes6?: RouteCapacity;
}

const ROUTES6_DEFAULT: RouteCapacity = { trieNodes: TRIE_NODES6_MIN, nextHops: NEXT_HOPS_MIN };

export const NEXT_HOP_CAPACITY_DEFAULT: NextHopCapacity = {
  trieNodes: TRIE_NODES_MIN,
  nextHops: NEXT_HOPS_MIN,
  neighbours: 8192,
  routes6: ROUTES6_DEFAULT,
};

export class NextHopTable extends NextHopPaths {
  static buffers(capacity: NextHopCapacity = NEXT_HOP_CAPACITY_DEFAULT): NextHopBuffers {
    const shared = new SharedArrayBuffer(SHARED.size * 4);
    new Int32Array(shared)[SMALLEST_ROUTE_MTU] = MTU_NONE;
    return {
      shared,
      links: LinkTable.buffer(),
      routes: RouteTable.buffer(capacity),
      routes6: RouteTable.buffer6(capacity.routes6 ?? ROUTES6_DEFAULT),
      neighbours: NeighbourTable.buffer(capacity.neighbours),
      requests: NeighbourRequests.buffer(),
    };
  }

  readonly requests: NeighbourRequests;
  private readonly ring: () => void;

  /** `ring` wakes the control plane; a worker passes what signals the mirror's event. */
  constructor(buffers: NextHopBuffers, ring: () => void = () => undefined) {
    super(buffers);
    this.requests = new NeighbourRequests(buffers.requests);
    this.ring = ring;
  }

  /** 0..0xffff. */
  get generation(): number {
    return this.words[GENERATION]! & GENERATION_MASK;
  }

  /** Changes of routes, links and neighbours so far, modulo 2^32; `generation` is its end. */
  get changes(): number {
    return this.words[GENERATION]!;
  }

  /**
   * Neighbours that became usable so far, modulo 2^32: while it stands still, resolving a waiting
   * frame's address again is in vain.
   */
  get resolutions(): number {
    return this.words[RESOLUTIONS]!;
  }

  /**
   * The hop to a destination (> 0), or one of HOP_*. For HOP_WAIT the control plane has been asked
   * to have the neighbour resolved; ask again when `resolutions` or `generation` has changed. A
   * neighbour that failed gives HOP_NONE, and is tried anew about once a second while wanted.
   */
  resolve(address: number): number {
    for (let attempt = 0; attempt < RESOLVE_ATTEMPTS_MAX; attempt++) {
      const generation = this.words[GENERATION]!;
      const hop = this.resolveOnce(address, generation & GENERATION_MASK);
      if (Atomics.load(this.words, GENERATION) === generation) {
        return hop;
      }
    }
    return HOP_WAIT;
  }

  private resolveOnce(address: number, generation: number): number {
    const { routes, neighbours } = this;
    const route = routes.lookup(address);
    const kind = routes.kind(route);
    if (kind !== ROUTE_UNICAST) {
      return kind === ROUTE_LOCAL ? HOP_LOCAL : HOP_NONE;
    }
    const interfaceSlot = routes.interfaceSlot(route);
    if (interfaceSlot < 0) {
      return HOP_HOST;
    }
    const gateway = routes.gateway(route);
    const neighbour = gateway === 0 ? address : gateway;
    const slot = neighbours.find(interfaceSlot, neighbour);
    if (slot === 0) {
      if (this.requests.add(interfaceSlot, neighbour)) {
        this.ring();
      }
      return HOP_WAIT;
    }
    return this.hopOver(slot, generation);
  }

  /** As resolve; the words of the address, first bytes first. */
  resolve6(word0: number, word1: number, word2: number, word3: number): number {
    for (let attempt = 0; attempt < RESOLVE_ATTEMPTS_MAX; attempt++) {
      const generation = this.words[GENERATION]!;
      const hop = this.resolveOnce6(word0, word1, word2, word3, generation & GENERATION_MASK);
      if (Atomics.load(this.words, GENERATION) === generation) {
        return hop;
      }
    }
    return HOP_WAIT;
  }

  private resolveOnce6(
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    generation: number,
  ): number {
    const routes = this.routes6;
    const route = routes.lookup6(word0, word1, word2, word3);
    const kind = routes.kind(route);
    if (kind !== ROUTE_UNICAST) {
      return kind === ROUTE_LOCAL ? HOP_LOCAL : HOP_NONE;
    }
    const interfaceSlot = routes.interfaceSlot(route);
    if (interfaceSlot < 0) {
      return HOP_HOST;
    }
    const gateway0 = routes.gatewayWord(route, 0);
    const gateway1 = routes.gatewayWord(route, 1);
    const gateway2 = routes.gatewayWord(route, 2);
    const gateway3 = routes.gatewayWord(route, 3);
    if ((gateway0 | gateway1 | gateway2 | gateway3) === 0) {
      return this.hopTo6(interfaceSlot, word0, word1, word2, word3, generation);
    }
    return this.hopTo6(interfaceSlot, gateway0, gateway1, gateway2, gateway3, generation);
  }

  /** Hop to a neighbour, which is asked for when it is not known. */
  private hopTo6(
    interfaceSlot: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    generation: number,
  ): number {
    const slot = this.neighbours.find6(interfaceSlot, word0, word1, word2, word3);
    if (slot === 0) {
      if (this.requests.add6(interfaceSlot, word0, word1, word2, word3)) {
        this.ring();
      }
      return HOP_WAIT;
    }
    return this.hopOver(slot, generation);
  }

  private hopOver(slot: number, generation: number): number {
    const { neighbours } = this;
    const state = neighbours.state(slot);
    if (state === NEIGHBOUR_RESOLVED) {
      return (slot << 16) | generation;
    }
    neighbours.request(slot);
    return state === NEIGHBOUR_FAILED ? HOP_NONE : HOP_WAIT;
  }

  /** Whether a hop (> 0) may still be used. */
  isCurrent(hop: number): boolean {
    return ((hop ^ this.words[GENERATION]!) & GENERATION_MASK) === 0;
  }

  /** Neighbour slot of a hop. */
  slotOf(hop: number): number {
    return hop >> 16;
  }

  // Control plane from here on: one thread only.

  /** All hops given out so far are no longer current. */
  bump(): void {
    Atomics.store(this.words, GENERATION, (this.words[GENERATION]! + 1) | 0);
  }

  /** See RouteTable.replace. */
  replaceRoutes(tables: readonly (readonly Route[])[]): boolean {
    return this.announceRoutes(this.routes.replace(tables));
  }

  /** See RouteTable.replace6. */
  replaceRoutes6(tables: readonly (readonly Route6[])[]): boolean {
    return this.announceRoutes(this.routes6.replace6(tables));
  }

  private announceRoutes(fits: boolean): boolean {
    if (fits) {
      const mtus = [this.routes.smallestMtu, this.routes6.smallestMtu].filter((mtu) => mtu > 0);
      this.words[SMALLEST_ROUTE_MTU] = Math.min(MTU_NONE, ...mtus);
      this.bump();
    }
    return fits;
  }

  /** A neighbour that can be sent to. Returns its slot, 0 = no slot free (an old one is kept). */
  putResolved(
    interfaceSlot: number,
    address: HostAddress,
    macHigh: number,
    macLow: number,
    tick: number,
  ): number {
    const { neighbours } = this;
    const known = neighbours.findHost(interfaceSlot, address);
    if (known === 0) {
      const slot = neighbours.insert(
        interfaceSlot,
        address,
        macHigh,
        macLow,
        NEIGHBOUR_RESOLVED,
        tick,
      );
      this.countResolution(slot);
      return slot;
    }
    const sameMac =
      neighbours.macHigh(known) === macHigh && neighbours.macLow(known) === (macLow & 0xffff);
    if (sameMac) {
      if (neighbours.state(known) !== NEIGHBOUR_RESOLVED) {
        neighbours.setState(known, NEIGHBOUR_RESOLVED);
        this.countResolution(known);
      }
      return known;
    }
    if (neighbours.macHigh(known) === 0 && neighbours.macLow(known) === 0) {
      neighbours.resolve(known, macHigh, macLow);
      this.countResolution(known);
      return known;
    }
    return this.moveNeighbour(known, macHigh, macLow, tick);
  }

  /** Another MAC: a new slot, and no hop to the old one stays current. */
  private moveNeighbour(known: number, macHigh: number, macLow: number, tick: number): number {
    const { neighbours } = this;
    const slot = neighbours.insert(
      neighbours.interfaceSlot(known),
      neighbours.address(known),
      macHigh,
      macLow,
      NEIGHBOUR_RESOLVED,
      tick,
    );
    if (slot === 0) {
      // Better nobody sends than everybody to the old MAC.
      this.removeSlot(known, tick);
      return 0;
    }
    neighbours.touch(slot, neighbours.lastUsedTick(known));
    this.removeSlot(known, tick);
    this.countResolution(slot);
    return slot;
  }

  /** A neighbour without a MAC: asked for, or failed. Returns its slot, 0 = no slot free. */
  putUnresolved(
    interfaceSlot: number,
    address: HostAddress,
    state: typeof NEIGHBOUR_UNRESOLVED | typeof NEIGHBOUR_FAILED,
    tick: number,
  ): number {
    const { neighbours } = this;
    const known = neighbours.findHost(interfaceSlot, address);
    if (known === 0) {
      return neighbours.insert(interfaceSlot, address, 0, 0, state, tick);
    }
    const before = neighbours.state(known);
    if (before !== state) {
      neighbours.setState(known, state);
    }
    if (before === NEIGHBOUR_RESOLVED) {
      this.bump();
    }
    return known;
  }

  /** The neighbour is gone: its slot retires. */
  removeSlot(slot: number, tick: number): void {
    const resolved = this.neighbours.state(slot) === NEIGHBOUR_RESOLVED;
    this.neighbours.retire(slot, tick);
    if (resolved) {
      this.bump();
    }
  }

  /** Waiting frames are worth another look. */
  announceResolution(): void {
    Atomics.add(this.words, RESOLUTIONS, 1);
  }

  private countResolution(slot: number): void {
    if (slot !== 0) {
      this.announceResolution();
    }
  }
}
