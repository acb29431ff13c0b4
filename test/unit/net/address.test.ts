/** Addresses as text, words and bytes. */
import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressBytes, addressWords, formatIpv4, parseIpv4 } from '#xvs/net/address';

test('an IPv4 address survives text', () => {
  fc.assert(
    fc.property(fc.integer({ min: -0x80000000, max: 0x7fffffff }), (address) => {
      assert.equal(parseIpv4(formatIpv4(address)), address);
    }),
  );
  assert.equal(parseIpv4('10.0.0.1'), 0x0a000001);
  assert.equal(parseIpv4('255.255.255.255'), -1);
});

test('what is no IPv4 address is refused by its text', () => {
  for (const text of ['', '1.2.3', '1.2.3.256', '::1', '01.2.3.4', '1.2.3.4 ']) {
    assert.throws(() => parseIpv4(text), {
      name: 'RangeError',
      message: `"${text}" is no IPv4 address`,
    });
  }
});

test('any spelling of an IPv6 address gives its eight groups', () => {
  const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), {
    minLength: 8,
    maxLength: 8,
    size: 'max',
  });
  fc.assert(
    fc.property(groups, fc.nat({ max: 7 }), fc.nat({ max: 7 }), (words, one, other) => {
      const [from, to] = [Math.min(one, other), Math.max(one, other)];
      const zeroed = words.map((word, at) => (at >= from && at <= to ? 0 : word));
      const hex = zeroed.map((word) => word.toString(16));
      const short = `${hex.slice(0, from).join(':')}::${hex.slice(to + 1).join(':')}`;
      for (const text of [hex.join(':'), short]) {
        assert.ok(isIPv6(text), text);
        const view = new DataView(addressBytes(text).buffer);
        assert.deepEqual(
          zeroed,
          zeroed.map((_word, at) => view.getUint16(at * 2)),
        );
      }
    }),
  );
});

test('an IPv4 address stands in the first word, an embedded one in the last', () => {
  assert.deepEqual([...addressWords('198.51.100.1')], [parseIpv4('198.51.100.1'), 0, 0, 0]);
  const embedded = addressWords('::ffff:198.51.100.1');
  assert.deepEqual([...embedded], [0, 0, 0xffff, parseIpv4('198.51.100.1')]);
});
