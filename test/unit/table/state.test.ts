/**
 * TCP states: every state, every combination of flags, every direction, against the table of
 * IPVS's ip_vs_proto_tcp as its documentation tells it, written down here once more.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DEFAULT_TIMEOUTS,
  DIRECTION_IN,
  DIRECTION_IN_ONLY,
  DIRECTION_OUT,
  isActiveState,
  nextTcpState,
  STATE_COUNT,
  STATE_NAMES,
  UDP_NORMAL,
} from '#xvs/table/state';

const CODES: Readonly<Record<string, string>> = {
  NO: 'NONE',
  ES: 'ESTABLISHED',
  SS: 'SYN_SENT',
  SR: 'SYN_RECV',
  FW: 'FIN_WAIT',
  TW: 'TIME_WAIT',
  CL: 'CLOSE',
  CW: 'CLOSE_WAIT',
  LA: 'LAST_ACK',
  LI: 'LISTEN',
  SA: 'SYNACK',
};
const COLUMNS = 'NO ES SS SR FW TW CL CW LA LI SA'.split(' ');

const TABLE = `
  IN  syn  SR ES ES SR SR SR SR SR SR SR SR
  IN  fin  CL CW SS TW TW TW CL CW LA LI TW
  IN  ack  ES ES SS ES FW TW CL CW CL LI ES
  IN  rst  CL CL CL SR CL CL CL CL LA LI SR
  OUT syn  SS ES SS SR SS SS SS SS SS LI SR
  OUT fin  TW FW SS TW FW TW CL TW LA LI TW
  OUT ack  ES ES SS ES FW TW CL CW LA ES ES
  OUT rst  CL CL SS CL CL TW CL CL CL CL CL
  ONE syn  SR ES ES SR SR SR SR SR SR SR SR
  ONE fin  CL FW SS TW FW TW CL CW LA LI TW
  ONE ack  ES ES SS ES FW TW CL CW CL LI ES
  ONE rst  CL CL CL SR CL CL CL CL LA LI CL
`;
const DIRECTIONS: Readonly<Record<string, number>> = {
  IN: DIRECTION_IN,
  OUT: DIRECTION_OUT,
  ONE: DIRECTION_IN_ONLY,
};

/** "IN syn NONE" -> "SYN_RECV". */
const expected = new Map<string, string>();
for (const line of TABLE.trim().split('\n')) {
  const [direction, event, ...next] = line.trim().split(/ +/);
  assert.equal(next.length, COLUMNS.length);
  next.forEach((code, at) => {
    expected.set(`${direction} ${event} ${CODES[COLUMNS[at]!]}`, CODES[code]!);
  });
}

/** RST before SYN before FIN before ACK. */
function eventOf(flags: number): string | undefined {
  if (flags & 0x04) return 'rst';
  if (flags & 0x02) return 'syn';
  if (flags & 0x01) return 'fin';
  return flags & 0x10 ? 'ack' : undefined;
}

test('every state, flag and direction leads where IPVS goes', () => {
  let walked = 0;
  for (const [name, direction] of Object.entries(DIRECTIONS)) {
    for (let flags = 0; flags < 64; flags++) {
      const event = eventOf(flags);
      for (const code of COLUMNS) {
        const state = CODES[code]!;
        const next = STATE_NAMES[nextTcpState(direction, flags, STATE_NAMES.indexOf(state))];
        const wanted = event === undefined ? 'CLOSE' : expected.get(`${name} ${event} ${state}`);
        assert.equal(next, wanted, `${name} flags ${flags.toString(2)} in ${state}`);
        walked++;
      }
    }
  }
  assert.equal(walked, 3 * 64 * 11);
});

test('timeouts, active states and names are those of IPVS', () => {
  const rows = STATE_NAMES.map(
    (name, state) => `${name} ${DEFAULT_TIMEOUTS[state]} ${isActiveState(state)}`,
  );
  assert.deepEqual(rows, [
    'NONE 2 false',
    'ESTABLISHED 900 true',
    'SYN_SENT 120 true',
    'SYN_RECV 60 true',
    'FIN_WAIT 120 false',
    'TIME_WAIT 120 false',
    'CLOSE 10 false',
    'CLOSE_WAIT 60 false',
    'LAST_ACK 30 false',
    'LISTEN 120 false',
    'SYNACK 120 true',
    'UDP 300 false',
    'NONE 2 false',
    'INIT1 4 false',
    'INIT 61 false',
    'C-SENT 61 false',
    'C-REPLIED 61 false',
    'C-WAIT 61 false',
    'COOKIE 61 false',
    'C-ECHOED 61 false',
    'ESTABLISHED 900 true',
    'S-SENT 61 false',
    'S-RECEIVED 61 false',
    'S-ACK-SENT 61 false',
    'REJECTED 4 false',
    'CLOSED 61 false',
  ]);
  assert.equal(STATE_NAMES.length, STATE_COUNT);
  assert.equal(STATE_NAMES[UDP_NORMAL], 'UDP');
});
