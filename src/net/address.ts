/**
 * Addresses as text and as words. An IPv4 address is a signed int32 in host order; `addressWords`
 * gives any address as four words, IPv4 in the first.
 */
import { isIPv6 } from 'node:net';
import { readIpv4 } from './ipv4Text';

export { formatIpv4 } from './ipv4Text';

/** "10.0.0.1" as int32. Throws a RangeError for anything else. */
export function parseIpv4(text: string): number {
  const value = readIpv4(text);
  if (value === null) throw new RangeError(`"${text}" is no IPv4 address`);
  return value;
}

/** Four words of an address in host order, IPv4 in the first and the rest 0. */
export function addressWords(text: string): Int32Array {
  const words = new Int32Array(4);
  if (!text.includes(':') || !isIPv6(text)) {
    words[0] = parseIpv4(text);
    return words;
  }
  const groups = expandIpv6(text);
  for (let i = 0; i < 4; i++) words[i] = (groups[2 * i]! << 16) | groups[2 * i + 1]!;
  return words;
}

function expandIpv6(text: string): number[] {
  const embedded = text.lastIndexOf(':') + 1;
  let plain = text;
  if (text.includes('.')) {
    const v4 = parseIpv4(text.slice(embedded));
    plain = `${text.slice(0, embedded)}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  }
  const [head = '', tail] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...new Array<string>(zeros).fill('0'), ...right].map((group) =>
    Number.parseInt(group, 16),
  );
}

/** The 16 bytes of an address in network order, IPv4 in the first four and the rest 0. */
export function addressBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  addressWords(text).forEach((word, at) => {
    view.setInt32(at * 4, word);
  });
  return bytes;
}
