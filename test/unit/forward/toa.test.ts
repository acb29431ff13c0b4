/**
 * TCP options under FULLNAT: whatever options a packet has, whole or broken, its checksum stays as
 * right or wrong as it was, its payload where it was, and nothing outside the packet is written.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  cleanOptions,
  reduceMss,
  shiftAcknowledgement,
  shiftSack,
  shiftSequence,
} from '#xvs/forward/sequence';
import { fillToa4, makeRoom, ToaRoom } from '#xvs/forward/toa';
import { adjusted, difference } from '#xvs/net/checksum';
import { decode } from '../../support/decode';
import { ethernet } from '../../support/packet';

const AT = 256;
const TCP = AT + 34;
const GUARD = 0xa5;

/** Options of any content, a multiple of four bytes. */
const anyOptions = fc
  .uint8Array({ maxLength: 10, size: 'max' })
  .chain((some) => fc.uint8Array({ minLength: some.length * 4, maxLength: some.length * 4 }));
/** Options as hosts send them, in any order, filled up. */
const soundOptions = fc
  .array(
    fc.constantFrom(
      [1],
      [2, 4, 5, 180],
      [3, 3, 7],
      [4, 2],
      [5, 10, 0, 0, 0, 1, 0, 0, 0, 9],
      [8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
      [254, 8, 0, 1, 1, 2, 3, 4],
      [253, 4, 9, 9],
    ),
    { maxLength: 8 },
  )
  .map((parts) => {
    const bytes = parts.flat().slice(0, 40);
    while (bytes.length % 4 !== 0) bytes.push(1);
    return Uint8Array.from(bytes);
  });
const options = fc.oneof(anyOptions, soundOptions);
const payload = fc.uint8Array({ maxLength: 60, size: 'max' });

interface Laid {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly end: number;
  readonly headerBytes: number;
}

/** A packet that lies at AT in a chunk whose every other byte is known. */
function lay(tcpOptions: Uint8Array, content: Uint8Array): Laid {
  const frame = ethernet()
    .ipv4()
    .tcp({ flags: 'A', acknowledgement: 5, options: tcpOptions })
    .payload(content)
    .build();
  const bytes = new Uint8Array(2048).fill(GUARD);
  bytes.set(frame, AT);
  const view = new DataView(bytes.buffer);
  return { view, bytes, end: AT + frame.length, headerBytes: 20 + tcpOptions.length };
}

function settle(view: DataView, tcp: number, gain: number): void {
  view.setUint16(tcp + 16, adjusted(view.getUint16(tcp + 16), gain));
}

function assertGuards({ bytes, end }: Laid, from: number): void {
  assert.ok(
    bytes.subarray(0, from).every((byte) => byte === GUARD),
    'something in front of the packet was written',
  );
  assert.ok(
    bytes.subarray(end).every((byte) => byte === GUARD),
    'something behind the packet was written',
  );
}

test('property: shifts, cleaning and a smaller MSS keep the checksum right', () => {
  const change = fc.constantFrom('sequence', 'acknowledgement', 'sack', 'clean', 'begin', 'mss');
  fc.assert(
    fc.property(options, payload, change, fc.integer(), (some, content, what, delta) => {
      const laid = lay(some, content);
      const { view, headerBytes } = laid;
      const gain = {
        sequence: () => shiftSequence(view, TCP, delta),
        acknowledgement: () => shiftAcknowledgement(view, TCP, delta),
        sack: () => shiftSack(view, TCP, headerBytes, delta),
        clean: () => cleanOptions(view, TCP, headerBytes, false),
        begin: () => cleanOptions(view, TCP, headerBytes, true),
        mss: () => reduceMss(view, TCP, headerBytes, 8),
      }[what]();
      settle(view, TCP, gain);
      assertGuards(laid, AT);
      const fields = decode(laid.bytes.subarray(AT, laid.end));
      assert.equal(fields['tcp.checksumIs'], 'correct');
      assert.equal(fields['payload'] ?? '', Buffer.from(content).toString('hex'));
    }),
    { numRuns: 1000 },
  );
});

test('property: after cleaning no reader of options finds a forged address', () => {
  fc.assert(
    fc.property(options, (some) => {
      const { view, headerBytes } = lay(some, new Uint8Array(0));
      cleanOptions(view, TCP, headerBytes, false);
      // As the module on real servers reads: from option to option, to the first that is unsound.
      for (let at = TCP + 20; at < TCP + headerBytes; ) {
        const kind = view.getUint8(at);
        if (kind === 0) return;
        if (kind === 1) {
          at++;
          continue;
        }
        const length = at + 1 < TCP + headerBytes ? view.getUint8(at + 1) : 0;
        if (length < 2 || at + length > TCP + headerBytes) return;
        assert.ok(kind !== 254 && kind !== 253, `kind ${kind} at ${at - TCP}`);
        at += length;
      }
    }),
    { numRuns: 1000 },
  );
});

test('property: TOA stands first, the payload where it was, within the room it may take', () => {
  const room = new ToaRoom();
  fc.assert(
    fc.property(options, payload, fc.integer({ min: -8, max: 20 }), (some, content, mayGrow) => {
      const laid = lay(some, content);
      const { view, bytes, headerBytes, end } = laid;
      const before = bytes.slice();
      if (!makeRoom(view, bytes, AT, TCP, headerBytes, 8, mayGrow, room)) {
        assert.deepEqual(bytes, before, 'refused, and yet changed');
        return;
      }
      const grown = room.grownBytes;
      assert.ok(grown <= mayGrow && headerBytes + grown <= 60);
      const [at, tcp] = [AT - grown, TCP - grown];
      const length = end - TCP;
      const gain =
        room.gain + fillToa4(view, tcp, 40001, 0x0a000164) + difference(length, length + grown);
      settle(view, tcp, gain);
      assertGuards(laid, Math.min(at, AT));
      view.setUint16(at + 16, end - at - 14);
      const fields = decode(bytes.subarray(at, end));
      assert.equal(fields['tcp.checksumIs'], 'correct');
      assert.equal(fields['payload'] ?? '', Buffer.from(content).toString('hex'));
      assert.match(String(fields['tcp.options']), /^fe089c410a000164/);
    }),
    { numRuns: 1000 },
  );
});

test('options make room in order: NOPs first, then all but timestamps', () => {
  const room = new ToaRoom();
  const timestamp = [8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
  const cases: readonly (readonly [string, number[], number, string | null])[] = [
    ['all fits', [1, 1, ...timestamp], 8, `0101${'080a0000000100000002'}`],
    ['NOPs go', [1, 1, 1, 1, 1, 1, ...timestamp], 4, '080a0000000100000002' + '0101'],
    [
      'SACK goes',
      [1, 1, ...timestamp, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 1, 1],
      0,
      '080a00000001000000020101',
    ],
    ['no way', [...timestamp, 1, 1], 4, null],
  ];
  for (const [name, some, mayGrow, rest] of cases) {
    const { view, bytes, headerBytes, end } = lay(Uint8Array.from(some), new Uint8Array(8));
    const fits = makeRoom(view, bytes, AT, TCP, headerBytes, 8, mayGrow, room);
    assert.equal(fits, rest !== null, name);
    if (rest === null) continue;
    const at = AT - room.grownBytes;
    view.setUint16(at + 16, end - at - 14);
    const fields = decode(bytes.subarray(at, end));
    assert.equal(String(fields['tcp.options']).slice(16), rest, name);
  }
});
