/**
 * Addresses as text and as words. An IPv4 address is a signed int32 in host order; `addressWords`
 * gives any address as four words, IPv4 in the first.
 */
import { isIPv6 } from 'node:net';

const [DIGIT_0, DIGIT_9, DOT] = [0x30, 0x39, 0x2e];

/** "10.0.0.1" as int32. Throws a RangeError for anything else. Read by hand: tables have many. */
export function parseIpv4(text: string): number {
  let value = 0;
  let parts = 0;
  let part = -1;
  for (let at = 0; at <= text.length; at++) {
    const character = at < text.length ? text.charCodeAt(at) : DOT;
    if (character >= DIGIT_0 && character <= DIGIT_9 && part !== 0) {
      part = Math.max(part, 0) * 10 + character - DIGIT_0;
      if (part <= 255) continue;
    } else if (character === DOT && part >= 0) {
      value = (value << 8) | part;
      part = -1;
      if (++parts <= 4) continue;
    }
    throw new RangeError(`"${text}" is no IPv4 address`);
  }
  if (parts !== 4) throw new RangeError(`"${text}" is no IPv4 address`);
  return value;
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
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
