/**
 * How large the shared next-hop tables have to be: asked of the kernel once, before they are made.
 */

import { NEIGHBOURS_MAX } from '../table/neighbour';
import { NEXT_HOP_CAPACITY_DEFAULT, type NextHopCapacity } from '../table/nextHop';
import { trieNodesNeeded } from '../table/route';
import { mirrorRoutes } from './kernelRoutes';
import { AF_INET } from './netlink';
import { type NetlinkAddon, NetlinkSocket, ofKind } from './netlinkSocket';

/** Capacity for what the kernel has now, with head-room: routes four times, neighbours eight. */
export async function measureCapacity(addon: NetlinkAddon): Promise<NextHopCapacity> {
  const socket = new NetlinkSocket(addon);
  try {
    const routes = ofKind(await socket.dump('routes', AF_INET), 'route');
    const neighbours = ofKind(await socket.dump('neighbours', AF_INET), 'neighbour');
    const { tables } = mirrorRoutes(routes, () => 0);
    const nodes = tables.reduce((sum, table) => sum + trieNodesNeeded(table), 0);
    const hops = new Set(
      routes.map((r) => [r.index, r.gateway, r.preferredSource, r.mtu].join(' ')),
    );
    const least = NEXT_HOP_CAPACITY_DEFAULT;
    return {
      trieNodes: Math.max(least.trieNodes, nodes * 4),
      nextHops: Math.max(least.nextHops, hops.size * 4),
      neighbours: Math.min(NEIGHBOURS_MAX, Math.max(least.neighbours, neighbours.length * 8)),
    };
  } finally {
    socket.close();
  }
}
