/**
 * NAT both ways: what goes in and comes back is what was sent, and whatever checksum a packet had
 * (right, wrong, none, left to the device) it has as IPVS would leave it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { unfinishedChecksum } from '#xvs/forward/checksum';
import { translate } from '#xvs/forward/nat';
import { formatIpv4, parseIpv4 } from '#xvs/net/address';
import { IPV4_DESTINATION, IPV4_SOURCE } from '#xvs/net/ipv4';
import { finishChecksum } from '#xvs/port/memoryPort';
import { decode, differences } from '../../support/decode';
import { type Checksum, ethernet } from '../../support/packet';

const address = fc.integer({ min: -0x80000000, max: 0x7fffffff }).map(formatIpv4);
const port = fc.integer({ min: 0, max: 0xffff });

interface Sample {
  readonly kind: 'tcp' | 'udp';
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
  readonly options: Uint8Array;
  readonly ttl: number;
}

const sample: fc.Arbitrary<Sample> = fc.record({
  kind: fc.constantFrom('tcp' as const, 'udp' as const),
  source: address,
  destination: address,
  sourcePort: port,
  destinationPort: port,
  payload: fc.uint8Array({ maxLength: 100, size: 'max' }),
  options: fc.constantFrom(new Uint8Array(0), Uint8Array.from([1, 1, 1, 0])),
  ttl: fc.integer({ min: 3, max: 255 }),
});

function build(one: Sample, checksum: Checksum): Uint8Array {
  const { source, destination, options, ttl } = one;
  const ports = { source: one.sourcePort, destination: one.destinationPort, checksum };
  const start = ethernet().ipv4({ source, destination, options, ttl });
  const whole = one.kind === 'tcp' ? start.tcp({ ...ports, flags: 'PA' }) : start.udp(ports);
  return whole.payload(one.payload).build();
}

/** Translates a copy that lies somewhere in a larger buffer; does what the port is asked for. */
function apply(inbound: boolean, frame: Uint8Array, to: string, newPort: number): Uint8Array {
  const at = 256;
  const buffer = new Uint8Array(2048);
  buffer.set(frame, at);
  const view = new DataView(buffer.buffer);
  const ip = at + 14;
  const headerBytes = (frame[14]! & 15) * 4;
  const protocol = frame[14 + 9]!;
  const length = frame.length - 14 - headerBytes;
  const transport = ip + headerBytes;
  const wanted = parseIpv4(to);
  const field = inbound ? IPV4_DESTINATION : IPV4_SOURCE;
  const halfWords = new Uint16Array(buffer.buffer);
  const request = translate(
    view,
    halfWords,
    at,
    ip,
    transport,
    protocol,
    length,
    field,
    wanted,
    newPort,
  );
  finishChecksum(view, at, frame.length, request);
  assert.ok(
    buffer.every((byte, index) => byte === 0 || (index >= at && index < at + frame.length)),
    'a byte outside the frame was written',
  );
  return buffer.slice(at, at + frame.length);
}

test('a translated destination: two fields, TTL one less, checksums right, no other byte', () => {
  fc.assert(
    fc.property(sample, address, port, (one, real, realPort) => {
      const frame = build(one, 'correct');
      const changed = apply(true, frame, real, realPort);
      const fields = decode(changed);
      assert.equal(fields['ipv4.checksumIs'], 'correct');
      assert.equal(fields[`${one.kind}.checksumIs`], 'correct');
      const expected = { ...one, destination: real, destinationPort: realPort, ttl: one.ttl - 1 };
      assert.deepEqual(differences(changed, build(expected, 'correct')), []);
    }),
  );
});

