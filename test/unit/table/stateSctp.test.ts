/** SCTP's events and transitions against IPVS's table (spec 3.7), each row by name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIRECTION_IN, DIRECTION_IN_ONLY, DIRECTION_OUT } from '#xvs/table/state';
import { nextSctpState, SCTP_FIRST, sctpEvent } from '#xvs/table/stateSctp';
import { type ChunkName, sctp } from '../../support/sctp';

const STATES = 'NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL'.split(' ');
const EVENTS =
  'data init initAck cookieEcho cookieAck shutdown shutdownAck shutdownComplete error abort';

/** Where a row differs from staying: "FROM>TO" pairs; all others stay. */
const CHANGES: Readonly<Record<string, readonly string[]>> = {
  in: [
    'NO>ES',
    'NO>I1 I1>IN RJ>IN CL>IN',
    'NO>CW I1>CW IN>CW CW>CO',
    'NO>CR I1>IN CS>CR',
    'NO>ES CE>ES',
    'NO>SR ES>SR',
    'NO>CL I1>IN SS>CL SA>CL',
    'NO>CL I1>CL IN>CL SA>CL',
    'NO>CL CE>CL',
    'NO>CL I1>CL IN>CL CS>CL CR>CL CW>RJ CO>CL CE>CL ES>CL SS>CL SR>CL SA>CL RJ>CL',
  ],
  out: [
    'NO>ES',
    'NO>CW I1>CW IN>CW CS>CW CR>CW CO>CW CE>CW SS>CW SR>CW SA>CW RJ>CW CL>CW',
    'NO>CS I1>CS IN>CS',
    'NO>CE I1>CE IN>CE CS>CE CR>CE CW>CE CO>CE',
    'NO>ES I1>ES IN>ES CS>ES CR>ES CW>ES CO>ES CE>ES',
    'NO>SS I1>SS IN>SS CS>SS CR>SS CW>SS CO>SS CE>SS ES>SS',
    'NO>SA I1>SA IN>SA CS>SA CR>SA SS>SA SR>SA',
    'NO>CL',
    'NO>CL I1>CL IN>CL CS>CL CR>CL',
    'NO>CL I1>RJ IN>CL CS>CL CR>CL CW>CL CO>CL CE>CL ES>CL SS>CL SR>CL SA>CL RJ>CL',
  ],
  inOnly: [
    'NO>ES CW>ES',
    'NO>I1 I1>IN CS>IN CR>IN CW>IN RJ>IN CL>IN',
    'NO>CE I1>CE IN>CE CS>CE CR>CE CW>CE',
    'NO>ES I1>ES IN>ES CS>ES CR>ES CW>ES',
    'NO>ES CS>ES CR>ES CO>ES CE>ES',
    'NO>SR ES>SR',
    'NO>CL I1>IN ES>CL SS>CL SA>CL',
    'NO>CL I1>CL IN>CL CS>CL CR>CL SR>CL SA>CL',
    'NO>CL',
    'NO>CL I1>CL IN>CL CS>CL CR>CL CW>RJ CO>CL CE>CL ES>CL SS>CL SR>CL SA>CL RJ>CL',
  ],
};
const DIRECTIONS = { in: DIRECTION_IN, out: DIRECTION_OUT, inOnly: DIRECTION_IN_ONLY } as const;

function eventOf(...chunks: ChunkName[]): number {
  const packet = sctp({ chunks });
  return sctpEvent(new DataView(packet.buffer), 12, packet.length);
}

test('every state, event and direction leads where IPVS goes', () => {
  let walked = 0;
  for (const [name, direction] of Object.entries(DIRECTIONS)) {
    for (const [row, event] of EVENTS.split(' ').entries()) {
      const changes = new Map(
        CHANGES[name]![row]!.split(' ').map((pair) => pair.split('>') as [string, string]),
      );
      for (const [number, state] of STATES.entries()) {
        const next = nextSctpState(direction, eventOf(event as ChunkName), SCTP_FIRST + number);
        const wanted = changes.get(state) ?? state;
        assert.equal(STATES[next - SCTP_FIRST], wanted, `${name} ${event} in ${state}`);
        walked++;
      }
    }
  }
  assert.equal(walked, 3 * 10 * 14);
});

test('an abort behind a cookie counts as one, behind other chunks it does not', () => {
  assert.equal(eventOf('cookieEcho', 'abort'), eventOf('abort'));
  assert.equal(eventOf('cookieAck', 'abort'), eventOf('abort'));
  assert.equal(eventOf('data', 'abort'), eventOf('data'));
  assert.equal(eventOf('cookieEcho', 'data'), eventOf('cookieEcho'));
  assert.equal(eventOf('sack'), eventOf('data'));
  const packet = sctp({ chunks: ['cookieEcho', 'abort'] });
  const view = new DataView(packet.buffer);
  assert.equal(sctpEvent(view, 12, packet.length - 6), eventOf('cookieEcho'), 'cut off');
  for (const lie of [0, 3, 0xffff]) {
    view.setUint16(14, lie);
    assert.equal(sctpEvent(view, 12, packet.length), eventOf('cookieEcho'), `length ${lie}`);
  }
});
