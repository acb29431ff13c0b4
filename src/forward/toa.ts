/**
 * TOA, "TCP option address": the client's address and port in an option of their own, which a
 * module on the real server reads (kind 254; length 8 for IPv4, 20 for IPv6):
 *
 *   +------+--------+-------------+----------------------------+
 *   | 0xfe | length | port, 2     | address, 4 or 16           |   network byte order
 *   +------+--------+-------------+----------------------------+
 *
 * It stands directly behind the 20 bytes of the TCP header. The headers in front of it move
 * towards the chunk's start (its headroom takes them), the payload stays where it is.
 */
import { sumBytes } from '../net/checksum';
import { TCP, TCP_BYTES_MIN } from '../net/tcp';
import { OPTION_TIMESTAMP, OPTION_TOA, optionBytes } from './sequence';

export const TOA_BYTES_4 = 8;
export const TOA_BYTES_6 = 20;
const TCP_BYTES_MAX = 60;
const OPTIONS_MAX = TCP_BYTES_MAX - TCP_BYTES_MIN;
const OPTION_NOP = 1;
const { offsetFlags: OFFSET_FLAGS } = TCP.at;

// How much of the other options is kept.
const KEEP_ALL = 0;
const KEEP_MEANING = 1; // not NOPs
const KEEP_TIMESTAMP = 2;

/** The options kept, in the making: the thread's own. */
const kept = new Uint8Array(OPTIONS_MAX);

/** What `makeRoom` did. */
export class ToaRoom {
  /** Bytes by which the packet grew, and its headers moved to the front; may be negative. */
  grownBytes = 0;
  /** What the sum of the TCP header gained, without address and port: see `fillToa4`. */
  gain = 0;
}

/**
 * Makes room for an option of `toaBytes` behind the fixed part of the TCP header at `tcp`, whose
 * headers begin at `at` (the Ethernet header). Other options make room for it if they must: first
 * NOPs, then all but timestamps. `mayGrow`: bytes that the packet may become longer. False: there
 * is no room, and nothing was changed. The room is filled with zeros but for kind and length.
 */
export function makeRoom(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  tcp: number,
  headerBytes: number,
  toaBytes: number,
  mayGrow: number,
  room: ToaRoom,
): boolean {
  for (let keep = KEEP_ALL; keep <= KEEP_TIMESTAMP; keep++) {
    const keptBytes = collect(view, tcp, headerBytes, keep);
    const wanted = TCP_BYTES_MIN + toaBytes + keptBytes;
    const grown = wanted - headerBytes;
    if (wanted > TCP_BYTES_MAX || grown > mayGrow) continue;
    const rest = tcp + OFFSET_FLAGS;
    const before = sumBytes(view, rest, headerBytes - OFFSET_FLAGS);
    bytes.copyWithin(at - grown, at, tcp + TCP_BYTES_MIN);
    const moved = tcp - grown;
    const option = moved + TCP_BYTES_MIN;
    view.setUint8(
      moved + OFFSET_FLAGS,
      (wanted << 2) | (view.getUint8(moved + OFFSET_FLAGS) & 0xf),
    );
    bytes.fill(0, option, option + toaBytes);
    view.setUint16(option, (OPTION_TOA << 8) | toaBytes);
    for (let i = 0; i < keptBytes; i++) view.setUint8(option + toaBytes + i, kept[i]!);
    room.grownBytes = grown;
    room.gain = (~before & 0xffff) + sumBytes(view, moved + OFFSET_FLAGS, wanted - OFFSET_FLAGS);
    return true;
  }
  return false;
}

/** Copies the options to keep into `kept`, filled up with NOPs. Returns their bytes, of four. */
function collect(view: DataView, tcp: number, headerBytes: number, keep: number): number {
  const end = tcp + headerBytes;
  let at = tcp + TCP_BYTES_MIN;
  let count = 0;
  if (keep === KEEP_ALL) {
    for (; at < end; at++) kept[count++] = view.getUint8(at);
    return count;
  }
  for (let length = optionBytes(view, at, end); length !== 0; ) {
    const kind = view.getUint8(at);
    if (kind === OPTION_TIMESTAMP || (keep === KEEP_MEANING && kind !== OPTION_NOP)) {
      for (let i = 0; i < length; i++) kept[count++] = view.getUint8(at + i);
    }
    at += length;
    length = optionBytes(view, at, end);
  }
  while ((count & 3) !== 0) kept[count++] = OPTION_NOP;
  return count;
}

/** Writes the client's port and IPv4 address into the option. Returns what the sum gains. */
export function fillToa4(view: DataView, tcp: number, port: number, address: number): number {
  const option = tcp + TCP_BYTES_MIN;
  view.setUint16(option + 2, port);
  view.setInt32(option + 4, address);
  return port + (address >>> 16) + (address & 0xffff);
}

/** The same for IPv6. */
export function fillToa6(
  view: DataView,
  tcp: number,
  port: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): number {
  const option = tcp + TCP_BYTES_MIN;
  view.setUint16(option + 2, port);
  view.setInt32(option + 4, word0);
  view.setInt32(option + 8, word1);
  view.setInt32(option + 12, word2);
  view.setInt32(option + 16, word3);
  return port + sumBytes(view, option + 4, 16);
}
