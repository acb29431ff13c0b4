/**
 * Addresses that clients send to: whether they are the director's, whether it answers ARP for them,
 * and whether somebody else does. Also the local addresses of FULLNAT.
 */
import { isIPv4 } from 'node:net';
import { formatIpv4 } from '../../net/address';
import { parseRules } from '../mark/parse';
import { systemPorts } from '../mark/portNames';
import type { Facts, ServiceSetup } from './facts';
import { error, type Finding, ok, warning } from './finding';
import { hostPrefix, linkNamed, listed, onLinkInterface, servedFor, serviceId } from './names';

const WHOLE_MASK = -1;

export interface VirtualAddress {
  readonly address: string;
  /** Names of its services. */
  readonly services: readonly string[];
  /** Whether real servers have it themselves (direct routing, tunnels). */
  readonly isShared: boolean;
}

/** Single IPv4 destinations that mark rules name, by the mark that they set. */
function markedAddresses(setup: Facts['setup'], service: ServiceSetup): string[] {
  const { fwmark, family } = service.key;
  if (family !== 4) return [];
  return setup.marks
    .filter((one) => one.family === family)
    .flatMap(({ rule }) => parseRules(rule, family, systemPorts))
    .filter(({ value }) => value === fwmark)
    .flatMap(({ destination }) =>
      destination !== null && !destination.inverted && destination.mask[0] === WHOLE_MASK
        ? [formatIpv4(destination.address[0]! | 0)]
        : [],
    );
}

/** Every address that a service has, or that mark rules name for one. */
export function virtualAddresses(setup: Facts['setup']): VirtualAddress[] {
  const found = new Map<string, { services: string[]; isShared: boolean }>();
  for (const service of setup.services) {
    const { key, servers } = service;
    const isShared = servers.some(({ method }) => method === 'dr' || method === 'tunnel');
    const addresses = key.fwmark === 0 ? [key.address] : markedAddresses(setup, service);
    for (const address of new Set(addresses)) {
      const known = found.get(address) ?? { services: [], isShared: false };
      known.services.push(serviceId(key));
      found.set(address, { services: known.services, isShared: known.isShared || isShared });
    }
  }
  return [...found].map(([address, rest]) => ({ address, ...rest }));
}

export function checkVirtualAddresses(facts: Facts): Finding[] {
  const places = new Map<string, string[]>();
  for (const { address, interface: on } of facts.host.addresses) {
    places.set(address, [...(places.get(address) ?? []), on]);
  }
  return [
    ...virtualAddresses(facts.setup).flatMap((vip) => [
      ...checkPresent(facts, vip, places.get(vip.address) ?? []),
      ...checkClaims(facts, vip),
    ]),
    ...checkLocalAddresses(facts),
  ];
}

/** `names`: of the interfaces that have it. */
function checkPresent(
  facts: Facts,
  { address, services }: VirtualAddress,
  names: readonly string[],
): Finding[] {
  if (names.length === 0) return [missing(facts, address, services)];
  const onServed = names.filter((name) => servedFor(facts, name) !== null);
  if (onServed.length > 0) return [ok('vip', address, `is on ${onServed.join(', ')}`)];
  const virtual = names.filter((name) => name === 'lo' || linkNamed(facts, name)?.kind === 'dummy');
  if (virtual.length > 0) return [checkAnswered(facts, address, virtual[0]!)];
  return [
    warning(
      'vip-elsewhere',
      address,
      `is on ${names.join(', ')}, which xvs does not serve`,
      `Clients' packets for ${listed(services)} that come in there go to the host's own stack, ` +
        'which knows no service and refuses them.',
      [`add { name: ${names[0]} } to interfaces in the config file, and restart xvsd`],
    ),
  ];
}

