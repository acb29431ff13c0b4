/**
 * Fills the idle copy of a route table (see route.ts): prefixes are painted over the address
 * space, the shorter before the longer, the tables default, main, local one after the other, which
 * is the kernel's order of policy rules: any match in a later table hides the earlier.
 *
 * Control plane only; a painter lives for one `replace`.
 */

import { type Address6, NO_ADDRESS6, samePrefix6 } from './address6';
import {
  NEXT_HOP,
  NEXT_HOP_SHIFT,
  prefixMask,
  ROOT_BITS,
  ROOT_ENTRIES,
  ROUTE_THROW,
  ROUTE_UNICAST,
  type RouteOf,
  TABLE,
} from './routeRecord';

const { nodesMax: NODES_MAX, nextHopsMax: NEXT_HOPS_MAX } = TABLE.at;
const {
  kind: KIND,
  interfaceSlot: INTERFACE_SLOT,
  mtu: MTU,
  gateway: GATEWAY,
  preferredSource: PREFERRED_SOURCE,
} = NEXT_HOP.at;

/** What does not depend on how long an address is. */
abstract class RoutePainter<Address> {
  nodes = 0;
  /** 0 = no route has an MTU of its own. */
  smallestMtu = 0;
  protected readonly table: Int32Array;
  protected readonly root: number;
  private readonly nodeShift: number;
  private readonly firstNextHop: number;
  private readonly known = new Map<string, number>();
  private tables: readonly (readonly RouteOf<Address>[])[] = [];

  /** `root`: word of the idle copy's trie; `firstNextHop`: number of its first record. */
  constructor(table: Int32Array, root: number, firstNextHop: number, nodeShift: number) {
    this.table = table;
    this.root = root;
    this.firstNextHop = firstNextHop;
    this.nodeShift = nodeShift;
  }

  get nextHops(): number {
    return this.known.size;
  }

  /** False: it does not fit. */
  paintTables(tables: readonly (readonly RouteOf<Address>[])[]): boolean {
    this.tables = tables.map((routes) =>
      [...routes].sort((a, b) => a.prefixLength - b.prefixLength),
    );
    this.table.fill(0, this.root, this.root + ROOT_ENTRIES);
    for (let index = 0; index < tables.length; index++) {
      if (!this.paintWithin(index, this.nowhere, 0)) {
        return false;
      }
    }
    return true;
  }

  /** The address of zeros. */
  protected abstract readonly nowhere: Address;
  protected abstract samePrefix(a: Address, b: Address, prefixLength: number): boolean;
  /** Entry of the root for an address. */
  protected abstract rootEntry(address: Address): number;
  /** `count` bits of an address, the first of them `from` bits behind its start. */
  protected abstract bits(address: Address, from: number, count: number): number;
  protected abstract writeAddress(at: number, address: Address): void;

  /** Paints one table, as far as it concerns addresses within the given prefix. */
  private paintWithin(index: number, within: Address, withinLength: number): boolean {
    for (const route of this.tables[index]!) {
      const common = Math.min(route.prefixLength, withinLength);
      if (!this.samePrefix(route.destination, within, common)) {
        continue;
      }
      const inside = route.prefixLength >= withinLength;
      const destination = inside ? route.destination : within;
      const length = inside ? route.prefixLength : withinLength;
      const painted =
        route.kind === ROUTE_THROW
          ? this.paintBelow(index, destination, length)
          : this.paint(destination, length, this.nextHop(route));
      if (!painted) {
        return false;
      }
    }
    return true;
  }

  /** A throw route: what the tables below say shines through again. */
  private paintBelow(index: number, destination: Address, length: number): boolean {
    let painted = this.paint(destination, length, 0);
    for (let below = 0; painted && below < index; below++) {
      painted = this.paintWithin(below, destination, length);
    }
    return painted;
  }

