/**
 * SCTP's part of the connection states (IPVS's table, ip_vs_proto_sctp; spec 3.7): an event is
 * told by a packet's chunks, the next state by the event, the direction and the state. Numbers of
 * states follow UDP's (state.ts).
 */
import {
  CHUNK_ABORT,
  CHUNK_COOKIE_ACK,
  CHUNK_COOKIE_ECHO,
  CHUNK_INIT,
  chunkBytes,
  chunkType,
  SCTP_CHUNK_BYTES,
} from '../net/sctp';

/** Number of the first SCTP state, NONE. */
export const SCTP_FIRST = 12;
export const SCTP_STATE_NAMES: readonly string[] = [
  'NONE',
  'INIT1',
  'INIT',
  'C-SENT',
  'C-REPLIED',
  'C-WAIT',
  'COOKIE',
  'C-ECHOED',
  'ESTABLISHED',
  'S-SENT',
  'S-RECEIVED',
  'S-ACK-SENT',
  'REJECTED',
  'CLOSED',
];
/** Seconds, by state. */
export const SCTP_TIMEOUTS: readonly number[] = [
  2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61,
];
const STATES = SCTP_STATE_NAMES.length;
export const SCTP_NONE = SCTP_FIRST;
export const SCTP_INIT1 = SCTP_FIRST + 1;
export const SCTP_INIT = SCTP_FIRST + 2;
export const SCTP_ESTABLISHED = SCTP_FIRST + 8;
export const SCTP_CLOSED = SCTP_FIRST + 13;

/** Events, as rows of the table. */
const DATA = 0;
export const SCTP_EVENT_INIT = 1;
export const SCTP_EVENT_ABORT = 9;
const EVENTS = 10;
/** Event by chunk type (RFC 9260 3.2); every other type counts as data. */
const EVENT_OF_CHUNK = new Uint8Array(256).fill(DATA);
EVENT_OF_CHUNK[CHUNK_INIT] = SCTP_EVENT_INIT;
EVENT_OF_CHUNK[2] = 2; // INIT ACK
EVENT_OF_CHUNK[CHUNK_COOKIE_ECHO] = 3;
EVENT_OF_CHUNK[CHUNK_COOKIE_ACK] = 4;
EVENT_OF_CHUNK[7] = 5; // SHUTDOWN
EVENT_OF_CHUNK[8] = 6; // SHUTDOWN ACK
EVENT_OF_CHUNK[14] = 7; // SHUTDOWN COMPLETE
EVENT_OF_CHUNK[9] = 8; // ERROR
EVENT_OF_CHUNK[CHUNK_ABORT] = SCTP_EVENT_ABORT;

/** By direction (in, out, in only) and event: next states of NO I1 IN CS CR CW CO CE ES ... */
const ROWS: readonly string[] = [
  'ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL', // in: data
  'I1 IN IN CS CR CW CO CE ES SS SR SA IN IN', // init
  'CW CW CW CS CR CO CO CE ES SS SR SA RJ CL', // init ack
  'CR IN IN CR CR CW CO CE ES SS SR SA RJ CL', // cookie echo
  'ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL', // cookie ack
  'SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL', // shutdown
  'CL IN IN CS CR CW CO CE ES CL SR CL RJ CL', // shutdown ack
  'CL CL CL CS CR CW CO CE ES SS SR CL RJ CL', // shutdown complete
  'CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL', // error
  'CL CL CL CL CL RJ CL CL CL CL CL CL CL CL', // abort
  'ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL', // out: data
  'CW CW CW CW CW CW CW CW ES CW CW CW CW CW',
  'CS CS CS CS CR CW CO CE ES SS SR SA RJ CL',
  'CE CE CE CE CE CE CE CE ES SS SR SA RJ CL',
  'ES ES ES ES ES ES ES ES ES SS SR SA RJ CL',
  'SS SS SS SS SS SS SS SS SS SS SR SA RJ CL',
  'SA SA SA SA SA CW CO CE ES SA SA SA RJ CL',
  'CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
  'CL CL CL CL CL CW CO CE ES SS SR SA RJ CL',
  'CL RJ CL CL CL CL CL CL CL CL CL CL CL CL',
  'ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL', // in only: data
  'I1 IN IN IN IN IN CO CE ES SS SR SA IN IN',
  'CE CE CE CE CE CE CO CE ES SS SR SA RJ CL',
  'ES ES ES ES ES ES CO CE ES SS SR SA RJ CL',
  'ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL',
  'SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL',
  'CL IN IN CS CR CW CO CE CL CL SR CL RJ CL',
  'CL CL CL CL CL CW CO CE ES SS CL CL RJ CL',
  'CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
  'CL CL CL CL CL RJ CL CL CL CL CL CL CL CL',
];
const ABBREVIATIONS = 'NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL'.split(' ');
const TRANSITIONS = new Int32Array(ROWS.length * STATES);
for (const [row, text] of ROWS.entries()) {
  for (const [from, state] of text.split(' ').entries()) {
    TRANSITIONS[row * STATES + from] = SCTP_FIRST + ABBREVIATIONS.indexOf(state);
  }
}

/**
 * Event of a packet whose first chunk is at `at`, inside the packet, which ends at `end`: the first
 * chunk's, but for an abort that is bundled with a cookie's echo or acknowledgement.
 */
export function sctpEvent(view: DataView, at: number, end: number): number {
  const type = chunkType(view, at);
  if (type !== CHUNK_COOKIE_ECHO && type !== CHUNK_COOKIE_ACK) return EVENT_OF_CHUNK[type]!;
  const bytes = (chunkBytes(view, at) + 3) & ~3;
  const next = at + bytes;
  if (bytes >= SCTP_CHUNK_BYTES && next + SCTP_CHUNK_BYTES <= end) {
    if (chunkType(view, next) === CHUNK_ABORT) return SCTP_EVENT_ABORT;
  }
  return EVENT_OF_CHUNK[type]!;
}

/** Next state. `direction`: DIRECTION_* of state.ts; `state`: one of SCTP's. */
export function nextSctpState(direction: number, event: number, state: number): number {
  return TRANSITIONS[(direction * EVENTS + event) * STATES + state - SCTP_FIRST]!;
}
