/**
 * Where a destination address leaves the host: the kernel's routes, mirrored, with a
 * longest-prefix match of our own, so that no connection costs a kernel call. One table for each
 * address family.
 *
 * A copy of the table is a direct index over the first 16 bits of the address, and below it nodes:
 * for IPv4 of one bit, at most 17 dependent reads and mostly 1 to 9; for IPv6 of four bits, each
 * one cache line, at most 29 reads, 9 for a /48 and 13 for a /64.
 *
 *   entry >= 0   leaf: index of a next-hop record, 0 = no route
 *   entry <  0   ~entry is a node: an entry for each value of the next bit or bits
 *
 * Leaves are pushed down when the table is built (routePainter.ts), so a lookup remembers nothing
 * on its way.
 *
 * Memory: one SharedArrayBuffer with two copies, of which only the pages in use are ever touched.
 * Only the control plane writes: it fills the idle copy and flips ACTIVE. A reader that is
 * overtaken by two changes could walk a copy being rewritten: it then gets a wrong leaf, never an
 * endless walk, and NextHopTable's generation, bumped after each flip, tells it to look again.
 * Next-hop records have one numbering over both copies. Host byte order; IPv4 addresses signed,
 * IPv6 addresses as four signed words.
 */

import { commonBits6, compare6 } from './address6';
import { RoutePainter4, RoutePainter6 } from './routePainter';
import {
  NEXT_HOP,
  NEXT_HOP_SHIFT,
  ROOT_BITS,
  ROOT_ENTRIES,
  type Route,
  type Route6,
  TABLE,
} from './routeRecord';

export {
  prefixMask,
  ROUTE_LOCAL,
  ROUTE_NONE,
  ROUTE_THROW,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
  type Route6,
} from './routeRecord';

/** Smallest number of trie nodes a table is made with: of two words each, and of sixteen. */
export const TRIE_NODES_MIN = 65536;
export const TRIE_NODES6_MIN = 16384;
/** Smallest number of distinct next hops. */
export const NEXT_HOPS_MIN = 1024;
/** Words of all nodes of a copy. */
const TRIE_WORDS_MAX = 1 << 28;

const {
  active: ACTIVE,
  nodesMax: NODES_MAX,
  nextHopsMax: NEXT_HOPS_MAX,
  nodeShift: NODE_SHIFT,
  nodes: NODES,
  nextHops: NEXT_HOPS,
  routes: ROUTES,
  overflows: OVERFLOWS,
  smallestMtu: SMALLEST_MTU,
} = TABLE.at;
const {
  kind: KIND,
  interfaceSlot: INTERFACE_SLOT,
  mtu: MTU,
  gateway: GATEWAY,
  preferredSource: PREFERRED_SOURCE,
} = NEXT_HOP.at;

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const RECORDS = TABLE.size;
const RECORD_SHIFT = NEXT_HOP_SHIFT;
const ROOT_SHIFT = ROOT_BITS;
const ROOT_SIZE = ROOT_ENTRIES;
const NODE_SHIFT4 = 1;
const NODE_SHIFT6 = 4;
const NIBBLE = 15;
const NIBBLES6 = 32;

export interface RouteCapacity {
  readonly trieNodes: number;
  readonly nextHops: number;
}

/**
 * An upper bound of the nodes that IPv4 `routes` need: each opens one node for every bit beyond
 * the 16th that it does not share with its neighbour in sorted order.
 */
export function trieNodesNeeded(routes: readonly Route[]): number {
  const long = routes.filter((route) => route.prefixLength > ROOT_BITS);
  long.sort((a, b) => (a.destination >>> 0) - (b.destination >>> 0));
  let nodes = 0;
  let previous = 0;
  let previousLength = 0;
  for (const { destination, prefixLength } of long) {
    const common = Math.min(Math.clz32(destination ^ previous), previousLength, prefixLength);
    nodes += prefixLength - Math.max(common, ROOT_BITS);
    nodes += common > ROOT_BITS ? 1 : 0;
    previous = destination;
    previousLength = prefixLength;
  }
  return nodes;
}

