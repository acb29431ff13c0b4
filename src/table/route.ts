/**
 * Where a destination address leaves the host: the kernel's routes, mirrored, with a
 * longest-prefix match of our own, so that no connection costs a kernel call.
 *
 * A copy of the table is a direct index over the first 16 bits of the address, and below it binary
 * nodes for the other bits: at most 17 dependent reads, mostly 1 to 9.
 *
 *   entry >= 0   leaf: index of a next-hop record, 0 = no route
 *   entry <  0   ~entry is a node: two entries, for the next bit 0 and 1
 *
 * Leaves are pushed down when the table is built ("painting" prefixes over the address space), so
 * a lookup remembers nothing on its way. Painting the tables default, main, local one after the
 * other gives the kernel's order of policy rules: any match in a later table hides the earlier.
 *
 * Memory: one SharedArrayBuffer with two copies. Only the control plane writes: it fills the idle
 * copy and flips ACTIVE. A reader that is overtaken by two changes could walk a copy being
 * rewritten: it then gets a wrong leaf, never an endless walk, and NextHopTable's generation,
 * bumped after each flip, tells it to look again. Next-hop records have one numbering over both
 * copies. Host byte order; IPv4 addresses signed. IPv6 takes a second table of this shape.
 */

import { words } from '../layout/record';

export const ROUTE_NONE = 0;
export const ROUTE_UNICAST = 1;
/** The address is the host's own. */
export const ROUTE_LOCAL = 2;
/** blackhole, prohibit, unreachable, broadcast: nothing is forwarded there. */
export const ROUTE_UNREACHABLE = 3;
/** Not matched in this table, ask the one below: resolved while building, never in a record. */
export const ROUTE_THROW = 4;

/** Smallest number of trie nodes a table is made with. */
export const TRIE_NODES_MIN = 65536;
/** Smallest number of distinct next hops. */
export const NEXT_HOPS_MIN = 1024;

const TABLE = words('route table', 16, {
  active: 1, // 0 or 1: the copy that readers use
  nodesMax: 1,
  nextHopsMax: 1,
  nodes: 1, // used in the active copy
  nextHops: 1,
  routes: 1,
  overflows: 1, // changes refused because they did not fit
  reserved: 9,
});
const {
  active: ACTIVE,
  nodesMax: NODES_MAX,
  nextHopsMax: NEXT_HOPS_MAX,
  nodes: NODES,
  nextHops: NEXT_HOPS,
  routes: ROUTES,
  overflows: OVERFLOWS,
} = TABLE.at;

const NEXT_HOP = words('next hop', 16, {
  kind: 1,
  interfaceSlot: 1, // -1 = an interface xvs does not serve
  mtu: 1, // 0 = the interface's
  gateway: 4, // first word: IPv4, 0 = on link
  preferredSource: 4, // first word: IPv4, 0 = the interface's primary address
  reserved: 5,
});
const NEXT_HOP_SHIFT = 4;
const {
  kind: KIND,
  interfaceSlot: INTERFACE_SLOT,
  mtu: MTU,
  gateway: GATEWAY,
  preferredSource: PREFERRED_SOURCE,
} = NEXT_HOP.at;

const ROOT_BITS = 16;
const ROOT_ENTRIES = 1 << ROOT_BITS;

export interface Route {
  readonly destination: number;
  /** 0..32 */
  readonly prefixLength: number;
  readonly kind: number;
  readonly interfaceSlot: number;
  readonly gateway: number;
  readonly preferredSource: number;
  readonly mtu: number;
}

export interface RouteCapacity {
  readonly trieNodes: number;
  readonly nextHops: number;
}

/** The first `prefixLength` bits set. */
export function prefixMask(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (-1 << (32 - prefixLength)) | 0;
}

