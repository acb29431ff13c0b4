/** All that the checks want to know of the host. */
import { release } from 'node:os';
import { addon } from '../../../port/addon';
import { mirrorRoutes, mirrorRoutes6, ruleWarnings } from '../../kernelRoutes';
import { AF_INET6, AF_UNSPEC, addressText, hostAddress } from '../../netlink';
import { NetlinkSocket, ofKind } from '../../netlinkSocket';
import type { AddressFact, HostFacts, LinkFact, RouteFact, Setup } from '../facts';
import { servedFor, serversOf } from '../names';
import { virtualAddresses } from '../virtualAddresses';
import { readDevices } from './device';
import { readLinks, readRoutes } from './iproute';
import { readKernelMarks } from './kernelMarks';
import { type Probe, probeClaims, probeNextHops } from './neighbours';
import {
  readCpuNodes,
  readLimits,
  readReversePathDrops,
  readSocketPeers,
  readSysctls,
  textOf,
} from './procfs';

const CLOCK_SOURCE = '/sys/devices/system/clocksource/clocksource0/current_clocksource';

/** `pid`: of the daemon, or "self". `tap`: its device, '' without one. */
export async function readHost(
  setup: Setup,
  pid: number | 'self',
  tap: string,
): Promise<HostFacts> {
  const links = readLinks();
  const names = setup.interfaces.map(({ name }) => name);
  const servers = [...new Set(serversOf({ setup }).map(({ server }) => server.address))];
  const routes = readRoutes(servers);
  const socket = new NetlinkSocket(addon);
  try {
    const addresses = await readAddresses(socket, links);
    const [neighbours, claims, unmirrored] = await Promise.all([
      probeNextHops(socket, nextHops(setup, routes), links),
      probeClaims(claimable(setup, links, addresses), links),
      readUnmirrored(links, names),
    ]);
    const features = addon.probe();
    return {
      kernel: {
        release: release(),
        afXdp: features.afXdp,
        txMetadata: features.txMetadata,
        preferBusyPoll: features.preferBusyPoll,
        clockSource: textOf(CLOCK_SOURCE),
        ...readLimits(pid),
      },
      sysctls: readSysctls([...names, ...(tap === '' ? [] : [tap])]),
      links,
      addresses,
      devices: readDevices(names, links),
      routes,
      neighbours,
      claims,
      unmirrored,
      socketPeers: readSocketPeers(),
      reversePathDrops: readReversePathDrops(),
      kernelMarks: setup.services.some(({ key }) => key.fwmark !== 0) ? readKernelMarks() : [],
      cpuNodes: readCpuNodes(),
    };
  } finally {
    socket.close();
  }
}

async function readAddresses(
  socket: NetlinkSocket,
  links: readonly LinkFact[],
): Promise<AddressFact[]> {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  return ofKind(await socket.dump('addresses', AF_UNSPEC), 'address').flatMap((message) => {
    const address = hostAddress(message.address);
    if (address === null) return [];
    return [
      {
        address: addressText(address),
        family: message.family === AF_INET6 ? (6 as const) : (4 as const),
        prefixLength: message.prefixLength,
        interface: names.get(message.index) ?? '',
      },
    ];
  });
}

/** Policy rules, multipath routes and the like. */
async function readUnmirrored(
  links: readonly LinkFact[],
  names: readonly string[],
): Promise<string[]> {
  const socket = new NetlinkSocket(addon);
  const indexes = new Map(links.map(({ index, name }) => [index, names.indexOf(name)]));
  const surroundings = { slotOf: (index: number) => indexes.get(index) ?? -1 };
  try {
    const routes = ofKind(await socket.dump('routes', AF_UNSPEC), 'route');
    return [
      ...ruleWarnings(ofKind(await socket.dump('rules', AF_UNSPEC), 'rule')),
      ...mirrorRoutes(routes, surroundings).warnings,
      ...mirrorRoutes6(routes, surroundings).warnings,
    ];
  } finally {
    socket.close();
  }
}

/** To servers that get new connections. */
function nextHops(setup: Setup, routes: ReadonlyMap<string, RouteFact>): Probe[] {
  const used = new Set(
    serversOf({ setup })
      .filter(({ server }) => server.weight > 0)
      .map(({ server }) => server.address),
  );
  return [...routes]
    .filter(([address, { kind }]) => kind === 'unicast' && used.has(address))
    .map(([address, { gateway, interface: on }]) => ({
      address: gateway === '' ? address : gateway,
      interface: on,
    }));
}

/** IPv4 virtual addresses of the host's, by each served interface that has an address. */
function claimable(
  setup: Setup,
  links: readonly LinkFact[],
  addresses: readonly AddressFact[],
): Probe[] {
  const facts = { setup, host: { links } };
  const on = setup.interfaces
    .map(({ name }) => links.find((link) => link.name === name))
    .filter((link) => link?.up === true)
    .map((link) => (link!.master === '' ? link!.name : link!.master))
    .filter((name) => addresses.some((one) => one.interface === name && one.family === 4))
    .filter((name) => servedFor(facts, name) !== null);
  return virtualAddresses(setup)
    .filter(({ address }) => !address.includes(':'))
    .flatMap(({ address }) => [...new Set(on)].map((name) => ({ address, interface: name })));
}
