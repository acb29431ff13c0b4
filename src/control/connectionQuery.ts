/**
 * The border for queries of connections: an unknown query string in, a trusted ConnectionQuery out.
 * Addresses are IPv4, as connections are.
 */
import { isIPv4 } from 'node:net';
import { GROUPS, SORT_KEYS } from './connectionKeys';
import { DirectorError } from './error';
import { LISTED_STATES } from './listing';
import type { ConnectionQuery } from './protocol';

const SECONDS_MAX = 2 ** 31 / 10;
const LIMIT_MAX = 2 ** 31 - 1;

/** An address under a mask, and a port; -1 is any port. Host order, signed. */
export interface EndpointFilter {
  readonly address: number;
  readonly mask: number;
  readonly port: number;
}

function refusal(key: string, value: string, allowed: string): DirectorError {
  return new DirectorError('ERR_REQUEST', `${key} "${value}": ${allowed}`);
}

function toInt32(address: string): number {
  return address.split('.').reduce((value, part) => (value << 8) | Number(part), 0);
}

/** "10.0.0.0/8", "10.0.0.1". Throws a DirectorError. */
export function parseNetwork(key: string, text: string): EndpointFilter {
  const [address = '', length = '32', ...rest] = text.split('/');
  const bits = /^[0-9]{1,2}$/.test(length) ? Number(length) : 33;
  if (!isIPv4(address) || bits > 32 || rest.length > 0) {
    throw refusal(key, text, 'an IPv4 address or ADDRESS/0 to ADDRESS/32 is allowed');
  }
  const mask = bits === 0 ? 0 : -1 << (32 - bits);
  return { address: toInt32(address) & mask, mask, port: -1 };
}

/** "10.0.0.1:80", "10.0.0.1". Throws a DirectorError. */
export function parseEndpointFilter(key: string, text: string): EndpointFilter {
  const [address = '', port = '', ...rest] = text.split(':');
  const number = /^[0-9]{1,5}$/.test(port) ? Number(port) : -1;
  const portWrong = text.includes(':') && (number < 0 || number > 65535);
  if (!isIPv4(address) || portWrong || rest.length > 0) {
    throw refusal(key, text, 'an IPv4 address, or ADDRESS:PORT, is allowed');
  }
  return { address: toInt32(address), mask: -1, port: number };
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
