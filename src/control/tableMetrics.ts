/**
 * How full the tables are, in one pair of metrics for all of them, and what they had to refuse.
 * Counted at each scrape: the longest walks are over a line for each fragmented packet, neighbour
 * and map of local ports, some ten thousand of them.
 */
import type { Registry } from 'prom-client';
import { FRAGMENT_RECORDS } from '../table/fragment';
import { LOCAL_ADDRESSES_MAX } from '../table/localAddress';
import { LOCAL_PORTS } from '../table/localPort';
import { MARK_RULES_MAX } from '../table/mark';
import {
  NEIGHBOUR_FAILED,
  NEIGHBOUR_RESOLVED,
  NEIGHBOUR_UNRESOLVED,
  type NeighbourTable,
} from '../table/neighbour';
import { REAL_SERVERS_MAX } from '../table/realServer';
import { SERVICES_MAX } from '../table/service';
import type { Director } from './director';
import type { MetricsSource } from './metrics';
import { register, type Sample } from './metricsRegister';

type Count = (director: Director, tick: number) => number;

function realServers({ services, trash }: Director): number {
  return services.reduce((sum, { servers }) => sum + servers.length, trash.length);
}

function localAddresses({ services }: Director): number {
  return services.reduce((sum, service) => sum + service.localAddresses.length, 0);
}

/** Name, entries in use, entries that fit. */
const TABLES: readonly (readonly [string, Count, Count])[] = [
  [
    'connections',
    ({ tables: { connections } }) => connections.capacity - connections.freeCount,
    ({ tables }) => tables.connections.capacity,
  ],
  ['services', ({ serviceCount }) => serviceCount, () => SERVICES_MAX - 1],
  ['real_servers', realServers, () => REAL_SERVERS_MAX - 1],
  ['local_addresses', localAddresses, () => LOCAL_ADDRESSES_MAX],
  [
    'local_port_maps',
    ({ tables }) => tables.localPorts.mapsMade,
    ({ tables }) => tables.localPorts.mapsMax,
  ],
  ['fragments', ({ tables }, tick) => tables.fragments.liveCount(tick), () => FRAGMENT_RECORDS],
  ['mark_rules', ({ tables }) => tables.marks.count, () => MARK_RULES_MAX],
  [
    'neighbours',
    ({ tables }) => tables.nextHops.neighbours.usedCount,
    ({ tables }) => tables.nextHops.neighbours.slotsMax,
  ],
  [
    'route_nodes_ipv4',
    ({ tables }) => tables.nextHops.routes.nodeCount,
    ({ tables }) => tables.nextHops.routes.nodesMax,
  ],
  [
    'route_nodes_ipv6',
    ({ tables }) => tables.nextHops.routes6.nodeCount,
    ({ tables }) => tables.nextHops.routes6.nodesMax,
  ],
  [
    'next_hops_ipv4',
    ({ tables }) => tables.nextHops.routes.nextHopCount,
    ({ tables }) => tables.nextHops.routes.nextHopsMax,
  ],
  [
    'next_hops_ipv6',
    ({ tables }) => tables.nextHops.routes6.nextHopCount,
    ({ tables }) => tables.nextHops.routes6.nextHopsMax,
  ],
];

function neighbourStates(neighbours: NeighbourTable): readonly Sample[] {
  const counts = new Map([
    [NEIGHBOUR_RESOLVED, 0],
    [NEIGHBOUR_UNRESOLVED, 0],
    [NEIGHBOUR_FAILED, 0],
  ]);
  for (let slot = 1; slot <= neighbours.slotsMax; slot++) {
    const count = counts.get(neighbours.state(slot));
    if (count !== undefined) counts.set(neighbours.state(slot), count + 1);
  }
  return [
    [{ state: 'resolved' }, counts.get(NEIGHBOUR_RESOLVED)!],
    [{ state: 'unresolved' }, counts.get(NEIGHBOUR_UNRESOLVED)!],
    [{ state: 'failed' }, counts.get(NEIGHBOUR_FAILED)!],
  ];
}

export function registerTables(registry: Registry, { director, nowTick }: MetricsSource): void {
  register(
    registry,
    'gauge',
    'xvs_table_entries',
    'Entries in use, by table; of connections with persistence templates',
    ['table'],
    () => TABLES.map(([table, entries]): Sample => [{ table }, entries(director, nowTick())]),
  );
  register(registry, 'gauge', 'xvs_table_capacity', 'Entries that fit, by table', ['table'], () =>
    TABLES.map(([table, , capacity]): Sample => [{ table }, capacity(director, 0)]),
  );
  registerNextHops(registry, director);
  registerLocalPorts(registry, director);
  register(
    registry,
    'counter',
    'xvs_changes_total',
    'Changes of services and real servers',
    [],
    () => [[{}, director.changes]],
  );
}

function registerNextHops(registry: Registry, { tables }: Director): void {
  const { routes, routes6, neighbours } = tables.nextHops;
  const help = 'Neighbours of the kernel that are mirrored, by state';
  register(registry, 'gauge', 'xvs_neighbours', help, ['state'], () => neighbourStates(neighbours));
  register(
    registry,
    'counter',
    'xvs_neighbour_overflows_total',
    'Neighbours that found no room in their table',
    [],
    () => [[{}, neighbours.overflowCount]],
  );
  register(registry, 'gauge', 'xvs_routes', "The kernel's routes, mirrored", ['family'], () => [
    [{ family: 'ipv4' }, routes.routeCount],
    [{ family: 'ipv6' }, routes6.routeCount],
  ]);
  register(
    registry,
    'counter',
    'xvs_route_overflows_total',
    'Changes of routes that were not taken over because they did not fit',
    ['family'],
    () => [
      [{ family: 'ipv4' }, routes.overflowCount],
      [{ family: 'ipv6' }, routes6.overflowCount],
    ],
  );
}

function registerLocalPorts(registry: Registry, { tables }: Director): void {
  const { localPorts } = tables;
  const each = (): number[] =>
    Array.from({ length: localPorts.mapsMade }, (_, at) => localPorts.usedOf(at + 1));
  register(registry, 'gauge', 'xvs_local_ports', 'FULLNAT: local ports in use', [], () => [
    [{}, each().reduce((sum, used) => sum + used, 0)],
  ]);
  register(
    registry,
    'gauge',
    'xvs_local_ports_fullest_ratio',
    "FULLNAT: share of ports in use of the fullest pair of local address and real server's port",
    [],
    () => [[{}, each().reduce((most, used) => Math.max(most, used), 0) / LOCAL_PORTS]],
  );
}
