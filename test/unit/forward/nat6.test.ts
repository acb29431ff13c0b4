/**
 * NAT over IPv6, and of what is no whole TCP or UDP packet in both families: what goes in and comes
 * back is what was sent, with whatever checksum it had.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { translate6 } from '#xvs/forward/nat6';
import { translateUnusual } from '#xvs/forward/natUnusual';
import { addressWords, formatIpv4 } from '#xvs/net/address';
import { finishChecksum } from '#xvs/port/memoryPort';
import { decode, differences } from '../../support/decode';
import { type Checksum, ethernet } from '../../support/packet';
import { sctp, sctpChecksumIs } from '../../support/sctp';

const word = fc.integer({ min: 0, max: 0xffff });
const address6 = fc
  .array(word, { minLength: 8, maxLength: 8 })
  .map((groups) => groups.map((group) => group.toString(16)).join(':'));
const address4 = fc.integer({ min: -0x80000000, max: 0x7fffffff }).map(formatIpv4);
const port = word;
const AT = 256;

interface Sample {
  readonly kind: 'tcp' | 'udp';
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
  readonly extended: boolean;
  readonly hopLimit: number;
}

const sample: fc.Arbitrary<Sample> = fc.record({
  kind: fc.constantFrom('tcp' as const, 'udp' as const),
  source: address6,
  destination: address6,
  sourcePort: port,
  destinationPort: port,
  payload: fc.uint8Array({ maxLength: 100, size: 'max' }),
  extended: fc.boolean(),
  hopLimit: fc.integer({ min: 3, max: 255 }),
});

function build(one: Sample, checksum: Checksum): Uint8Array {
  const { source, destination, hopLimit } = one;
  const last = one.kind === 'tcp' ? 6 : 17;
  const extensions = Uint8Array.from(one.extended ? [last, 0, 1, 4, 0, 0, 0, 0] : []);
  const nextHeader = one.extended ? 60 : last;
  const start = ethernet().ipv6({ source, destination, hopLimit, extensions, nextHeader });
  const ports = { source: one.sourcePort, destination: one.destinationPort, checksum };
  const whole = one.kind === 'tcp' ? start.tcp({ ...ports, flags: 'PA' }) : start.udp(ports);
  return whole.payload(one.payload).build();
}

/** Runs `rewrite` on a copy that lies somewhere in a larger buffer. */
function inPlace(frame: Uint8Array, rewrite: (view: DataView, ip: number) => number): Uint8Array {
  const buffer = new Uint8Array(2048);
  buffer.set(frame, AT);
  const view = new DataView(buffer.buffer);
  finishChecksum(view, AT, frame.length, rewrite(view, AT + 14));
  assert.ok(
    buffer.every((byte, index) => byte === 0 || (index >= AT && index < AT + frame.length)),
    'a byte outside the frame was written',
  );
  return buffer.slice(AT, AT + frame.length);
}

function apply(inbound: boolean, one: Sample, frame: Uint8Array, to: string, newPort: number) {
  const [w0, w1, w2, w3] = addressWords(to);
  const headers = 40 + (one.extended ? 8 : 0);
  const protocol = one.kind === 'tcp' ? 6 : 17;
  const length = frame.length - 14 - headers;
  return inPlace(frame, (view, ip) =>
    translate6(view, AT, ip, ip + headers, protocol, length, inbound, w0!, w1!, w2!, w3!, newPort),
  );
}

test('out after in is what was sent, but for two hops', () => {
  fc.assert(
    fc.property(sample, address6, port, (one, real, realPort) => {
      const inside = apply(true, one, build(one, 'correct'), real, realPort);
      const there = { ...one, destination: real, destinationPort: realPort };
      const expected = build({ ...there, hopLimit: one.hopLimit - 1 }, 'correct');
      assert.deepEqual(differences(inside, expected), []);
      const back = apply(true, one, inside, one.destination, one.destinationPort);
      const same = build({ ...one, hopLimit: one.hopLimit - 2 }, 'correct');
      assert.deepEqual(Buffer.from(back).toString('hex'), Buffer.from(same).toString('hex'));
      const answer: Sample = {
        ...one,
        source: real,
        sourcePort: realPort,
        destination: one.source,
        destinationPort: one.sourcePort,
      };
      const { destination, destinationPort } = one;
      const out = apply(false, answer, build(answer, 'correct'), destination, destinationPort);
      const wanted: Sample = {
        ...answer,
        source: destination,
        sourcePort: destinationPort,
        hopLimit: one.hopLimit - 1,
      };
      assert.deepEqual(differences(out, build(wanted, 'correct')), []);
    }),
  );
});