test('out after in is what was sent, but for two hops', () => {
  fc.assert(
    fc.property(sample, address, port, (one, real, realPort) => {
      const inside = apply(true, build(one, 'correct'), real, realPort);
      // The server's answer, seen from the wire: ends exchanged.
      const answer: Sample = {
        ...one,
        source: real,
        sourcePort: realPort,
        destination: one.source,
        destinationPort: one.sourcePort,
      };
      const out = apply(false, build(answer, 'correct'), one.destination, one.destinationPort);
      const expected: Sample = {
        ...one,
        source: one.destination,
        sourcePort: one.destinationPort,
        destination: one.source,
        destinationPort: one.sourcePort,
        ttl: one.ttl - 1,
      };
      assert.deepEqual(differences(out, build(expected, 'correct')), []);
      const back = apply(true, inside, one.destination, one.destinationPort);
      assert.deepEqual(differences(back, build({ ...one, ttl: one.ttl - 2 }, 'correct')), []);
    }),
  );
});

test('an unfinished checksum is finished for the new addresses', () => {
  fc.assert(
    fc.property(sample, address, port, fc.boolean(), (one, to, newPort, inbound) => {
      const frame = build(one, 'unfinished');
      const changed = apply(inbound, frame, to, newPort);
      assert.equal(decode(changed)[`${one.kind}.checksumIs`], 'correct');
      assert.equal(decode(changed)['ipv4.checksumIs'], 'correct');
    }),
  );
});

test('a datagram without a checksum gets a right one', () => {
  fc.assert(
    fc.property(sample, address, port, fc.boolean(), (one, to, newPort, inbound) => {
      const frame = build({ ...one, kind: 'udp' }, 0);
      const changed = apply(inbound, frame, to, newPort);
      assert.equal(decode(changed)['udp.checksumIs'], 'correct');
    }),
  );
});

test('a wrong checksum stays wrong', () => {
  fc.assert(
    fc.property(sample, address, port, port, (one, to, newPort, wrong) => {
      const frame = build(one, wrong);
      const state = decode(frame)[`${one.kind}.checksumIs`];
      fc.pre(state === 'wrong' && !(one.kind === 'udp' && wrong === 0));
      const changed = apply(true, frame, to, newPort);
      assert.equal(decode(changed)[`${one.kind}.checksumIs`], 'wrong');
    }),
  );
});

test('a datagram is never sent with checksum 0, which would mean none', () => {
  let met = 0;
  for (let newPort = 0; newPort <= 0xffff; newPort++) {
    const one: Sample = {
      kind: 'udp',
      source: '10.0.1.100',
      destination: '198.51.100.1',
      sourcePort: 40001,
      destinationPort: 80,
      payload: Uint8Array.from([1, 2]),
      options: new Uint8Array(0),
      ttl: 64,
    };
    const view = new DataView(build(one, 'correct').buffer);
    translate(
      view,
      new Uint16Array(view.buffer, 0, view.byteLength >>> 1),
      0,
      14,
      34,
      17,
      10,
      IPV4_DESTINATION,
      parseIpv4('10.0.2.11'),
      newPort,
    );
    assert.notEqual(view.getUint16(34 + 6), 0);
    if (view.getUint16(34 + 6) === 0xffff) met++;
  }
  assert.equal(met, 1, 'one port gives the sum whose checksum would be 0');
});

test('a checksum is taken for unfinished only where it equals the pseudo header', () => {
  fc.assert(
    fc.property(sample, port, (one, held) => {
      const frame = build(one, held);
      const view = new DataView(frame.buffer);
      const ip = 14;
      const transport = ip + (frame[14]! & 15) * 4;
      const length = frame.length - transport;
      const protocol = one.kind === 'tcp' ? 6 : 17;
      const [from, to] = [parseIpv4(one.source), parseIpv4(one.destination)];
      const request = unfinishedChecksum(view, 0, transport, protocol, from, to, length);
      const left = build(one, 'unfinished');
      const offset = one.kind === 'tcp' ? 16 : 6;
      const expected = new DataView(left.buffer).getUint16(transport + offset) === held;
      assert.equal(request, expected ? (transport << 16) | offset : 0);
    }),
  );
});
