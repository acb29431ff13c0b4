/**
 * TCP under FULLNAT (RFC 9293 3.1, 3.2; RFC 2018 for SACK; RFC 7323 for timestamps): many clients
 * come to a real server from one address, so their sequence numbers are moved into a space of the
 * director's own and their timestamps are not offered; what a client could forge about its address
 * is overwritten.
 *
 * `tcp`: offset of the TCP header, `headerBytes` its length with options, inside the packet. Each
 * function returns what the checksum's sum gains (see `difference`), 0 when nothing changed.
 * Numbers are int32, host order.
 */
import { difference, sumBytes } from '../net/checksum';
import { TCP, TCP_BYTES_MIN } from '../net/tcp';

const { sequence: SEQUENCE, acknowledgement: ACKNOWLEDGEMENT } = TCP.at;

// Option kinds (IANA TCP parameters).
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_SACK = 5;
export const OPTION_TIMESTAMP = 8;
/** Kinds for experiments, in which real servers look for a client's address. */
const OPTION_EXPERIMENT_6 = 253;
export const OPTION_TOA = 254;

const MSS_BYTES = 4;
const SACK_BLOCK_BYTES = 8;

export function tcpSequence(view: DataView, tcp: number): number {
  return view.getInt32(tcp + SEQUENCE);
}
export function tcpAcknowledgement(view: DataView, tcp: number): number {
  return view.getInt32(tcp + ACKNOWLEDGEMENT);
}

export function shiftSequence(view: DataView, tcp: number, delta: number): number {
  const before = view.getInt32(tcp + SEQUENCE);
  const after = (before + delta) | 0;
  view.setInt32(tcp + SEQUENCE, after);
  return difference(before, after);
}
export function shiftAcknowledgement(view: DataView, tcp: number, delta: number): number {
  const before = view.getInt32(tcp + ACKNOWLEDGEMENT);
  const after = (before + delta) | 0;
  view.setInt32(tcp + ACKNOWLEDGEMENT, after);
  return difference(before, after);
}

/**
 * The length of the option at `at`, 0 when there is none: the end, or what no reader of options
 * would go beyond. A NOP is 1 long.
 */
export function optionBytes(view: DataView, at: number, end: number): number {
  if (at >= end) return 0;
  const kind = view.getUint8(at);
  if (kind === OPTION_END) return 0;
  if (kind === OPTION_NOP) return 1;
  if (at + 1 >= end) return 0;
  const length = view.getUint8(at + 1);
  return length < 2 || at + length > end ? 0 : length;
}

/**
 * Overwrites with NOPs, in a packet to a real server, options that would tell it a client's
 * address, and in one that begins a connection the timestamps.
 */
export function cleanOptions(
  view: DataView,
  tcp: number,
  headerBytes: number,
  begins: boolean,
): number {
  const start = tcp + TCP_BYTES_MIN;
  const end = tcp + headerBytes;
  let before = -1;
  let at = start;
  for (let length = optionBytes(view, at, end); length !== 0; ) {
    const kind = view.getUint8(at);
    if (isForged(kind) || (begins && kind === OPTION_TIMESTAMP)) {
      if (before < 0) before = sumBytes(view, start, end - start);
      for (let i = 0; i < length; i++) view.setUint8(at + i, OPTION_NOP);
    }
    at += length;
    length = optionBytes(view, at, end);
  }
  return before < 0 ? 0 : gainOf(before, sumBytes(view, start, end - start));
}

function isForged(kind: number): boolean {
  return kind === OPTION_TOA || kind === OPTION_EXPERIMENT_6;
}

/** Takes `lessBytes` from the MSS that a real server offers: room for what is put in later. */
export function reduceMss(
  view: DataView,
  tcp: number,
  headerBytes: number,
  lessBytes: number,
): number {
  const at = findOption(view, tcp, headerBytes, OPTION_MSS);
  if (at === 0 || view.getUint8(at + 1) !== MSS_BYTES) return 0;
  const mss = view.getUint16(at + 2);
  if (mss <= 2 * lessBytes) return 0;
  const start = tcp + TCP_BYTES_MIN;
  const optionsBytes = headerBytes - TCP_BYTES_MIN;
  const before = sumBytes(view, start, optionsBytes);
  view.setUint16(at + 2, mss - lessBytes);
  return gainOf(before, sumBytes(view, start, optionsBytes));
}

/** Moves the edges of what a real server has received beyond a gap. */
export function shiftSack(view: DataView, tcp: number, headerBytes: number, delta: number): number {
  const at = findOption(view, tcp, headerBytes, OPTION_SACK);
  if (at === 0) return 0;
  const start = tcp + TCP_BYTES_MIN;
  const optionsBytes = headerBytes - TCP_BYTES_MIN;
  const before = sumBytes(view, start, optionsBytes);
  const last = at + view.getUint8(at + 1) - SACK_BLOCK_BYTES;
  for (let block = at + 2; block <= last; block += SACK_BLOCK_BYTES) {
    view.setInt32(block, (view.getInt32(block) + delta) | 0);
    view.setInt32(block + 4, (view.getInt32(block + 4) + delta) | 0);
  }
  return gainOf(before, sumBytes(view, start, optionsBytes));
}

/** Offset of the first option of a kind, 0 = none. */
function findOption(view: DataView, tcp: number, headerBytes: number, kind: number): number {
  const end = tcp + headerBytes;
  let at = tcp + TCP_BYTES_MIN;
  for (let length = optionBytes(view, at, end); length !== 0; ) {
    if (view.getUint8(at) === kind) return at;
    at += length;
    length = optionBytes(view, at, end);
  }
  return 0;
}

function gainOf(before: number, after: number): number {
  return (~before & 0xffff) + after;
}
