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
 * hands is noticed. IPv4 addresses: signed int32, host order.
 */

import { words } from '../layout/record';
import { LinkTable } from './link';
import {
  NEIGHBOUR_FAILED,
  NEIGHBOUR_RESOLVED,
  type NEIGHBOUR_UNRESOLVED,
  NeighbourTable,
} from './neighbour';
import { NeighbourRequests } from './neighbourRequest';
import {
  NEXT_HOPS_MIN,
  ROUTE_LOCAL,
  ROUTE_UNICAST,
  type Route,
  type RouteCapacity,
  RouteTable,
  TRIE_NODES_MIN,
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

const SHARED = words('next hop table', 16, {
  generation: 1, // the hop carries its low 16 bits
  reserved0: 7, // its own half cache line: read per packet
  resolutions: 1, // neighbours that became usable, counted modulo 2^32
  reserved1: 7,
});
const { generation: GENERATION, resolutions: RESOLUTIONS } = SHARED.at;

export interface NextHopCapacity extends RouteCapacity {
  readonly neighbours: number;
}

export const NEXT_HOP_CAPACITY_DEFAULT: NextHopCapacity = {
  trieNodes: TRIE_NODES_MIN,
  nextHops: NEXT_HOPS_MIN,
  neighbours: 8192,
};

/** Structured-cloneable: goes to workers as workerData. */
export interface NextHopBuffers {
  readonly shared: SharedArrayBuffer;
  readonly links: SharedArrayBuffer;
  readonly routes: SharedArrayBuffer;
  readonly neighbours: SharedArrayBuffer;
  readonly requests: SharedArrayBuffer;
}

export class NextHopTable {
  static buffers(capacity: NextHopCapacity = NEXT_HOP_CAPACITY_DEFAULT): NextHopBuffers {
    return {
      shared: new SharedArrayBuffer(SHARED.size * 4),
      links: LinkTable.buffer(),
      routes: RouteTable.buffer(capacity),
      neighbours: NeighbourTable.buffer(capacity.neighbours),
      requests: NeighbourRequests.buffer(),
    };
  }

  readonly links: LinkTable;
  readonly routes: RouteTable;
  readonly neighbours: NeighbourTable;
  readonly requests: NeighbourRequests;
  private readonly words: Int32Array;
  private readonly ring: () => void;

  /** `ring` wakes the control plane; a worker passes what signals the mirror's event. */
  constructor(buffers: NextHopBuffers, ring: () => void = () => undefined) {
    this.words = new Int32Array(buffers.shared);
    this.links = new LinkTable(buffers.links);
    this.routes = new RouteTable(buffers.routes);
    this.neighbours = new NeighbourTable(buffers.neighbours);
    this.requests = new NeighbourRequests(buffers.requests);
    this.ring = ring;
  }

  /** 0..0xffff. */
  get generation(): number {
    return this.words[GENERATION]! & GENERATION_MASK;
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

  /** Destination MAC, first four bytes as one number. */
  macHigh(slot: number): number {
    return this.neighbours.macHigh(slot);
  }

  /** Destination MAC, last two bytes. */
  macLow(slot: number): number {
    return this.neighbours.macLow(slot);
  }

  /** Where the frame leaves: slot in the link table. */
  interfaceSlot(slot: number): number {
    return this.neighbours.interfaceSlot(slot);
  }

  /** The neighbour was used at this tick (100 ms): keeps it fresh in the kernel. */
  touch(slot: number, tick: number): void {
    this.neighbours.touch(slot, tick);
  }

  /** Largest IP packet in bytes on the way to an address: the route's MTU, else the link's. */
  pathMtu(address: number): number {
    const route = this.routes.lookup(address);
    const interfaceSlot = this.routes.interfaceSlot(route);
    if (this.routes.kind(route) !== ROUTE_UNICAST || interfaceSlot < 0) {
      return 0;
    }
    const linkMtu = this.links.mtu(interfaceSlot);
    const routeMtu = this.routes.mtu(route);
    return routeMtu > 0 && routeMtu < linkMtu ? routeMtu : linkMtu;
  }

  /** Source address the host would use towards an address; 0 = none known. */
  preferredSource(address: number): number {
    const route = this.routes.lookup(address);
    const interfaceSlot = this.routes.interfaceSlot(route);
    const preferred = this.routes.preferredSource(route);
    if (preferred !== 0 || interfaceSlot < 0) {
      return preferred;
    }
    return this.links.address(interfaceSlot);
  }

  // Control plane from here on: one thread only.

  /** All hops given out so far are no longer current. */
  bump(): void {
    Atomics.store(this.words, GENERATION, (this.words[GENERATION]! + 1) | 0);
  }

  /** See RouteTable.replace. */
  replaceRoutes(tables: readonly (readonly Route[])[]): boolean {
    const fits = this.routes.replace(tables);
    if (fits) {
      this.bump();
    }
    return fits;
  }

  /** A neighbour that can be sent to. Returns its slot, 0 = no slot free (an old one is kept). */
  putResolved(
    interfaceSlot: number,
    address: number,
    macHigh: number,
    macLow: number,
    tick: number,
  ): number {
    const { neighbours } = this;
    const known = neighbours.find(interfaceSlot, address);
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
    address: number,
    state: typeof NEIGHBOUR_UNRESOLVED | typeof NEIGHBOUR_FAILED,
    tick: number,
  ): number {
    const { neighbours } = this;
    const known = neighbours.find(interfaceSlot, address);
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
