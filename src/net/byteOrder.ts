/** Between host order, which is little-endian here, and the wire's. */

/** `half`: 0 to 0xffff. */
export function swapped16(half: number): number {
  return ((half & 0xff) << 8) | (half >>> 8);
}

export function swapped32(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