test('checksums: unfinished ones are finished, none becomes one, a wrong one stays wrong', () => {
  fc.assert(
    fc.property(sample, address6, port, fc.boolean(), port, (one, to, newPort, inbound, wrong) => {
      const unfinished = apply(inbound, one, build(one, 'unfinished'), to, newPort);
      assert.equal(decode(unfinished)[`${one.kind}.checksumIs`], 'correct');
      const without = { ...one, kind: 'udp' as const };
      const filled = apply(inbound, without, build(without, 0), to, newPort);
      assert.equal(decode(filled)['udp.checksumIs'], 'correct');
      const frame = build(one, wrong);
      if (decode(frame)[`${one.kind}.checksumIs`] !== 'wrong') return;
      assert.equal(
        decode(apply(inbound, one, frame, to, newPort))[`${one.kind}.checksumIs`],
        'wrong',
      );
    }),
  );
});

/** As natUnusual's caller has it. */
function unusual(
  frame: Uint8Array,
  family: 4 | 6,
  protocol: number,
  inbound: boolean,
  to: string,
  newPort: number,
): Uint8Array {
  const headers = family === 4 ? 20 : 40;
  const words = addressWords(to);
  const [w0, w1, w2] = family === 4 ? [0, 0, 0] : words;
  const last = words[family === 4 ? 0 : 3]!;
  const length = frame.length - 14 - headers;
  return inPlace(frame, (view, ip) => {
    const transport = ip + headers;
    translateUnusual(
      view,
      family,
      ip,
      transport,
      protocol,
      length,
      inbound,
      w0!,
      w1!,
      w2!,
      last,
      newPort,
    );
    return 0;
  });
}

for (const family of [4, 6] as const) {
  const address = family === 4 ? address4 : address6;
  const ip = (source: string, destination: string, protocol: number, hops = 64) =>
    family === 4
      ? ethernet().ipv4({ source, destination, protocol, ttl: hops })
      : ethernet().ipv6({ source, destination, protocol, hopLimit: hops });
  const name = `IPv${family}`;

  test(`${name}: SCTP's CRC is right after the translation, and a wrong one stays wrong`, () => {
    const checksum = fc.constantFrom('correct' as const, 'unfinished' as const, 'wrong' as const);
    fc.assert(
      fc.property(
        address,
        address,
        address,
        port,
        fc.uint8Array({ maxLength: 60, size: 'max' }),
        checksum,
        fc.boolean(),
        (source, destination, to, newPort, payload, held, inbound) => {
          const packet = sctp({ payload, checksum: held });
          const frame = ip(source, destination, 132).payload(packet).build();
          const changed = unusual(frame, family, 132, inbound, to, newPort);
          const content = changed.slice(14 + (family === 4 ? 20 : 40));
          assert.equal(sctpChecksumIs(content), held === 'wrong' ? 'wrong' : 'correct');
          assert.equal(new DataView(content.buffer).getUint16(inbound ? 2 : 0), newPort);
          const back = unusual(
            changed,
            family,
            132,
            inbound,
            inbound ? destination : source,
            inbound ? 80 : 40001,
          );
          if (held === 'unfinished') return;
          const expected = ip(source, destination, 132, 62).payload(packet).build();
          assert.deepEqual(
            Buffer.from(back).toString('hex'),
            Buffer.from(expected).toString('hex'),
          );
        },
      ),
    );
  });

  test(`${name}: a later fragment, AH and ESP change an address and nothing else`, () => {
    fc.assert(
      fc.property(
        address,
        address,
        address,
        fc.uint8Array({ maxLength: 60 }),
        fc.boolean(),
        (source, destination, to, payload, inbound) => {
          for (const protocol of [0, 50, 51]) {
            const frame = ip(source, destination, 17).payload(payload).build();
            const changed = unusual(frame, family, protocol, inbound, to, 8000);
            const [from, at] = inbound ? [source, to] : [to, destination];
            const expected = ip(from, at, 17, 63).payload(payload).build();
            assert.deepEqual(differences(changed, expected), []);
          }
        },
      ),
    );
  });

  test(`${name}: a first fragment's checksum is adjusted for the whole datagram`, () => {
    fc.assert(
      fc.property(
        address,
        address,
        address,
        port,
        fc.uint8Array({ minLength: 16, maxLength: 200, size: 'max' }),
        fc.boolean(),
        fc.boolean(),
        (source, destination, to, newPort, payload, inbound, without) => {
          const ends = { source: 40001, destination: 80 };
          const checksum = without ? 0 : ('correct' as const);
          const whole = ip(source, destination, 17)
            .udp({ ...ends, checksum })
            .payload(payload)
            .build();
          // The first 16 bytes of it; IP's own fields do not matter here.
          const first = whole.subarray(0, whole.length - payload.length + 8);
          const changed = unusual(first, family, 17, inbound, to, newPort);
          const newEnds = inbound
            ? { ...ends, destination: newPort }
            : { ...ends, source: newPort };
          const [from, at] = inbound ? [source, to] : [to, destination];
          const expected = ip(from, at, 17)
            .udp({ ...newEnds, checksum })
            .payload(payload)
            .build();
          const udp = 14 + (family === 4 ? 20 : 40);
          assert.deepEqual(
            Buffer.from(changed.subarray(udp)).toString('hex'),
            Buffer.from(expected.subarray(udp, udp + 16)).toString('hex'),
          );
        },
      ),
    );
  });
}