/** Nodes on the way to an IPv6 prefix: they begin at its bits 16, 20, 24, ... */
function nodesOnWay(prefixLength: number): number {
  return Math.max(0, Math.ceil((prefixLength - ROOT_BITS) / NODE_SHIFT6));
}

/** As trieNodesNeeded, for IPv6. */
export function trieNodesNeeded6(routes: readonly Route6[]): number {
  const long = routes.filter((route) => route.prefixLength > ROOT_BITS);
  long.sort((a, b) => compare6(a.destination, b.destination) || a.prefixLength - b.prefixLength);
  let nodes = 0;
  let previous: Route6 | null = null;
  for (const route of long) {
    nodes += nodesOnWay(route.prefixLength);
    if (previous !== null) {
      // They share the nodes that begin at or before the first bit in which they differ.
      const same = commonBits6(route.destination, previous.destination);
      const shared = same < ROOT_BITS ? 0 : ((same - ROOT_BITS) >> 2) + 1;
      const both = Math.min(route.prefixLength, previous.prefixLength);
      nodes -= Math.min(shared, nodesOnWay(both));
    }
    previous = route;
  }
  return nodes;
}

function tableBuffer(capacity: RouteCapacity, nodeShift: number): SharedArrayBuffer {
  const { trieNodes, nextHops } = capacity;
  const nodesMax = TRIE_WORDS_MAX >> nodeShift;
  if (!(trieNodes >= 1 && trieNodes <= nodesMax) || !(nextHops >= 2 && nextHops <= 1 << 20)) {
    throw new RangeError(
      `route table of ${trieNodes} trie nodes and ${nextHops} next hops: allowed are ` +
        `1..${nodesMax} and 2..${1 << 20}`,
    );
  }
  const copyWords = (nextHops << RECORD_SHIFT) + ROOT_ENTRIES + (trieNodes << nodeShift);
  const buffer = new SharedArrayBuffer((TABLE.size + copyWords * 2) * 4);
  const table = new Int32Array(buffer);
  table[NODES_MAX] = trieNodes;
  table[NEXT_HOPS_MAX] = nextHops;
  table[NODE_SHIFT] = nodeShift;
  return buffer;
}

export class RouteTable {
  /** For IPv4. */
  static buffer(capacity: RouteCapacity): SharedArrayBuffer {
    return tableBuffer(capacity, NODE_SHIFT4);
  }

  static buffer6(capacity: RouteCapacity): SharedArrayBuffer {
    return tableBuffer(capacity, NODE_SHIFT6);
  }

