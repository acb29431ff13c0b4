/**
 * The address grammar of `-t`, `-u`, `-r` and `-M`: `host[:port]`, `[IPv6]:port`, bare IPv6.
 * Its corners are kept because scripts depend on what they mean: digits only are refused,
 * `[IPv6]` without a port is refused, and brackets around anything else lose the port.
 */
import type { AddressFamily, ProtocolName } from '../control/protocol';
import { formatIpv4, formatIpv6, parseIpv4Loose, parseIpv6 } from './addressText';
import type { NameSource } from './names';

export interface Endpoint {
  readonly family: AddressFamily;
  readonly address: string;
  /** null: the text names no port. */
  readonly port: number | null;
}

/** strtol in base 10 over the whole text, within limits; null otherwise. */
export function parseInteger(text: string, minimum: number, maximum: number): number | null {
  if (!/^[ \t\n\v\f\r]*[+-]?[0-9]+$/.test(text)) return null;
  const value = Number(text);
  return value >= minimum && value <= maximum ? value : null;
}

function parsePort(text: string, protocol: ProtocolName | null, names: NameSource): number | null {
  const port = parseInteger(text, 0, 65535);
  if (port !== null) return port;
  return protocol === null ? null : names.servicePort(text, protocol);
}

function parseHost(host: string, names: NameSource): string | null {
  const value = parseIpv4Loose(host) ?? names.hostAddress(host);
  return value === null ? null : formatIpv4(value);
}

/**
 * `protocol`: of the service as far as the line has said it, for service names; null if not yet.
 * Null when the text is no address. May throw UnresolvedHost.
 */
export function parseEndpoint(
  text: string,
  protocol: ProtocolName | null,
  names: NameSource,
): Endpoint | null {
  if (/^[0-9]*$/.test(text)) return null;
  let host = text;
  let portText: string | null = null;
  if (text.startsWith('[')) {
    const close = text.indexOf(']');
    if (close < 0 || text.charAt(close + 1) !== ':') return null;
    host = text.slice(1, close);
    portText = text.slice(close + 2);
  }
  const groups = parseIpv6(host);
  let address: string | null;
  if (groups !== null) {
    address = formatIpv6(groups);
  } else {
    const colon = host.lastIndexOf(':');
    portText = colon < 0 ? null : host.slice(colon + 1);
    address = parseHost(colon < 0 ? host : host.slice(0, colon), names);
  }
  if (address === null) return null;
  const family = groups === null ? 4 : 6;
  if (portText === null) return { family, address, port: null };
  const port = parsePort(portText, protocol, names);
  return port === null ? null : { family, address, port };
}

/** IPv4 persistence mask: an address in any form, or a host name; dotted text, or null. */
export function parseNetmask(text: string, names: NameSource): string | null {
  return parseHost(text, names);
}

/** IPv6 persistence mask: a prefix length, read as atoi does; null outside 1..128. */
export function parsePrefixLength(text: string): number | null {
  const digits = /^[ \t\n\v\f\r]*([+-]?[0-9]+)/.exec(text)?.[1] ?? '0';
  const value = Number(digits);
  return value >= 1 && value <= 128 ? value : null;
}
