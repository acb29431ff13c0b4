/** IPv6 addresses as text: what the C library writes, which Node's own class asks. */
import assert from 'node:assert/strict';
import { SocketAddress } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressWords } from '#xvs/net/address';
import { formatIpv6 } from '#xvs/net/formatIpv6';

/** Words with many zero groups, where the shortening happens. */
const group = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  fc.integer({ max: 0xffff, min: 0 }),
);
const word = fc.tuple(group, group).map(([high, low]) => (high << 16) | low);

test('IPv6 text is the C library’s, and reads back', () => {
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), (words) => {
      const text = formatIpv6(...words);
      const full = words.map(
        (one) => `${(one >>> 16).toString(16)}:${(one & 0xffff).toString(16)}`,
      );
      const address = new SocketAddress({ address: full.join(':'), family: 'ipv6' });
      assert.equal(text, address.address);
      assert.deepEqual([...addressWords(text)], words);
    }),
    { numRuns: 2000 },
  );
  assert.equal(formatIpv6(0, 0, 0xffff, 0x0a000001), '::ffff:10.0.0.1');
  assert.equal(formatIpv6(0, 0, 0, 0), '::');
  assert.equal(formatIpv6(7, 0, 0, 0), '0:7::');
});