/**
 * An upper bound of the nodes that `routes` need: each opens one node for every bit beyond the
 * 16th that it does not share with its neighbour in sorted order.
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

export class RouteTable {
  static buffer(capacity: RouteCapacity): SharedArrayBuffer {
    const { trieNodes, nextHops } = capacity;
    if (!(trieNodes >= 1 && trieNodes <= 1 << 27) || !(nextHops >= 2 && nextHops <= 1 << 20)) {
      throw new RangeError(
        `route table of ${trieNodes} trie nodes and ${nextHops} next hops: allowed are ` +
          `1..${1 << 27} and 2..${1 << 20}`,
      );
    }
    const copyWords = (nextHops << NEXT_HOP_SHIFT) + ROOT_ENTRIES + trieNodes * 2;
    const buffer = new SharedArrayBuffer((TABLE.size + copyWords * 2) * 4);
    const table = new Int32Array(buffer);
    table[NODES_MAX] = trieNodes;
    table[NEXT_HOPS_MAX] = nextHops;
    return buffer;
  }

  private readonly words: Int32Array;
  private readonly root0: number;
  private readonly root1: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    const nextHops = this.words[NEXT_HOPS_MAX]!;
    // Both copies' next hops come first, then the two tries.
    this.root0 = TABLE.size + ((nextHops * 2) << NEXT_HOP_SHIFT);
    this.root1 = this.root0 + ROOT_ENTRIES + this.words[NODES_MAX]! * 2;
  }

  /** Index of the next-hop record for a destination, 0 = no route. */
  lookup(address: number): number {
    const table = this.words;
    const root = table[ACTIVE] === 0 ? this.root0 : this.root1;
    let entry = table[root + (address >>> ROOT_BITS)]!;
    for (let bit = 31 - ROOT_BITS; entry < 0 && bit >= 0; bit--) {
      entry = table[root + ROOT_ENTRIES + (~entry << 1) + ((address >>> bit) & 1)]!;
    }
    return Math.max(entry, 0);
  }

  /** ROUTE_* of a next-hop record. */
  kind(nextHop: number): number {
    return this.words[TABLE.size + (nextHop << NEXT_HOP_SHIFT) + KIND]!;
  }

  /** Slot in the link table; -1 = leaves by an interface xvs does not serve. */
  interfaceSlot(nextHop: number): number {
    return this.words[TABLE.size + (nextHop << NEXT_HOP_SHIFT) + INTERFACE_SLOT]!;
  }

  /** Who gets the frame; 0 = the destination itself. */
  gateway(nextHop: number): number {
    return this.words[TABLE.size + (nextHop << NEXT_HOP_SHIFT) + GATEWAY]!;
  }

  /** The route's own source address; 0 = the interface's primary one. */
  preferredSource(nextHop: number): number {
    return this.words[TABLE.size + (nextHop << NEXT_HOP_SHIFT) + PREFERRED_SOURCE]!;
  }

  /** The route's own MTU in bytes; 0 = the interface's. */
  mtu(nextHop: number): number {
    return this.words[TABLE.size + (nextHop << NEXT_HOP_SHIFT) + MTU]!;
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

  /** Changes that were refused because they did not fit. */
  get overflowCount(): number {
    return this.words[OVERFLOWS]!;
  }

  /**
   * Control plane only: the whole new content. `tables` are the kernel's tables, the one asked
   * first last (default, main, local). False: it does not fit; the old content stays and
   * `overflowCount` grows.
   */
  replace(tables: readonly (readonly Route[])[]): boolean {
    const table = this.words;
    const idle = 1 - table[ACTIVE]!;
    const painter = new Painter(
      table,
      idle === 0 ? this.root0 : this.root1,
      idle * table[NEXT_HOPS_MAX]!,
    );
    if (!painter.paintTables(tables.map(shortestFirst))) {
      table[OVERFLOWS] = table[OVERFLOWS]! + 1;
      return false;
    }
    table[NODES] = painter.nodes;
    table[NEXT_HOPS] = painter.nextHops.size;
    table[ROUTES] = tables.reduce((sum, routes) => sum + routes.length, 0);
    Atomics.store(table, ACTIVE, idle);
    return true;
  }
}

function shortestFirst(routes: readonly Route[]): readonly Route[] {
  return [...routes].sort((a, b) => a.prefixLength - b.prefixLength);
}

/** Fills one idle copy. Control plane only; lives for one `replace`. */
class Painter {
  readonly nextHops = new Map<string, number>();
  nodes = 0;
  private readonly table: Int32Array;
  private readonly root: number;
  private readonly firstNextHop: number;