function missing(facts: Facts, address: string, services: readonly string[]): Finding {
  const near = onLinkInterface(facts, address);
  const seen = `no interface of this host has it; services: ${listed(services)}`;
  const on = near ?? facts.setup.interfaces[0]?.name ?? 'INTERFACE';
  const remedy = `ip address add ${hostPrefix(address)} dev ${on}`;
  if (near !== null) {
    return error(
      'vip-missing',
      address,
      seen,
      `It is in the network of ${near}, where clients or their router ask by ARP who has it, and ` +
        'nobody answers: no packet comes here.',
      [remedy],
    );
  }
  return warning(
    'vip-missing',
    address,
    seen,
    'Nobody answers ARP for it here. That is well only if a router sends packets for it to one ' +
      "of this host's addresses; pings to it are answered by nobody either way.",
    [remedy, `or, on the router: ip route add ${hostPrefix(address)} via ADDRESS-OF-THIS-HOST`],
  );
}

/** An address on lo is answered for on every interface, unless arp_ignore says otherwise. */
function checkAnswered(facts: Facts, address: string, on: string): Finding {
  const near = onLinkInterface(facts, address);
  const ignore = near === null ? 0 : interfaceSysctl(facts, 'arp_ignore', near);
  if (near === null || !isIPv4(address) || ignore === 0) {
    return ok('vip', address, `is on ${on}`);
  }
  return error(
    'vip-silent',
    address,
    `is on ${on}, and arp_ignore of ${near} is ${ignore}`,
    `The director does not answer ARP for it on ${near}, as a real server of direct routing ` +
      'must not: no packet comes here. Of both the director alone has to answer.',
    [`sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.${near}.arp_ignore=0`],
  );
}

/** The larger of "all" and the interface's own counts, as the kernel has it. */
export function interfaceSysctl(facts: Facts, name: string, on: string): number {
  const value = (scope: string) => facts.host.sysctls.get(`net.ipv4.conf.${scope}.${name}`) ?? 0;
  return Math.max(value('all'), value(on));
}

function checkClaims(facts: Facts, { address, isShared }: VirtualAddress): Finding[] {
  const claims = facts.host.claims.filter((claim) => claim.address === address);
  return claims.map((claim) => {
    const server = facts.host.neighbours.find(
      ({ mac, address: other }) => mac === claim.mac && other !== address,
    );
    const who = server === undefined ? claim.mac : `${server.address} (${claim.mac})`;
    const isServer = server !== undefined && isRealServer(facts, server.address);
    const seen = `${who} answers ARP for it on ${claim.interface}`;
    if (isShared && isServer) {
      return error(
        'vip-answered-by-server',
        address,
        seen,
        'A real server of direct routing or a tunnel has the address too, and must keep quiet ' +
          'about it: clients whose router hears it first go past the director.',
        [
          `on ${server.address}:`,
          'sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2',
          `and put the address on its lo: ip address add ${hostPrefix(address)} dev lo`,
          `then, on the router: ip neighbour flush to ${address}`,
        ],
      );
    }
    return error(
      'vip-duplicate',
      address,
      seen,
      'Two hosts have the address: whose answer comes first gets the packets.',
      [
        `take ${address} off that host`,
        'or, if it is a second director, let one alone have it (keepalived, VRRP)',
      ],
    );
  });
}

function isRealServer(facts: Facts, address: string): boolean {
  return facts.setup.services.some(({ servers }) => servers.some((one) => one.address === address));
}

function checkLocalAddresses(facts: Facts): Finding[] {
  const own = new Set(facts.host.addresses.map(({ address }) => address));
  return facts.setup.services.flatMap((service) => {
    const id = serviceId(service.key);
    const fullnat = service.servers.some(({ method }) => method === 'fullnat');
    if (fullnat && service.localAddresses.length === 0) {
      return [
        error(
          'local-address-none',
          id,
          'has FULLNAT servers and no local address',
          'There is nothing that its connections could come from: each is dropped ' +
            '(local_ports_exhausted).',
          ['xvsadm --add-laddr -z ADDRESS SERVICE -F INTERFACE'],
        ),
      ];
    }
    return service.localAddresses
      .filter((address) => !own.has(address))
      .map((address) => {
        const on = onLinkInterface(facts, address) ?? 'INTERFACE';
        return error(
          'local-address-missing',
          `${address} of ${id}`,
          'no interface of this host has it',
          'Real servers send their replies to it, and nobody answers ARP for it.',
          [`ip address add ${hostPrefix(address)} dev ${on}`],
        );
      });
  });
}