  /** Record index of a route's next hop, -1 when there is no room for another. */
  private nextHop(route: RouteOf<Address>): number {
    const { kind } = route;
    const unicast = kind === ROUTE_UNICAST;
    const slot = unicast ? route.interfaceSlot : -1;
    const gateway = unicast ? route.gateway : this.nowhere;
    const source = unicast ? route.preferredSource : this.nowhere;
    const mtu = unicast ? route.mtu : 0;
    const key = `${kind} ${slot} ${gateway} ${source} ${mtu}`;
    const known = this.known.get(key);
    if (known !== undefined) {
      return known;
    }
    // Record 0 of either copy stays "no route".
    const position = this.known.size + 1;
    if (position >= this.table[NEXT_HOPS_MAX]!) {
      return -1;
    }
    const record = this.firstNextHop + position;
    const at = TABLE.size + (record << NEXT_HOP_SHIFT);
    this.table[at + KIND] = kind;
    this.table[at + INTERFACE_SLOT] = slot;
    this.table[at + MTU] = mtu;
    this.writeAddress(at + GATEWAY, gateway);
    this.writeAddress(at + PREFERRED_SOURCE, source);
    this.known.set(key, record);
    if (mtu > 0 && (this.smallestMtu === 0 || mtu < this.smallestMtu)) {
      this.smallestMtu = mtu;
    }
    return record;
  }

  private paint(destination: Address, length: number, leaf: number): boolean {
    if (leaf < 0) {
      return false;
    }
    const { table, root, nodeShift } = this;
    const first = this.rootEntry(destination);
    if (length <= ROOT_BITS) {
      this.fill(root, first, ROOT_BITS - length, leaf);
      return true;
    }
    let at = root + first;
    for (let from = ROOT_BITS; ; from += nodeShift) {
      const entry = table[at]!;
      const node = entry < 0 ? ~entry : this.split(at, entry);
      if (node < 0) {
        return false;
      }
      const entries = root + ROOT_ENTRIES + (node << nodeShift);
      const position = this.bits(destination, from, nodeShift);
      const rest = from + nodeShift - length;
      if (rest >= 0) {
        this.fill(entries, position, rest, leaf);
        return true;
      }
      at = entries + position;
    }
  }

  /** All entries that share all but the last `bits` bits of `position`. */
  private fill(entries: number, position: number, bits: number, leaf: number): void {
    const start = entries + (position & (-1 << bits));
    this.table.fill(leaf, start, start + (1 << bits));
  }

  /** Puts a node in the place of a leaf; all its entries are that leaf. -1 = no room. */
  private split(at: number, leaf: number): number {
    if (this.nodes >= this.table[NODES_MAX]!) {
      return -1;
    }
    const node = this.nodes++;
    const child = this.root + ROOT_ENTRIES + (node << this.nodeShift);
    this.table.fill(leaf, child, child + (1 << this.nodeShift));
    this.table[at] = ~node;
    return node;
  }
}

export class RoutePainter4 extends RoutePainter<number> {
  protected readonly nowhere = 0;

  protected samePrefix(a: number, b: number, prefixLength: number): boolean {
    return ((a ^ b) & prefixMask(prefixLength)) === 0;
  }

  protected rootEntry(address: number): number {
    return address >>> ROOT_BITS;
  }

  protected bits(address: number, from: number, count: number): number {
    return (address >>> (32 - from - count)) & ((1 << count) - 1);
  }

  protected writeAddress(at: number, address: number): void {
    this.table[at] = address;
  }
}

export class RoutePainter6 extends RoutePainter<Address6> {
  protected readonly nowhere = NO_ADDRESS6;

  protected samePrefix(a: Address6, b: Address6, prefixLength: number): boolean {
    return samePrefix6(a, b, prefixLength);
  }

  protected rootEntry(address: Address6): number {
    return address[0] >>> ROOT_BITS;
  }

  /** The bits lie in one word: nodes of 1, 2, 4 or 8 bits begin at a multiple of as many. */
  protected bits(address: Address6, from: number, count: number): number {
    const word = address[from >> 5]!;
    return (word >>> (32 - (from & 31) - count)) & ((1 << count) - 1);
  }

  protected writeAddress(at: number, address: Address6): void {
    this.table.set(address, at);
  }
}
