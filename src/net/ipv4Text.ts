/** IPv4 addresses as text: four decimal parts without leading zeros, nothing else. */

const [DIGIT_0, DIGIT_9, DOT] = [0x30, 0x39, 0x2e];

/** "10.0.0.1" as int32 in host order; null for anything else. Read by hand: tables have many. */
export function readIpv4(text: string): number | null {
  let value = 0;
  let parts = 0;
  let part = -1;
  for (let at = 0; at <= text.length; at++) {
    const character = at < text.length ? text.charCodeAt(at) : DOT;
    if (character >= DIGIT_0 && character <= DIGIT_9 && part !== 0) {
      part = Math.max(part, 0) * 10 + character - DIGIT_0;
      if (part > 255) return null;
    } else if (character === DOT && part >= 0) {
      value = (value << 8) | part;
      part = -1;
      parts++;
    } else return null;
  }
  return parts === 4 ? value : null;
}

/** Of an int32 or an unsigned number. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
