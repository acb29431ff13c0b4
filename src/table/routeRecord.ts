/**
 * What a route is and how the route table's shared memory is laid out: route.ts reads it for the
 * workers, routePainter.ts fills it for the control plane. Host byte order.
 */

import { words } from '../layout/record';
import type { Address6 } from './address6';

export const ROUTE_NONE = 0;
export const ROUTE_UNICAST = 1;
/** The address is the host's own. */
export const ROUTE_LOCAL = 2;
/** blackhole, prohibit, unreachable, broadcast, multicast: nothing is forwarded there. */
export const ROUTE_UNREACHABLE = 3;
/** Not matched in this table, ask the one below: resolved while building, never in a record. */
export const ROUTE_THROW = 4;

export const TABLE = words('route table', 16, {
  active: 1, // 0 or 1: the copy that readers use
  nodesMax: 1,
  nextHopsMax: 1,
  nodeShift: 1, // a node has 1 << nodeShift entries, for as many bits of the address
  nodes: 1, // used in the active copy
  nextHops: 1,
  routes: 1,
  overflows: 1, // changes refused because they did not fit
  smallestMtu: 1, // of the active copy's routes that have one of their own, 0 = none has
  reserved: 7,
});

export const NEXT_HOP = words('next hop', 16, {
  kind: 1,
  interfaceSlot: 1, // -1 = an interface xvs does not serve
  mtu: 1, // 0 = the interface's
  gateway: 4, // IPv4 in the first word; all 0 = on link
  preferredSource: 4, // IPv4 in the first word; all 0 = the interface's primary address
  reserved: 5,
});
export const NEXT_HOP_SHIFT = 4;

/** The first bits of an address index the root directly. */
export const ROOT_BITS = 16;
export const ROOT_ENTRIES = 1 << ROOT_BITS;

/** The destination's bits behind its prefix do not matter. */
export interface RouteOf<Address> {
  readonly destination: Address;
  /** 0..32 or 0..128 */
  readonly prefixLength: number;
  readonly kind: number;
  readonly interfaceSlot: number;
  /** 0 = on link. */
  readonly gateway: Address;
  /** 0 = the interface's primary address. */
  readonly preferredSource: Address;
  /** 0 = the interface's. */
  readonly mtu: number;
}
export type Route = RouteOf<number>;
export type Route6 = RouteOf<Address6>;

/** The first `prefixLength` bits of an IPv4 address set. */
export function prefixMask(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (-1 << (32 - prefixLength)) | 0;
}
