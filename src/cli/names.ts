/**
 * Names of services and hosts. Services come from /etc/services (services(5)), read only when a
 * line or a listing needs one. Host names are asked of the system's resolver, which is
 * asynchronous while the grammar is not: the grammar throws UnresolvedHost, the caller asks
 * (`lookUpHost`), remembers the answer and parses the line anew.
 */
import { readFileSync } from 'node:fs';
import type { AddressFamily, ProtocolName } from '../control/protocol';

/** Name to number, as the grammar needs it. */
export interface NameSource {
  /** IPv4 address of a host, host order; null: no such host. May throw UnresolvedHost. */
  hostAddress(name: string): number | null;
  servicePort(name: string, protocol: ProtocolName): number | null;
}

/** Number to name, as listings need it; null: print the number. */
export interface NameView {
  host(family: AddressFamily, address: string): string | null;
  service(port: number, protocol: string): string | null;
}

export const NUMERIC_NAMES: NameView = { host: () => null, service: () => null };

export class UnresolvedHost extends Error {
  readonly host: string;

  constructor(host: string) {
    super(`host name "${host}" has not been looked up`);
    this.name = 'UnresolvedHost';
    this.host = host;
  }
}

export interface ServiceNames {
  /** "http/tcp" -> 80; aliases included. */
  readonly ports: ReadonlyMap<string, number>;
  /** "80/tcp" -> "http"; the first entry of the file wins. */
  readonly names: ReadonlyMap<string, string>;
}

/** services(5): `name port/protocol alias...`, comments from # on. */
export function parseServices(text: string): ServiceNames {
  const ports = new Map<string, number>();
  const names = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [name, where, ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const slash = where?.indexOf('/') ?? -1;
    if (name === undefined || where === undefined || slash < 1) continue;
    const port = Number(where.slice(0, slash));
    if (!Number.isInteger(port)) continue;
    const protocol = where.slice(slash + 1);
    for (const word of [name, ...aliases]) {
      const key = `${word}/${protocol}`;
      if (!ports.has(key)) ports.set(key, port);
    }
    if (!names.has(where)) names.set(where, name);
  }
  return { ports, names };
}

let servicesFile: ServiceNames | null = null;

function systemServices(): ServiceNames {
  if (servicesFile === null) {
    let text = '';
    try {
      text = readFileSync('/etc/services', 'latin1');
    } catch {
      // A system without the file knows no service by name, which is no error.
    }
    servicesFile = parseServices(text);
  }
  return servicesFile;
}

/**
 * What the C library's resolver looks at: printable ASCII. The engine's own would fold other
 * letters first, so that full-width digits became an address.
 */
const HOST_NAME = /^[!-~]+$/;

/** The system's names. `hosts` holds what was looked up so far; null = no such host. */
export function systemNames(hosts: ReadonlyMap<string, number | null>): NameSource {
  return {
    hostAddress(name) {
      const known = HOST_NAME.test(name) ? hosts.get(name) : null;
      if (known === undefined) throw new UnresolvedHost(name);
      return known;
    },
    servicePort(name, protocol) {
      return systemServices().ports.get(`${name}/${protocol}`) ?? null;
    },
  };
}

/** First IPv4 address of a host by the system's resolver (hosts file, DNS), or null. */
export async function lookUpHost(name: string): Promise<string | null> {
  const { lookup } = require('node:dns') as typeof import('node:dns');
  return new Promise((resolve) => {
    lookup(name, { family: 4 }, (error, address) => {
      resolve(error === null && typeof address === 'string' && address !== '' ? address : null);
    });
  });
}

/** Names for a listing: asks the resolver for each address once, in parallel. */
export async function lookUpNames(
  addresses: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> {
  const { lookupService } = require('node:dns') as typeof import('node:dns');
  const found = new Map<string, string>();
  const ask = (address: string): Promise<void> =>
    new Promise((resolve) => {
      lookupService(address, 0, (error, hostname) => {
        if (error === null && hostname !== address) found.set(address, hostname);
        resolve();
      });
    });
  await Promise.all([...addresses].map(ask));
  return found;
}

export function nameView(hosts: ReadonlyMap<string, string>): NameView {
  return {
    host: (_family, address) => hosts.get(address) ?? null,
    service: (port, protocol) => systemServices().names.get(`${port}/${protocol}`) ?? null,
  };
}
