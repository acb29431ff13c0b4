/**
 * IPv6 extension headers (RFC 8200 4), as far as whoever looks behind them needs them. `at`: offset
 * of a header's first byte. The fragment header, which has no length of its own, is in fragment.ts.
 */
import {
  PROTOCOL_AUTHENTICATION,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_ROUTING,
} from './ipv6';

/** Headers that are walked over at most; Linux's own traffic has one or two. */
export const EXTENSIONS_MAX = 8;
/** The smallest header; its own length stands in there. */
export const EXTENSION_BYTES_MIN = 8;

/** One with a length of its own. */
export function isExtension6(protocol: number): boolean {
  return (
    protocol === PROTOCOL_HOP_BY_HOP ||
    protocol === PROTOCOL_ROUTING ||
    protocol === PROTOCOL_DESTINATION_OPTIONS ||
    protocol === PROTOCOL_AUTHENTICATION
  );
}

/** Length of such a header: in eights beyond the first; AH's in fours beyond two (RFC 4302 2.2). */
export function extensionBytes6(view: DataView, at: number, protocol: number): number {
  const units = view.getUint8(at + 1);
  return protocol === PROTOCOL_AUTHENTICATION ? (units + 2) << 2 : (units + 1) << 3;
}
