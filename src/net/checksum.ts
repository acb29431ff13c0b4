/**
 * Internet checksum: full (RFC 1071) and incremental (RFC 1624). All words are in host order as
 * read from the wire; a 16-bit sum is kept folded. Nothing here allocates.
 */

/** Folds a sum of 16-bit words into 16 bits (ones' complement addition). `sum` < 2^32. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** The two halves of a 32-bit word, added. */
export function halves(word: number): number {
  return (word & 0xffff) + (word >>> 16);
}

/**
 * What a checksum's sum gains when a 32-bit word changes from `before` to `after`. Differences of
 * several words may be added before `adjusted`.
 */
export function difference(before: number, after: number): number {
  return halves(~before) + halves(after);
}

/** The checksum field after `gain` (from `difference`); RFC 1624 equation 3. */
export function adjusted(checksum: number, gain: number): number {
  return ~fold((~checksum & 0xffff) + gain) & 0xffff;
}

/** Ones' complement sum, not folded to the end, of `lengthBytes` bytes at `at`. < 2^32. */
export function sumBytes(view: DataView, at: number, lengthBytes: number): number {
  let sum = 0;
  const even = at + (lengthBytes & ~1);
  for (let offset = at; offset < even; offset += 2) sum += view.getUint16(offset);
  if (lengthBytes & 1) sum += view.getUint8(even) << 8;
  return fold(sum >>> 0);
}

/**
 * Sum of the IPv4 pseudo header (RFC 9293 3.1, RFC 768): folded, not complemented. This is also
 * what an unfinished checksum field holds when the sender left the rest to its device.
 */
export function pseudoSum4(
  source: number,
  destination: number,
  protocol: number,
  lengthBytes: number,
): number {
  return fold(halves(source) + halves(destination) + protocol + lengthBytes);
}
