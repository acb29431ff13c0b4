/** How findings write services, servers and commands about them. */
import { isIPv4, isIPv6 } from 'node:net';
import { addressWords } from '../../net/address';
import { serverId, serviceId } from '../model';
import type { ServiceKey } from '../protocol';
import type {
  AddressFact,
  Facts,
  HostFacts,
  LinkFact,
  ServerSetup,
  ServiceSetup,
  Setup,
} from './facts';

export { serverId, serviceId };

const SERVICE_OPTIONS = { tcp: '-t', udp: '-u', sctp: '--sctp-service' } as const;

/** As xvsadm takes it: "-t 192.0.2.1:80". */
export function serviceOption(key: ServiceKey): string {
  if (key.fwmark !== 0) return `-f ${key.fwmark}${key.family === 6 ? ' -6' : ''}`;
  return `${SERVICE_OPTIONS[key.protocol]} ${serverId(key)}`;
}

export function isWithin(address: string, { address: own, prefixLength }: AddressFact): boolean {
  if (isIPv6(address) !== isIPv6(own)) return false;
  const left = addressWords(address);
  const right = addressWords(own);
  for (let word = 0, bits = prefixLength; bits > 0; word++, bits -= 32) {
    const mask = bits >= 32 ? -1 : -1 << (32 - bits);
    if (((left[word]! ^ right[word]!) & mask) !== 0) return false;
  }
  return true;
}

export function hostPrefix(address: string): string {
  return `${address}/${isIPv4(address) ? 32 : 128}`;
}

export function linkNamed(facts: Facts, name: string): LinkFact | undefined {
  return facts.host.links.find((link) => link.name === name);
}

export function isServed(facts: Facts, name: string): boolean {
  return facts.setup.interfaces.some((one) => one.name === name);
}

interface Links {
  readonly setup: Pick<Setup, 'interfaces'>;
  readonly host: Pick<HostFacts, 'links'>;
}

/** The served interface that is, or stands in for, the one named: itself, or a port of it. */
export function servedFor(facts: Links, name: string): string | null {
  const served = new Set(facts.setup.interfaces.map((one) => one.name));
  if (served.has(name)) return name;
  const port = facts.host.links.find((link) => link.master === name && served.has(link.name));
  return port?.name ?? null;
}

/** The served interface in whose network an address is; null: in none's. */
export function onLinkInterface(facts: Facts, address: string): string | null {
  const own = facts.host.addresses.find(
    (one) =>
      servedFor(facts, one.interface) !== null &&
      one.address !== address &&
      one.prefixLength < (one.family === 4 ? 32 : 128) &&
      isWithin(address, one),
  );
  return own?.interface ?? null;
}

export interface PlacedServer {
  readonly service: ServiceSetup;
  readonly server: ServerSetup;
}

/** Every real server once, by address, port and method, with one of its services. */
export function serversOf(facts: Pick<Facts, 'setup'>): PlacedServer[] {
  const known = new Map<string, PlacedServer>();
  for (const service of facts.setup.services) {
    for (const server of service.servers) {
      const id = `${serverId(server)} ${server.method} ${service.key.protocol}`;
      if (!known.has(id)) known.set(id, { service, server });
    }
  }
  return [...known.values()];
}

/** What a finding says of a server. */
export function serverSubject({ service, server }: PlacedServer): string {
  return `${serverId(server)} of ${serviceId(service.key)}`;
}

/** One finding for servers that share it: the first ones named, the others counted. */
export function listed(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