  private readonly words: Int32Array;
  private readonly root0: number;
  private readonly root1: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    const nextHops = this.words[NEXT_HOPS_MAX]!;
    const nodeWords = this.words[NODES_MAX]! << this.words[NODE_SHIFT]!;
    // Both copies' next hops come first, then the two tries.
    this.root0 = RECORDS + ((nextHops * 2) << RECORD_SHIFT);
    this.root1 = this.root0 + ROOT_SIZE + nodeWords;
  }

  /** Index of the next-hop record for an IPv4 destination, 0 = no route. */
  lookup(address: number): number {
    const table = this.words;
    const root = table[ACTIVE] === 0 ? this.root0 : this.root1;
    let entry = table[root + (address >>> ROOT_SHIFT)]!;
    for (let bit = 31 - ROOT_SHIFT; entry < 0 && bit >= 0; bit--) {
      entry = table[root + ROOT_SIZE + (~entry << NODE_SHIFT4) + ((address >>> bit) & 1)]!;
    }
    return Math.max(entry, 0);
  }

  /** As lookup, in the table for IPv6. */
  lookup6(word0: number, word1: number, word2: number, word3: number): number {
    const table = this.words;
    const root = table[ACTIVE] === 0 ? this.root0 : this.root1;
    const nodes = root + ROOT_SIZE;
    let entry = table[root + (word0 >>> ROOT_SHIFT)]!;
    for (let nibble = ROOT_SHIFT >> 2; entry < 0 && nibble < NIBBLES6; nibble++) {
      const high = nibble < 8 ? word0 : word1;
      const word = nibble < 16 ? high : nibble < 24 ? word2 : word3;
      const value = (word >>> (28 - ((nibble & 7) << 2))) & NIBBLE;
      entry = table[nodes + (~entry << NODE_SHIFT6) + value]!;
    }
    return Math.max(entry, 0);
  }

  /** ROUTE_* of a next-hop record. */
  kind(nextHop: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + KIND]!;
  }

  /** Slot in the link table; -1 = leaves by an interface xvs does not serve. */
  interfaceSlot(nextHop: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + INTERFACE_SLOT]!;
  }

  /** Who gets the frame; 0 = the destination itself. Of IPv6 the first word. */
  gateway(nextHop: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + GATEWAY]!;
  }

  /** One of the four words (0..3) of an IPv6 gateway; all 0 = the destination itself. */
  gatewayWord(nextHop: number, word: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + GATEWAY + word]!;
  }

  /** The route's own source address; 0 = the interface's primary one. */
  preferredSource(nextHop: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + PREFERRED_SOURCE]!;
  }

  /** One of the four words (0..3) of an IPv6 route's own source; all 0 = the interface's. */
  preferredSourceWord(nextHop: number, word: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + PREFERRED_SOURCE + word]!;
  }

  /** The route's own MTU in bytes; 0 = the interface's. */
  mtu(nextHop: number): number {
    return this.words[RECORDS + (nextHop << RECORD_SHIFT) + MTU]!;
  }

  /** Smallest MTU that a route has of its own; 0 = none has one. */
  get smallestMtu(): number {
    return this.words[SMALLEST_MTU]!;
  }

  get routeCount(): number {
    return this.words[ROUTES]!;
  }

  get nodeCount(): number {
    return this.words[NODES]!;
  }

  get nextHopCount(): number {
    return this.words[NEXT_HOPS]!;
  }

  /** How many nodes of the trie, and how many next hops, fit a copy. */
  get nodesMax(): number {
    return this.words[NODES_MAX]!;
  }

  get nextHopsMax(): number {
    return this.words[NEXT_HOPS_MAX]!;
  }

  /** Changes that were refused because they did not fit. */
  get overflowCount(): number {
    return this.words[OVERFLOWS]!;
  }

  /**
   * Control plane only: the whole new content of a table for IPv4. `tables` are the kernel's
   * tables, the one asked first last (default, main, local). False: it does not fit; the old
   * content stays and `overflowCount` grows.
   */
  replace(tables: readonly (readonly Route[])[]): boolean {
    const painter = new RoutePainter4(this.words, ...this.idlePlace());
    return this.commit(painter, painter.paintTables(tables), tables);
  }

  /** As replace, for IPv6. */
  replace6(tables: readonly (readonly Route6[])[]): boolean {
    const painter = new RoutePainter6(this.words, ...this.idlePlace());
    return this.commit(painter, painter.paintTables(tables), tables);
  }

  /** Root, first next-hop record and node size of the copy that readers do not use. */
  private idlePlace(): [root: number, firstNextHop: number, nodeShift: number] {
    const table = this.words;
    const idle = 1 - table[ACTIVE]!;
    const root = idle === 0 ? this.root0 : this.root1;
    return [root, idle * table[NEXT_HOPS_MAX]!, table[NODE_SHIFT]!];
  }

  private commit(
    painter: RoutePainter4 | RoutePainter6,
    fits: boolean,
    tables: readonly (readonly unknown[])[],
  ): boolean {
    const table = this.words;
    if (!fits) {
      table[OVERFLOWS] = table[OVERFLOWS]! + 1;
      return false;
    }
    table[NODES] = painter.nodes;
    table[NEXT_HOPS] = painter.nextHops;
    table[ROUTES] = tables.reduce((sum, routes) => sum + routes.length, 0);
    table[SMALLEST_MTU] = painter.smallestMtu;
    Atomics.store(table, ACTIVE, 1 - table[ACTIVE]!);
    return true;
  }
}
