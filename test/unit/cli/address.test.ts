/** Addresses: all of inet_aton's forms, IPv6 text, and the corners of `host[:port]`. */
import assert from 'node:assert/strict';
import { isIPv6, SocketAddress } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseEndpoint, parseInteger, parsePrefixLength } from '#xvs/cli/address';
import {
  canonicalAddress,
  formatIpv4,
  formatIpv6,
  parseIpv4,
  parseIpv4Loose,
  parseIpv6,
} from '#xvs/cli/addressText';
import { RECORDED_SOURCE } from '../../support/cliGolden';

const LOOSE: readonly (readonly [string, string | null])[] = [
  ['10.1', '10.0.0.1'],
  ['10.1.2', '10.1.0.2'],
  ['167772161', '10.0.0.1'],
  ['010.1.1.1', '8.1.1.1'],
  ['0x0a.0X1.1.1', '10.1.1.1'],
  ['0xffffffff', '255.255.255.255'],
  ['0x100000000', null],
  ['10.1.1.1 ', '10.1.1.1'],
  ['10.1.1.1 anything', '10.1.1.1'],
  ['24', '0.0.0.24'],
  ['1.2.65535', '1.2.255.255'],
  ['1.2.65536', null],
  ['256.1.1.1', null],
  ['1.2.3.256', null],
  ['1.2.3.4.', null],
  ['1.2.3.4.5', null],
  ['1..2', null],
  ['08.1.1.1', null],
  ['0x.1.1.1', null],
  [' 1.1.1.1', null],
  ['-1', null],
  ['', null],
];

for (const [text, expected] of LOOSE) {
  test(`loose IPv4 "${text}"`, () => {
    const value = parseIpv4Loose(text);
    assert.equal(value === null ? null : formatIpv4(value), expected);
  });
}

test('IPv4 text: out and in again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (value) => {
      assert.equal(parseIpv4(formatIpv4(value)), value);
      assert.equal(parseIpv4Loose(formatIpv4(value)), value);
    }),
  );
  for (const text of ['1.2.3', '01.2.3.4', '1.2.3.4 ', '1.2.3.+4', '1.2.3.256', '0x1.1.1.1']) {
    assert.equal(parseIpv4(text), null, text);
  }
});

/** Groups with many zeros, where the shortening happens. */
const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), {
  minLength: 8,
  maxLength: 8,
});

test('IPv6 text is what the C library prints, and is read back', () => {
  fc.assert(
    fc.property(groups, (words) => {
      const text = formatIpv6(words);
      const full = words.map((word) => word.toString(16)).join(':');
      assert.equal(text, new SocketAddress({ address: full, family: 'ipv6' }).address);
      assert.deepEqual(parseIpv6(text), words);
      assert.deepEqual(parseIpv6(full), words);
    }),
  );
});

test('IPv6 text is accepted as the C library accepts it', () => {
  const characters = fc.constantFrom('0', '1', 'f', 'A', ':', '::', '.', '255', '10.0.0.1', 'g');
  const text = fc.array(characters, { maxLength: 14 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (candidate) => {
      assert.equal(parseIpv6(candidate) !== null, isIPv6(candidate), candidate);
    }),
    { numRuns: 2000 },
  );
  for (const good of ['::', '1::', '::1', '1:2:3:4:5:6:7::', '::ffff:10.1.2.3', '1::10.0.0.1']) {
    assert.ok(parseIpv6(good), good);
  }
  for (const bad of [
    '',
    ':',
    ':::',
    '1:2',
    '1::2::3',
    'fe80::1%eth0',
    '12345::',
    '1.2.3.4',
    '::1.2.3',
  ]) {
    assert.equal(parseIpv6(bad), null, bad);
  }
});

test('canonical addresses', () => {
  assert.deepEqual(canonicalAddress('2001:DB8:0::1'), { family: 6, address: '2001:db8::1' });
  assert.deepEqual(canonicalAddress('10.0.0.1'), { family: 4, address: '10.0.0.1' });
  assert.equal(canonicalAddress('10.1'), null);
});

type Expected = readonly [family: 4 | 6, address: string, port: number | null] | null;
const ENDPOINTS: readonly (readonly [string, Expected])[] = [
  ['10.1.1.1:80', [4, '10.1.1.1', 80]],
  ['10.1:80', [4, '10.0.0.1', 80]],
  ['1234:80', [4, '0.0.4.210', 80]],
  ['10.1.1.1', [4, '10.1.1.1', null]],
  ['10.1.1.1:0', [4, '10.1.1.1', 0]],
  ['10.1.1.1: 80', [4, '10.1.1.1', 80]],
  ['10.1.1.1:+80', [4, '10.1.1.1', 80]],
  ['localhost:http', [4, '127.0.0.1', 80]],
  ['10.1.1.1:domain', [4, '10.1.1.1', 53]],
  ['2001:db8::1', [6, '2001:db8::1', null]],
  ['2001:db8::1:80', [6, '2001:db8::1:80', null]],
  ['[2001:db8::1]:80', [6, '2001:db8::1', 80]],
  ['[2001:db8::1]:http', [6, '2001:db8::1', 80]],
  ['[10.1.1.1]:80', [4, '10.1.1.1', null]],
  ['[localhost]:80', [4, '127.0.0.1', null]],
  ['[2001:db8::1]', null],
  ['[2001:db8::1', null],
  ['[2001:db8::1]80', null],
  ['[]:80', null],
  ['80', null],
  ['', null],
  [':80', null],
  ['10.1.1.1:', null],
  ['10.1.1.1:65536', null],
  ['10.1.1.1:-1', null],
  ['10.1.1.1:80 ', null],
  ['10.1.1.1:0x50', null],
  ['10.1.1.1:nosuch', null],
  ['nosuch:80', null],
];

for (const [text, expected] of ENDPOINTS) {
  test(`endpoint "${text}"`, () => {
    const found = parseEndpoint(text, 'tcp', RECORDED_SOURCE);
    const actual = found === null ? null : [found.family, found.address, found.port];
    assert.deepEqual(actual, expected);
  });
}

test('the name of a port belongs to a protocol, and to none before there is one', () => {
  assert.equal(parseEndpoint('10.1.1.1:http', 'udp', RECORDED_SOURCE), null);
  assert.equal(parseEndpoint('10.1.1.1:http', null, RECORDED_SOURCE), null);
  assert.equal(parseEndpoint('10.1.1.1:80', null, RECORDED_SOURCE)?.port, 80);
});

test('integers: base 10, all of the text, within limits', () => {
  assert.equal(parseInteger(' 7', 0, 9), 7);
  assert.equal(parseInteger('007', 0, 9), 7);
  for (const text of ['', ' ', '7 ', '0x7', '7.0', '10', '-1', '7a', '99999999999999999999']) {
    assert.equal(parseInteger(text, 0, 9), null, text);
  }
});

test('IPv6 masks are read as atoi reads', () => {
  assert.equal(parsePrefixLength('64abc'), 64);
  assert.equal(parsePrefixLength('128'), 128);
  for (const text of ['0', '129', '-1', 'abc', 'ffff::', '255.255.255.0']) {
    assert.equal(parsePrefixLength(text), null, text);
  }
});
