/**
 * IP addresses as text. IPv4 in all forms of inet_aton (parts joined, octal, hexadecimal: what
 * administrators' scripts may hold) and in the strict dotted form; IPv6 as RFC 4291 writes it,
 * printed as RFC 5952 and the C library do (RFC 5952 section 4, mapped addresses dotted).
 * IPv4 values are unsigned 32-bit numbers in host order, IPv6 values eight 16-bit groups.
 */
import { formatIpv4, readIpv4 } from '../net/ipv4Text';

export { formatIpv4 } from '../net/ipv4Text';

const ATON_PART = /^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)/;

function atonPart(text: string): { value: number; length: number } | null {
  const found = ATON_PART.exec(text)?.[0];
  if (found === undefined) return null;
  const digits = found.toLowerCase();
  if (digits.startsWith('0x')) return { value: Number(digits), length: found.length };
  const octal = digits.startsWith('0') && digits.length > 1;
  return { value: Number.parseInt(digits, octal ? 8 : 10), length: found.length };
}

/** inet_aton: one to four parts, the last fills what is left; text after a space is not read. */
export function parseIpv4Loose(text: string): number | null {
  const plain = parseIpv4(text);
  if (plain !== null) return plain;
  const parts: number[] = [];
  let rest = text;
  for (;;) {
    const part = atonPart(rest);
    if (part === null) return null;
    parts.push(part.value);
    rest = rest.slice(part.length);
    if (!rest.startsWith('.') || parts.length === 4) break;
    rest = rest.slice(1);
  }
  if (rest !== '' && !/^[ \t\n\v\f\r]/.test(rest)) return null;
  const last = parts.pop() ?? 0;
  if (parts.some((part) => part > 255) || last >= 256 ** (4 - parts.length)) return null;
  return parts.reduce((sum, part, index) => sum + part * 256 ** (3 - index), last);
}

/** Four decimal parts without leading zeros, nothing else. */
export function parseIpv4(text: string): number | null {
  const value = readIpv4(text);
  return value === null ? null : value >>> 0;
}

function parseGroups(text: string, dottedTail: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const pieces = text.split(':');
  for (const [index, piece] of pieces.entries()) {
    if (piece.includes('.')) {
      const tail = dottedTail && index === pieces.length - 1 ? parseIpv4(piece) : null;
      if (tail === null) return null;
      groups.push(Math.floor(tail / 65536), tail % 65536);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(piece)) return null;
      groups.push(Number.parseInt(piece, 16));
    }
  }
  return groups;
}

/** Eight groups, or null. No zone, no brackets. */
export function parseIpv6(text: string): readonly number[] | null {
  const colon = text.indexOf(':');
  const dot = text.indexOf('.');
  // An IPv4 address and a port, most likely: dotted parts come last.
  if (colon < 0 || (dot >= 0 && dot < colon)) return null;
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  if (head === null) return null;
  if (halves.length === 1) return head.length === 8 ? head : null;
  const tail = parseGroups(halves[1] ?? '', true);
  if (tail === null || head.length + tail.length > 7) return null;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

/** First longest run of two or more zero groups. */
function zeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  return best;
}

export function formatIpv6(groups: readonly number[]): string {
  const run = zeroRun(groups);
  const dotted =
    run.start === 0 && (run.length === 6 || (run.length === 5 && groups[5] === 0xffff));
  const words = groups.map((group) => group.toString(16));
  if (dotted) {
    const tail = formatIpv4(((groups[6] ?? 0) * 65536 + (groups[7] ?? 0)) >>> 0);
    words.splice(6, 2, tail);
  }
  if (run.start < 0) return words.join(':');
  const head = words.slice(0, run.start).join(':');
  return `${head}::${words.slice(run.start + run.length).join(':')}`;
}

/** Canonical text of an address in strict form, or null: what keys are compared by. */
export function canonicalAddress(text: string): { family: 4 | 6; address: string } | null {
  const ipv4 = parseIpv4(text);
  if (ipv4 !== null) return { family: 4, address: formatIpv4(ipv4) };
  const ipv6 = parseIpv6(text);
  return ipv6 === null ? null : { family: 6, address: formatIpv6(ipv6) };
}
