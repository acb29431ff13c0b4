/**
 * The border for queries of connections: an unknown query string in, a trusted ConnectionQuery out.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { addressWords } from '../net/address';
import { GROUPS, SORT_KEYS } from './connectionKeys';
import { LISTED_STATES } from './connectionListing';
import { DirectorError } from './error';
import type { AddressFamily, ConnectionQuery } from './protocol';

const SECONDS_MAX = 2 ** 31 / 10;
const LIMIT_MAX = 2 ** 31 - 1;

/** An address under a mask, and a port; -1 is any port. Host order, IPv4 in the first word. */
export interface EndpointFilter {
  readonly family: AddressFamily;
  readonly address: Int32Array;
  readonly mask: Int32Array;
  readonly port: number;
}

function refusal(key: string, value: string, allowed: string): DirectorError {
  return new DirectorError('ERR_REQUEST', `${key} "${value}": ${allowed}`);
}

function familyOf(address: string): AddressFamily | null {
  if (isIPv4(address)) return 4;
  return isIPv6(address) && !address.includes('%') ? 6 : null;
}

function filterOf(
  family: AddressFamily,
  address: string,
  prefixLength: number,
  port: number,
): EndpointFilter {
  const mask = new Int32Array(4);
  for (let word = 0; word < 4; word++) {
    const bits = Math.min(32, Math.max(0, prefixLength - 32 * word));
    mask[word] = bits === 0 ? 0 : -1 << (32 - bits);
  }
  return { family, address: addressWords(address).map((word, at) => word & mask[at]!), mask, port };
}

/** "10.0.0.0/8", "10.0.0.1", "2001:db8::/32". Throws a DirectorError. */
export function parseNetwork(key: string, text: string): EndpointFilter {
  const [address = '', length, ...rest] = text.split('/');
  const family = familyOf(address);
  const most = family === 6 ? 128 : 32;
  const bits = length === undefined ? most : /^[0-9]{1,3}$/.test(length) ? Number(length) : -1;
  if (family === null || bits < 0 || bits > most || rest.length > 0) {
    throw refusal(key, text, 'an IPv4 or IPv6 address, or ADDRESS/LENGTH, is allowed');
  }
  return filterOf(family, address, bits, -1);
}

/** "10.0.0.1:80", "10.0.0.1", "[2001:db8::1]:80", "2001:db8::1". Throws a DirectorError. */
export function parseEndpointFilter(key: string, text: string): EndpointFilter {
  const bracketed = /^\[([^\]]*)\](?::([0-9]{1,5}))?$/.exec(text);
  const dotted = /^([0-9.]*)(?::([0-9]{1,5}))?$/.exec(text);
  const [, address = text, portText = ''] = bracketed ?? dotted ?? [];
  const family = familyOf(address);
  const port = portText === '' ? -1 : Number(portText);
  if (family === null || port > 65535 || (bracketed !== null && family === 4)) {
    throw refusal(key, text, 'an address, ADDRESS:PORT or [ADDRESS]:PORT is allowed');
  }
  return filterOf(family, address, 128, port);
}

function whole(key: string, text: string, maximum: number): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= maximum) return value;
  throw refusal(key, text, `0 to ${Math.floor(maximum)} are allowed`);
}

function oneOf<Name extends string>(key: string, text: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text);
  if (found === undefined) throw refusal(key, text, `allowed are ${names.join(', ')}`);
  return found;
}

function checkedText(key: string, text: string, parse: (key: string, text: string) => unknown) {
  parse(key, text);
  return text;
}

type Reader = (text: string) => unknown;

const READERS: Readonly<Record<keyof ConnectionQuery, Reader>> = {
  client: (text) => checkedText('client', text, parseNetwork),
  service: (text) => checkedText('service', text, parseEndpointFilter),
  server: (text) => checkedText('server', text, parseEndpointFilter),
  state: (text) => oneOf('state', text.toUpperCase(), LISTED_STATES),
  expiresAfter: (text) => whole('expiresAfter', text, SECONDS_MAX),
  expiresWithin: (text) => whole('expiresWithin', text, SECONDS_MAX),
  older: (text) => whole('older', text, SECONDS_MAX),
  younger: (text) => whole('younger', text, SECONDS_MAX),
  sort: (text) => oneOf('sort', text, SORT_KEYS),
  reverse: (text) => oneOf('reverse', text, ['0', '1']) === '1',
  limit: (text) => whole('limit', text, LIMIT_MAX),
  count: (text) => oneOf('count', text, ['all', ...GROUPS]),
};

/** Throws a DirectorError that names what is wrong. */
export function parseConnectionQuery(query: Iterable<readonly [string, string]>): ConnectionQuery {
  const read: Record<string, unknown> = {};
  for (const [key, text] of query) {
    if (!Object.hasOwn(READERS, key)) {
      throw refusal('query', key, `allowed are ${Object.keys(READERS).join(', ')}`);
    }
    if (Object.hasOwn(read, key)) throw refusal(key, text, 'is given twice');
    read[key] = READERS[key as keyof ConnectionQuery](text);
  }
  return read;
}
