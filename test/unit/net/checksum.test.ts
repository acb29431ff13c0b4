/** Internet checksums: full against the definition, incremental against full. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { adjusted, difference, fold, halves, pseudoSum4, sumBytes } from '#xvs/net/checksum';
import {
  decrementTtl,
  ipv4ChecksumHolds,
  rewriteIpv4Destination,
  rewriteIpv4Source,
  writeIpv4,
} from '#xvs/net/ipv4';
import { internetChecksum, onesSum } from '../../support/packet';

const word32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const word16 = fc.integer({ min: 0, max: 0xffff });

/** Bytes at an odd or even place inside a larger view, with other bytes around them. */
function placed(bytes: Uint8Array, before: number): DataView {
  const around = new Uint8Array(before + bytes.length + 3).fill(0xa5);
  around.set(bytes, before);
  return new DataView(around.buffer);
}

test('the sum of any bytes is the one of the definition, wherever they lie', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2000, size: 'max' }),
      fc.nat({ max: 5 }),
      (bytes, before) => {
        const sum = fold(sumBytes(placed(bytes, before), before, bytes.length));
        assert.equal(sum, onesSum(bytes));
      },
    ),
  );
});

test('the longest frame of ones does not overflow', () => {
  const bytes = new Uint8Array(65536).fill(0xff);
  assert.equal(fold(sumBytes(placed(bytes, 0), 0, bytes.length)), 0xffff);
});

test('the pseudo header sums as its twelve bytes do', () => {
  fc.assert(
    fc.property(word32, word32, fc.constantFrom(6, 17), word16, (from, to, protocol, length) => {
      const bytes = new DataView(new ArrayBuffer(12));
      bytes.setInt32(0, from);
      bytes.setInt32(4, to);
      bytes.setUint8(9, protocol);
      bytes.setUint16(10, length);
      const expected = onesSum(new Uint8Array(bytes.buffer));
      assert.equal(pseudoSum4(from, to, protocol, length), expected);
    }),
  );
});

test('halves are the two 16-bit words of an int32, negative ones too', () => {
  fc.assert(
    fc.property(word16, word16, (high, low) => {
      assert.equal(halves((high << 16) | low), high + low);
    }),
  );
});

test('an adjusted checksum is the one computed anew, for any words changed in any data', () => {
  const change = fc.record({ place: fc.nat({ max: 14 }), value: word32 });
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 60, maxLength: 60, size: 'max' }),
      fc.array(change, { minLength: 1, maxLength: 4, size: 'max' }),
      (data, changes) => {
        data[0] = data[0]! | 1; // all zero has no unique checksum (RFC 1624 section 3)
        const view = new DataView(data.buffer, data.byteOffset, data.length);
        const before = internetChecksum(data);
        let gain = 0;
        for (const { place, value } of changes) {
          gain += difference(view.getInt32(place * 4), value);
          view.setInt32(place * 4, value);
        }
        fc.pre(onesSum(data) !== 0);
        assert.equal(adjusted(before, gain), internetChecksum(data));
      },
    ),
  );
});

test('a wrong checksum stays wrong by as much', () => {
  fc.assert(
    fc.property(word32, word32, word16, fc.integer({ min: 1, max: 0xfffe }), (a, b, sum, error) => {
      const right = adjusted(sum, difference(a, b));
      const wrong = adjusted((sum + error) % 0xffff, difference(a, b));
      const distance = (right - wrong + 2 * 0xffff) % 0xffff;
      assert.notEqual(distance, 0);
    }),
  );
});

function header(fields: Uint8Array, words: number): Uint8Array {
  const bytes = new Uint8Array(words * 4);
  bytes.set(fields.subarray(0, words * 4));
  bytes[0] = 0x40 | words;
  bytes.fill(0, 10, 12);
  new DataView(bytes.buffer).setUint16(10, internetChecksum(bytes));
  return bytes;
}

const anyHeader = fc
  .tuple(
    fc.uint8Array({ minLength: 60, maxLength: 60, size: 'max' }),
    fc.integer({ min: 5, max: 15 }),
  )
  .map(([bytes, words]) => header(bytes, words));

test('an IPv4 header with options holds, and with any bit flipped does not', () => {
  fc.assert(
    fc.property(anyHeader, fc.nat(), (bytes, at) => {
      const view = new DataView(bytes.buffer);
      assert.ok(ipv4ChecksumHolds(view, 0, bytes.length));
      const bit = at % (bytes.length * 8);
      bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7));
      assert.ok(!ipv4ChecksumHolds(view, 0, bytes.length));
    }),
  );
});

test('a rewritten address and the TTL leave a header that holds', () => {
  fc.assert(
    fc.property(anyHeader, word32, word32, (bytes, source, destination) => {
      bytes[8] = bytes[8] === 0 ? 1 : bytes[8]!;
      const whole = header(bytes, bytes.length / 4);
      const view = new DataView(whole.buffer);
      const ttl = view.getUint8(8);
      rewriteIpv4Source(view, 0, source, difference(view.getInt32(12), source));
      assert.ok(ipv4ChecksumHolds(view, 0, whole.length));
      if (ttl > 1) {
        rewriteIpv4Destination(view, 0, destination, difference(view.getInt32(16), destination));
        assert.equal(view.getInt32(16), destination);
      }
      assert.equal(view.getInt32(12), source);
      assert.equal(view.getUint8(8), ttl > 1 ? ttl - 2 : 0);
      assert.ok(ipv4ChecksumHolds(view, 0, whole.length));
    }),
  );
});

test('one less TTL is one less, with the checksum of a header written anew', () => {
  fc.assert(
    fc.property(word16, fc.integer({ min: 1, max: 255 }), word32, word32, (id, ttl, from, to) => {
      const view = new DataView(new ArrayBuffer(40));
      writeIpv4(view, 0, 0xb8, 1500, id, 6, ttl, from, to);
      decrementTtl(view, 0, 0);
      writeIpv4(view, 20, 0xb8, 1500, id, 6, ttl - 1, from, to);
      const bytes = new Uint8Array(view.buffer);
      assert.deepEqual(bytes.subarray(0, 20), bytes.subarray(20));
    }),
  );
});
