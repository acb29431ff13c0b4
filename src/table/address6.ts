/**
 * IPv6 addresses as the control plane hands them to the tables: four signed words in host order,
 * the first four bytes in the first. Workers pass the same four words as plain arguments.
 */

/** fd00::1 is [0xfd000000 | 0, 0, 0, 1]. */
export type Address6 = readonly [number, number, number, number];

/** The unspecified address, :: */
export const NO_ADDRESS6: Address6 = [0, 0, 0, 0];

/** An address of either family: IPv4 is one word, IPv6 four. */
export type HostAddress = number | Address6;

/** Of word 0..3: the bits that belong to a prefix of 0..128 bits. */
export function prefixMask6(prefixLength: number, word: number): number {
  const bits = prefixLength - word * 32;
  if (bits >= 32) {
    return -1;
  }
  return bits <= 0 ? 0 : (-1 << (32 - bits)) | 0;
}

/** Whether two addresses share their first `prefixLength` bits. */
export function samePrefix6(a: Address6, b: Address6, prefixLength: number): boolean {
  for (let word = 0; word < 4; word++) {
    if (((a[word]! ^ b[word]!) & prefixMask6(prefixLength, word)) !== 0) {
      return false;
    }
  }
  return true;
}

/** How many bits two addresses share from the first on: 0..128. */
export function commonBits6(a: Address6, b: Address6): number {
  for (let word = 0; word < 4; word++) {
    const differing = a[word]! ^ b[word]!;
    if (differing !== 0) {
      return word * 32 + Math.clz32(differing);
    }
  }
  return 128;
}

/** For sorting: ascending as unsigned numbers. */
export function compare6(a: Address6, b: Address6): number {
  for (let word = 0; word < 4; word++) {
    if (a[word] !== b[word]) {
      return (a[word]! >>> 0) - (b[word]! >>> 0);
    }
  }
  return 0;
}

/** fe80::/10 */
export function isLinkLocal6(address: Address6): boolean {
  return address[0] >>> 22 === 0x3fa;
}
