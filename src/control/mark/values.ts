/**
 * Values in iptables syntax: addresses with masks, protocols, ports, marks, words in quotes.
 * Errors name the option, the value and what is allowed. Source: man iptables, iptables-extensions.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { addressWords } from '../../net/address';
import type { PortRange } from './rule';

/** A rule or command that is not taken; the message names the word and what is allowed. */
export class MarkError extends Error {
  override readonly name = 'MarkError';
}

/** Port of a service's name, as /etc/services has it; null when there is none. */
export type PortNames = (name: string, protocol: string) => number | null;

export const NO_PORT_NAMES: PortNames = () => null;

/** First entry of a number is the one that is printed. */
const PROTOCOLS: readonly (readonly [string, number])[] = [
  ['all', 0],
  ['icmp', 1],
  ['igmp', 2],
  ['ipencap', 4],
  ['tcp', 6],
  ['udp', 17],
  ['dccp', 33],
  ['ipv6', 41],
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['ipv6-icmp', 58],
  ['icmpv6', 58],
  ['ospf', 89],
  ['pim', 103],
  ['vrrp', 112],
  ['sctp', 132],
  ['udplite', 136],
];

export function protocolName(number: number): string {
  return PROTOCOLS.find((entry) => entry[1] === number)?.[0] ?? String(number);
}

/** Decimal, hexadecimal after 0x, octal after 0, as strtoul reads them; NaN for anything else. */
export function parseNumber(text: string): number {
  if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
  return /^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(text) ? Number(text) : Number.NaN;
}

function isWithin(value: number, maximum: number): boolean {
  return value >= 0 && value <= maximum;
}

export function parseProtocol(text: string): number {
  const named = PROTOCOLS.find((entry) => entry[0] === text.toLowerCase());
  const number = named?.[1] ?? parseNumber(text);
  if (isWithin(number, 255)) return number;
  const known = PROTOCOLS.map((entry) => entry[0]).join(', ');
  throw new MarkError(`-p ${text}: ${known} or a number from 0 to 255 is allowed`);
}

export interface MaskedAddress {
  readonly family: 4 | 6;
  readonly address: readonly number[];
  readonly mask: readonly number[];
}

function maskOfLength(length: number, family: 4 | 6): number[] {
  return [0, 1, 2, 3].map((word) => {
    const bits = Math.min(32, Math.max(0, length - word * 32));
    if (family === 4 && word > 0) return 0;
    return bits === 0 ? 0 : (-1 << (32 - bits)) | 0;
  });
}

/** "10.0.0.0/8", "10.0.0.0/255.0.0.0", "2001:db8::/32"; the address comes back masked. */
export function parseAddress(option: string, text: string): MaskedAddress {
  const slash = text.indexOf('/');
  const base = slash < 0 ? text : text.slice(0, slash);
  const tail = slash < 0 ? null : text.slice(slash + 1);
  const family = isIPv4(base) ? 4 : 6;
  const bits = family === 4 ? 32 : 128;
  let mask: number[] | null = null;
  if (tail === null) mask = maskOfLength(bits, family);
  else if (/^[0-9]{1,3}$/.test(tail)) {
    if (Number(tail) <= bits) mask = maskOfLength(Number(tail), family);
  } else if (family === 4 ? isIPv4(tail) : isIPv6(tail)) mask = [...addressWords(tail)];
  if ((family === 6 && !isIPv6(base)) || mask === null || base.includes('%')) {
    const allowed = 'ADDRESS, ADDRESS/LENGTH or ADDRESS/MASK, the address as a number, is allowed';
    throw new MarkError(`${option} ${text}: ${allowed}`);
  }
  const address = [...addressWords(base)].map((word, at) => word & mask[at]!);
  return { family, address, mask };
}

function parsePort(option: string, text: string, protocol: string, names: PortNames): number {
  const number = parseNumber(text);
  const port = Number.isNaN(number) ? (names(text, protocol) ?? Number.NaN) : number;
  if (isWithin(port, 65535)) return port;
  const allowed = `a port from 0 to 65535 or a name that /etc/services has for ${protocol}`;
  throw new MarkError(`${option} ${text}: ${allowed} is allowed`);
}

/** "80", "80:90", ":90" (from 0), "80:" (to 65535). */
export function parsePortRange(
  option: string,
  text: string,
  protocol: string,
  names: PortNames,
): PortRange {
  const parts = text.split(':');
  if (parts.length > 2) throw new MarkError(`${option} ${text}: PORT or FIRST:LAST is allowed`);
  const [from = '', to = from] = parts;
  if (parts.length === 1 && from === '') {
    throw new MarkError(`${option}: the port is missing; PORT or FIRST:LAST is allowed`);
  }
  const first = from === '' ? 0 : parsePort(option, from, protocol, names);
  const last = to === '' ? 65535 : parsePort(option, to, protocol, names);
  if (first <= last) return { first, last };
  throw new MarkError(`${option} ${text}: the first port must not be above the last`);
}

/** "0x42" or "0x42/0xff". Without a mask: 0xffffffff. */
export function parseMark(option: string, text: string): { value: number; mask: number } {
  const slash = text.indexOf('/');
  const value = parseNumber(slash < 0 ? text : text.slice(0, slash));
  const mask = slash < 0 ? 0xffffffff : parseNumber(text.slice(slash + 1));
  if (isWithin(value, 0xffffffff) && isWithin(mask, 0xffffffff)) return { value, mask };
  const allowed = 'VALUE or VALUE/MASK is allowed, each from 0 to 0xffffffff';
  throw new MarkError(`${option} ${text}: ${allowed}`);
}

/** One number without a mask. */
export function parsePlainMark(option: string, text: string): number {
  const value = parseNumber(text);
  if (isWithin(value, 0xffffffff)) return value;
  throw new MarkError(`${option} ${text}: a number from 0 to 0xffffffff is allowed`);
}

/** Splits a line into words as iptables-restore does: quotes, and backslashes within them. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  const pattern = /"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|([^\s"']+)|(["'])/g;
  let end = -1;
  for (const match of line.matchAll(pattern)) {
    const [whole, double, single, plain] = match;
    if (match[4] !== undefined) throw new MarkError(`${line}: a quote is not closed`);
    const text = double?.replace(/\\([\s\S])/g, '$1') ?? single ?? plain ?? '';
    // What follows without a space belongs to the same word.
    if (match.index === end) words[words.length - 1] += text;
    else words.push(text);
    end = match.index + whole.length;
  }
  return words;
}
