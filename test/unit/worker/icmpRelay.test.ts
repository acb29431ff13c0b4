/**
 * Hostile ICMP errors: whatever one claims, nothing outside its frame is read or written, and no
 * connection is touched but the one whose ends it quotes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { addressBytes } from '#xvs/net/address';
import {
  CLIENT_PORT,
  Connected,
  errorFrame,
  FAMILIES,
  type Family,
  quote,
  requestSeen,
  SERVICE_PORT,
} from '../../support/icmpCases';
import { internetChecksum, ipv4Bytes, pseudoHeaderSum } from '../../support/packet';
import { CLIENT_SIDE, type Outcome, SERVER_SIDE, type Side } from '../../support/simulation';

const METHODS = ['nat', 'fullnat', 'dr', 'tunnel'] as const;
const RUNS = 400;
const CHUNK_BYTES = 2048;
const HEADROOM = 256;

interface Template {
  readonly side: Side;
  readonly frame: Uint8Array;
}

/** One error from each side that may concern the connection. */
function templates(connected: Connected, method: string): Template[] {
  const { family } = connected;
  const { client, router, vip, real, own } = family;
  const reply = quote(connected.replySeen());
  const list: Template[] = [
    { side: CLIENT_SIDE, frame: errorFrame(family, router, vip, family.tooBig, reply) },
  ];
  if (method === 'tunnel') {
    const quoted = connected.request.subarray(14);
    const frame = errorFrame(family, real, own, family.tooBig, quoted, { rest: 1400 });
    return [...list, { side: SERVER_SIDE, frame }];
  }
  if (method === 'dr') return list;
  const to = method === 'nat' ? client : connected.replyEnd.address;
  const request = quote(requestSeen(connected));
  const frame = errorFrame(family, real, to, family.portUnreachable, request);
  return [...list, { side: SERVER_SIDE, frame }];
}

/** Makes the checksums hold that would otherwise keep a changed frame from being looked at. */
function mend(frame: Uint8Array, { family, headerBytes }: Family): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const icmp = 14 + headerBytes;
  if (frame.length < icmp + 8) return;
  if (family === 4) {
    view.setUint16(16, frame.length - 14);
    view.setUint16(24, 0);
    view.setUint16(24, internetChecksum(frame.subarray(14, icmp)));
  } else view.setUint16(18, frame.length - icmp);
  view.setUint16(icmp + 2, 0);
  const message = frame.subarray(icmp);
  const pseudo = family === 4 ? 0 : pseudoHeaderSum(frame.subarray(22, 54), 58, message.length);
  view.setUint16(icmp + 2, internetChecksum(message, pseudo));
}

interface Change {
  readonly which: number;
  readonly flips: readonly (readonly [number, number])[];
  readonly cut: number;
  readonly mends: boolean;
}

const change: fc.Arbitrary<Change> = fc.record({
  which: fc.nat(1),
  flips: fc.array(fc.tuple(fc.nat(140), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
  cut: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(140) }),
  mends: fc.boolean(),
});

function changed({ frame }: Template, { flips, cut, mends }: Change, family: Family): Uint8Array {
  const bytes = Uint8Array.from(frame.subarray(0, Math.max(14, frame.length - cut)));
  for (const [at, mask] of flips) {
    // Ethernet's type stays: other frames are other tests' business.
    if (14 + at < bytes.length) bytes[14 + at]! ^= mask;
  }
  if (mends) mend(bytes, family);
  return bytes;
}

/** Lets a frame in, at the end of the memory, which holds nothing but `poison`. */
function receive(connected: Connected, side: Side, frame: Uint8Array, poison: number): Outcome {
  const { umem } = connected.simulation.workers[0]!;
  const { bytes, chunkCount } = umem;
  // The last chunk is the next one.
  for (;;) {
    const top = umem.free[umem.freeCount]!;
    if (top === (chunkCount - 1) * CHUNK_BYTES) break;
    umem.free.subarray(1, umem.freeCount + 1).sort();
  }
  bytes.fill(poison);
  const outcome = connected.simulation.receive(side, frame);
  const chunk = (chunkCount - 1) * CHUNK_BYTES;
  const outside = [bytes.subarray(0, chunk), bytes.subarray(chunk + HEADROOM + frame.length)];
  for (const part of outside) assert.ok(part.every((byte) => byte === poison));
  connected.simulation.assertNoLeak();
  return outcome;
}

/** Are the connection's ends somewhere in the frame, as one of its sides has them? */
function quotesOurs(frame: Uint8Array, connected: Connected): boolean {
  const { family, realPort } = connected;
  const { address, port } = connected.replyEnd;
  const ends = (from: string, to: string): Buffer =>
    Buffer.from(
      family.family === 4
        ? [...ipv4Bytes(from), ...ipv4Bytes(to)]
        : [...addressBytes(from), ...addressBytes(to)],
    );
  const ports = (from: number, to: number): Buffer =>
    Buffer.from([from >> 8, from & 255, to >> 8, to & 255]);
  const text = Buffer.from(frame);
  const sides = [
    { addresses: ends(family.vip, family.client), pair: ports(SERVICE_PORT, CLIENT_PORT) },
    { addresses: ends(family.client, family.vip), pair: ports(CLIENT_PORT, SERVICE_PORT) },
    { addresses: ends(address, family.real), pair: ports(port, realPort) },
  ];
  return sides.some(({ addresses, pair }) => text.includes(addresses) && text.includes(pair));
}

for (const family of FAMILIES) {
  for (const method of METHODS) {
    test(`property: ${method}, ${family.ip}: hostile errors`, () => {
      const make = (): Connected =>
        new Connected(family, 'udp', { method }, family.real, { chunks: 4 });
      const [one, other] = [make(), make()];
      const list = templates(one, method);
      let forwarded = 0;
      fc.assert(
        fc.property(change, (how) => {
          const template = list[how.which % list.length]!;
          const frame = changed(template, how, family);
          const outcome = receive(one, template.side, frame, 0x00);
          // What lies behind the frame, or was there before it, makes no difference.
          assert.deepEqual(receive(other, template.side, frame, 0xff), outcome);
          one.simulation.advance(1);
          other.simulation.advance(1);
          const left = outcome.sent[0].length + outcome.sent[1].length;
          assert.ok(left + outcome.host.length <= 1);
          if (left === 0) return;
          forwarded++;
          assert.ok(quotesOurs(frame, one), 'the connection was quoted');
        }),
        { numRuns: RUNS },
      );
      assert.ok(forwarded > RUNS / 20, `${forwarded} of ${RUNS} were forwarded`);
    });
  }
}