  constructor(table: Int32Array, root: number, firstNextHop: number) {
    this.table = table;
    this.root = root;
    this.firstNextHop = firstNextHop;
  }

  paintTables(tables: readonly (readonly Route[])[]): boolean {
    this.table.fill(0, this.root, this.root + ROOT_ENTRIES);
    for (let index = 0; index < tables.length; index++) {
      if (!this.paintWithin(tables, index, 0, 0)) {
        return false;
      }
    }
    return true;
  }

  /** Paints one table, as far as it concerns addresses within the given prefix. */
  private paintWithin(
    tables: readonly (readonly Route[])[],
    index: number,
    within: number,
    withinLength: number,
  ): boolean {
    for (const route of tables[index]!) {
      const common = Math.min(route.prefixLength, withinLength);
      if (((route.destination ^ within) & prefixMask(common)) !== 0) {
        continue;
      }
      const inside = route.prefixLength >= withinLength;
      const destination = inside ? route.destination : within;
      const length = inside ? route.prefixLength : withinLength;
      const painted =
        route.kind === ROUTE_THROW
          ? this.paintBelow(tables, index, destination, length)
          : this.paint(destination, length, this.nextHop(route));
      if (!painted) {
        return false;
      }
    }
    return true;
  }

  /** A throw route: what the tables below say shines through again. */
  private paintBelow(
    tables: readonly (readonly Route[])[],
    index: number,
    destination: number,
    length: number,
  ): boolean {
    let painted = this.paint(destination, length, 0);
    for (let below = 0; painted && below < index; below++) {
      painted = this.paintWithin(tables, below, destination, length);
    }
    return painted;
  }

  /** Record index of a route's next hop, -1 when there is no room for another. */
  private nextHop(route: Route): number {
    const { kind } = route;
    const unicast = kind === ROUTE_UNICAST;
    const slot = unicast ? route.interfaceSlot : -1;
    const gateway = unicast ? route.gateway : 0;
    const source = unicast ? route.preferredSource : 0;
    const mtu = unicast ? route.mtu : 0;
    const key = `${kind} ${slot} ${gateway} ${source} ${mtu}`;
    const known = this.nextHops.get(key);
    if (known !== undefined) {
      return known;
    }
    // Record 0 of either copy stays "no route".
    const position = this.nextHops.size + 1;
    if (position >= this.table[NEXT_HOPS_MAX]!) {
      return -1;
    }
    const record = this.firstNextHop + position;
    const at = TABLE.size + (record << NEXT_HOP_SHIFT);
    this.table[at + KIND] = kind;
    this.table[at + INTERFACE_SLOT] = slot;
    this.table[at + GATEWAY] = gateway;
    this.table[at + PREFERRED_SOURCE] = source;
    this.table[at + MTU] = mtu;
    this.nextHops.set(key, record);
    return record;
  }

  private paint(destination: number, length: number, leaf: number): boolean {
    if (leaf < 0) {
      return false;
    }
    const { table, root } = this;
    let at = root + ((destination & prefixMask(Math.min(length, ROOT_BITS))) >>> ROOT_BITS);
    if (length <= ROOT_BITS) {
      table.fill(leaf, at, at + (1 << (ROOT_BITS - length)));
      return true;
    }
    for (let bit = 31 - ROOT_BITS; bit >= 32 - length; bit--) {
      const entry = table[at]!;
      const node = entry < 0 ? ~entry : this.split(at, entry);
      if (node < 0) {
        return false;
      }
      at = root + ROOT_ENTRIES + (node << 1) + ((destination >>> bit) & 1);
    }
    table[at] = leaf;
    return true;
  }

  /** Puts a node in the place of a leaf; both its halves are that leaf. -1 = no room. */
  private split(at: number, leaf: number): number {
    if (this.nodes >= this.table[NODES_MAX]!) {
      return -1;
    }
    const node = this.nodes++;
    const child = this.root + ROOT_ENTRIES + (node << 1);
    this.table[child] = leaf;
    this.table[child + 1] = leaf;
    this.table[at] = ~node;
    return node;
  }
}
