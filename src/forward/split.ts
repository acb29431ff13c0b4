/**
 * Cutting a packet that is longer than the way out allows: IPv4 without "don't fragment" (RFC 791
 * 3.2), and what the director itself sends as IPv6, a tunnel's outer packet (RFC 8200 4.5). Header
 * work only; who has the chunks and copies the data is worker/split.ts. All lengths are bytes.
 */
import { fold, sumBytes } from '../net/checksum';
import { ETHERNET_BYTES } from '../net/ethernet';
import { FRAGMENT_UNIT, FRAGMENT6_BYTES, setFragment4, writeFragment6 } from '../net/fragment';
import { finishIpv4, IPV4, IPV4_BYTES_MIN } from '../net/ipv4';
import { IPV6, IPV6_BYTES, PROTOCOL_FRAGMENT } from '../net/ipv6';

const { totalLength: TOTAL_LENGTH } = IPV4.at;
const { payloadLength: PAYLOAD_LENGTH, nextHeader: NEXT_HEADER } = IPV6.at;

const OPTION_END = 0;
const OPTION_NOP = 1;
/** Options with this bit stand in every fragment. */
const OPTION_COPIED = 0x80;

/** Data that fits a fragment which is not the last, behind `headerBytes`; may be 0 or less. */
export function fragmentRoom(mtu: number, headerBytes: number): number {
  return (mtu - headerBytes) & ~(FRAGMENT_UNIT - 1);
}

/** Into how many fragments `dataBytes` go. The last one may be as long as the MTU allows. */
export function fragmentCount(dataBytes: number, mtu: number, headerBytes: number): number {
  const beyond = dataBytes - (mtu - headerBytes);
  if (beyond <= 0) return 1;
  return 1 + Math.ceil(beyond / fragmentRoom(mtu, headerBytes));
}

/**
 * Does what a checksum request (TX_WORDS) asks for: before a packet is cut its transport checksum
 * has to be whole, for it covers all of the data.
 */
export function completeChecksum(
  view: DataView,
  at: number,
  lengthBytes: number,
  request: number,
): void {
  const start = request >>> 16;
  const checksum = ~fold(sumBytes(view, at + start, lengthBytes - start)) & 0xffff;
  // 0 would mean "none" in UDP; in TCP both are the same number.
  view.setUint16(at + start + (request & 0xffff), checksum === 0 ? 0xffff : checksum);
}

/** Makes the header at `ip`, a copy of the packet's, that of one fragment. */
export function writeFragmentHeader4(
  view: DataView,
  ip: number,
  headerBytes: number,
  dataBytes: number,
  offset: number,
  more: boolean,
): void {
  view.setUint16(ip + TOTAL_LENGTH, headerBytes + dataBytes);
  setFragment4(view, ip, offset, more);
  finishIpv4(view, ip, headerBytes);
}

/** Overwrites the options that belong into the first fragment alone; then sum the header. */
export function blankFirstOnlyOptions(view: DataView, ip: number, headerBytes: number): void {
  const end = ip + headerBytes;
  let at = ip + IPV4_BYTES_MIN;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) return;
    if ((kind & OPTION_COPIED) === 0) {
      for (let byte = 0; byte < length; byte++) view.setUint8(at + byte, OPTION_NOP);
    }
    at += length;
  }
}

/**
 * Makes the headers at `ip`, a copy of the packet's fixed header and room for a fragment header,
 * those of one fragment. `nextHeader`: the packet's.
 */
export function writeFragmentHeader6(
  view: DataView,
  ip: number,
  nextHeader: number,
  dataBytes: number,
  offset: number,
  more: boolean,
  id: number,
): void {
  view.setUint16(ip + PAYLOAD_LENGTH, FRAGMENT6_BYTES + dataBytes);
  view.setUint8(ip + NEXT_HEADER, PROTOCOL_FRAGMENT);
  writeFragment6(view, ip + IPV6_BYTES, nextHeader, offset, more, id);
}

/** Bytes in front of the data of an IPv6 fragment's frame. */
export const FRAGMENT6_FRAME_BYTES = ETHERNET_BYTES + IPV6_BYTES + FRAGMENT6_BYTES;
