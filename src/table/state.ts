/**
 * Connection states and what moves them (IPVS's TCP table, ip_vs_proto_tcp; spec 3.7). UDP has a
 * single state, SCTP its own (stateSctp.ts). State numbers are stored in connection entries.
 */
import { SCTP_ESTABLISHED, SCTP_STATE_NAMES, SCTP_TIMEOUTS } from './stateSctp';

export const NONE = 0;
export const ESTABLISHED = 1;
export const SYN_SENT = 2;
export const SYN_RECV = 3;
export const FIN_WAIT = 4;
export const TIME_WAIT = 5;
export const CLOSE = 6;
export const CLOSE_WAIT = 7;
export const LAST_ACK = 8;
export const LISTEN = 9;
export const SYNACK = 10;
export const UDP_NORMAL = 11;
export const STATE_COUNT = 26;

/** As `ipvsadm -Lnc` spells them. */
export const STATE_NAMES: readonly string[] = [
  'NONE',
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'SYNACK',
  'UDP',
  ...SCTP_STATE_NAMES,
];

/** Seconds, by state. */
export const DEFAULT_TIMEOUTS: readonly number[] = [
  2,
  900,
  120,
  60,
  120,
  120,
  10,
  60,
  30,
  120,
  120,
  300,
  ...SCTP_TIMEOUTS,
];

export const DIRECTION_IN = 0;
export const DIRECTION_OUT = 1;
/** From the client, of a connection whose replies are not seen (DR, TUN). */
export const DIRECTION_IN_ONLY = 2;

const SYN = 0;
const FIN = 1;
const ACK = 2;
const RST = 3;
const EVENT_COUNT = 4;
const TCP_STATES = 11;

/** One row: next state for the current NO ES SS SR FW TW CL CW LA LI SA. */
const ROWS: readonly string[] = [
  'SR ES ES SR SR SR SR SR SR SR SR', // in: syn
  'CL CW SS TW TW TW CL CW LA LI TW', // in: fin
  'ES ES SS ES FW TW CL CW CL LI ES', // in: ack
  'CL CL CL SR CL CL CL CL LA LI SR', // in: rst
  'SS ES SS SR SS SS SS SS SS LI SR', // out: syn
  'TW FW SS TW FW TW CL TW LA LI TW', // out: fin
  'ES ES SS ES FW TW CL CW LA ES ES', // out: ack
  'CL CL SS CL CL TW CL CL CL CL CL', // out: rst
  'SR ES ES SR SR SR SR SR SR SR SR', // in only: syn
  'CL FW SS TW FW TW CL CW LA LI TW', // in only: fin
  'ES ES SS ES FW TW CL CW CL LI ES', // in only: ack
  'CL CL CL SR CL CL CL CL LA LI CL', // in only: rst
];
/** The rows that secure_tcp replaces: a handshake must be complete before a state is believed. */
const SECURE_ROWS: Readonly<Record<number, string>> = {
  0: 'SR ES ES SR SR SR SR SR SR SR SA',
  1: 'CL CW SS TW TW TW CL CW LA LI SA',
  2: 'ES ES SS SR FW TW CL CW CL LI SA',
  3: 'CL CL CL SR CL CL CL CL LA LI CL',
  4: 'SS ES SS SA SS SS SS SS SS LI SA',
  8: 'SA ES ES SR SA SA SA SA SA SA SA',
};
const ABBREVIATIONS = 'NO ES SS SR FW TW CL CW LA LI SA'.split(' ');

function compile(rows: readonly string[]): Int32Array {
  const table = new Int32Array(rows.length * TCP_STATES);
  rows.forEach((row, at) => {
    row.split(' ').forEach((state, from) => {
      table[at * TCP_STATES + from] = ABBREVIATIONS.indexOf(state);
    });
  });
  return table;
}
const TRANSITIONS = compile([...ROWS, ...ROWS.map((row, at) => SECURE_ROWS[at] ?? row)]);
/** Where the table of secure_tcp begins in TRANSITIONS. */
const SECURE = ROWS.length * TCP_STATES;

/** Event by FIN 1, SYN 2, RST 4 and ACK (as 8): RST > SYN > FIN > ACK; none of them: -1. */
const EVENTS = new Int32Array(16);
for (let flags = 0; flags < 16; flags++) {
  if (flags & 4) EVENTS[flags] = RST;
  else if (flags & 2) EVENTS[flags] = SYN;
  else if (flags & 1) EVENTS[flags] = FIN;
  else EVENTS[flags] = flags & 8 ? ACK : -1;
}

/**
 * Next state of a TCP connection.
 * @param direction DIRECTION_*
 * @param flags FIN, SYN, RST, PSH, ACK, URG as in the header's low six bits
 * @param secure 1: by the table of secure_tcp
 */
export function nextTcpState(direction: number, flags: number, state: number, secure = 0): number {
  const event = EVENTS[(flags & 7) | ((flags >>> 1) & 8)]!;
  if (event < 0) return CLOSE;
  return TRANSITIONS[(direction * EVENT_COUNT + event) * TCP_STATES + state + secure * SECURE]!;
}

const ACTIVE_STATES =
  (1 << ESTABLISHED) | (1 << SYN_SENT) | (1 << SYN_RECV) | (1 << SYNACK) | (1 << SCTP_ESTABLISHED);

/** True in the states that count as ActiveConn. */
export function isActiveState(state: number): boolean {
  return ((ACTIVE_STATES >>> state) & 1) === 1;
}
