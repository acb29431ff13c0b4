/**
 * How large the shared next-hop tables have to be: asked of the kernel once, before they are made.
 */

import { NEIGHBOURS_MAX } from '../table/neighbour';
import { NEXT_HOP_CAPACITY_DEFAULT, type NextHopCapacity } from '../table/nextHop';
import { NEXT_HOPS_MIN, TRIE_NODES6_MIN, trieNodesNeeded, trieNodesNeeded6 } from '../table/route';
import { mirrorRoutes, mirrorRoutes6 } from './kernelRoutes';
import { AF_INET, AF_INET6, AF_UNSPEC, type RouteMessage } from './netlink';
import { type NetlinkAddon, NetlinkSocket, ofKind } from './netlinkSocket';

/** How many different next hops routes have. */
function countHops(routes: readonly RouteMessage[]): number {
  const hops = routes.map((r) => [r.index, r.gateway, r.preferredSource, r.mtu].join(' '));
  return new Set(hops).size;
}

/** Capacity for what the kernel has now, with head-room: routes four times, neighbours eight. */
export async function measureCapacity(addon: NetlinkAddon): Promise<NextHopCapacity> {
  const socket = new NetlinkSocket(addon);
  try {
    const routes = ofKind(await socket.dump('routes', AF_INET), 'route');
    const routes6 = ofKind(await socket.dump('routes', AF_INET6), 'route');
    const neighbours = ofKind(await socket.dump('neighbours', AF_UNSPEC), 'neighbour');
    const surroundings = { slotOf: () => 0 };
    const { tables } = mirrorRoutes(routes, surroundings);
    const nodes = tables.reduce((sum, table) => sum + trieNodesNeeded(table), 0);
    const tables6 = mirrorRoutes6(routes6, surroundings).tables;
    const nodes6 = tables6.reduce((sum, table) => sum + trieNodesNeeded6(table), 0);
    const least = NEXT_HOP_CAPACITY_DEFAULT;
    return {
      trieNodes: Math.max(least.trieNodes, nodes * 4),
      nextHops: Math.max(NEXT_HOPS_MIN, countHops(routes) * 4),
      routes6: {
        trieNodes: Math.max(TRIE_NODES6_MIN, nodes6 * 4),
        nextHops: Math.max(NEXT_HOPS_MIN, countHops(routes6) * 4),
      },
      neighbours: Math.min(NEIGHBOURS_MAX, Math.max(least.neighbours, neighbours.length * 8)),
    };
  } finally {
    socket.close();
  }
}
