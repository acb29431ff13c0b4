/** The parser: whatever bytes come, nothing behind the frame is read and nothing is thrown. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DROP, PASS } from '#xvs/table/counter';
import { GENERAL, PLAIN_IPV6, parseFrame } from '#xvs/worker/parse';
import { ethernet, internetChecksum } from '../../support/packet';

const VERDICTS = [DROP.malformed, DROP.ip_checksum, PASS.protocol];

/** A view that ends where the frame ends: a read behind it throws. */
function parse(frame: Uint8Array, length = frame.length): number {
  const before = 64;
  const buffer = new ArrayBuffer(before + length);
  new Uint8Array(buffer).set(frame.subarray(0, length), before);
  const result = parseFrame(new DataView(buffer), before, length);
  return result < 0 ? result : result - before;
}

function checkResult(result: number, length: number): void {
  if (result === GENERAL) return;
  if (result === PLAIN_IPV6) assert.ok(length >= 62);
  else if (result < 0) assert.ok(VERDICTS.includes(~result), `verdict ${~result}`);
  else assert.ok(result >= 34 && result + 8 <= length, `offset ${result} of ${length}`);
}

const validFrame = fc
  .record({
    kind: fc.constantFrom('tcp' as const, 'udp' as const, 'icmp' as const),
    payload: fc.uint8Array({ maxLength: 60, size: 'max' }),
    options: fc.constantFrom(0, 4, 40),
    tcpOptions: fc.constantFrom(0, 12, 40),
    fragment: fc.constantFrom(0, 0, 0, 0x4000, 0x2000, 0x1),
    pad: fc.nat({ max: 8 }),
  })
  .map(({ kind, payload, options, tcpOptions, fragment, pad }) => {
    const start = ethernet().ipv4({ options: new Uint8Array(options), fragment });
    if (kind === 'tcp') start.tcp({ options: new Uint8Array(tcpOptions) });
    else if (kind === 'udp') start.udp();
    else start.icmp();
    return start.payload(payload).pad(pad).build();
  });

test('arbitrary bytes of any length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120, size: 'max' }), (bytes) => {
      checkResult(parse(bytes), bytes.length);
    }),
    { numRuns: 2000 },
  );
});

/** Random bytes hardly get beyond the checksum: damage whole frames and make the header hold. */
test('damaged and shortened frames whose header holds', () => {
  const damage = fc.array(fc.tuple(fc.integer({ min: 12, max: 60 }), fc.nat({ max: 255 })), {
    maxLength: 4,
    size: 'max',
  });
  fc.assert(
    fc.property(validFrame, damage, fc.nat({ max: 40 }), (frame, bytes, cut) => {
      for (const [at, value] of bytes) if (at < frame.length) frame[at] = value;
      const headerEnd = 14 + (frame[14]! & 15) * 4;
      if (headerEnd >= 34 && headerEnd <= frame.length) {
        frame.fill(0, 24, 26);
        new DataView(frame.buffer).setUint16(24, internetChecksum(frame.subarray(14, headerEnd)));
      }
      const length = Math.max(0, frame.length - cut);
      checkResult(parse(frame, length), length);
    }),
    { numRuns: 3000 },
  );
});

test('a whole frame parses to its transport header; cut anywhere it is malformed', () => {
  const start = ethernet().ipv4({ options: new Uint8Array(8) });
  const frame = start
    .tcp({ options: new Uint8Array(12), flags: 'SA' })
    .payload('abc')
    .build();
  assert.equal(parse(frame), 14 + 28);
  for (let length = 0; length < frame.length; length++) {
    assert.equal(parse(frame, length), ~DROP.malformed, `${length} bytes`);
  }
});

test('whole TCP and UDP over IPv6 is told from what has to be looked at more closely', () => {
  const plain = [
    ethernet()
      .ipv6()
      .tcp({ options: new Uint8Array(12) }),
    ethernet().ipv6().udp().payload('abc').pad(5),
  ];
  for (const frame of plain) assert.equal(parse(frame.build()), PLAIN_IPV6);
  const tcp = ethernet().ipv6().tcp().build();
  for (let length = 14; length < tcp.length; length++) {
    assert.equal(parse(tcp, length), GENERAL, `${length} bytes`);
  }
  const others = [
    ethernet().ipv6({ version: 4 }).udp(),
    ethernet().ipv6({ payloadLength: 9 }).udp(),
    ethernet().ipv6({ payloadLength: 7 }).udp(),
    ethernet().ipv6().udp({ length: 7 }),
    ethernet().ipv6().udp({ length: 9 }),
    ethernet().ipv6().tcp({ headerBytes: 16 }),
    ethernet().ipv6().tcp({ headerBytes: 24 }),
    ethernet().ipv6({ nextHeader: 0 }).udp(),
    ethernet().ipv6().icmp6(),
  ];
  for (const [at, frame] of others.entries()) {
    assert.equal(parse(frame.build()), GENERAL, `frame ${at}`);
  }
});

test('what is not for the pipeline is told apart', () => {
  const verdict = (frame: Uint8Array): number => ~parse(frame);
  assert.equal(verdict(ethernet({ type: 0x0806 }).payload('x'.repeat(60)).build()), PASS.protocol);
  assert.equal(parse(ethernet().ipv4().icmp().build()), GENERAL);
  assert.equal(parse(ethernet().ipv4({ fragment: 0x2000 }).udp().build()), GENERAL);
  assert.equal(verdict(ethernet().ipv4({ checksum: 1 }).udp().build()), DROP.ip_checksum);
  const lies = [
    ethernet().ipv4({ version: 6 }).udp(),
    ethernet().ipv4({ headerBytes: 16 }).udp(),
    ethernet().ipv4({ totalLength: 19 }).udp(),
    ethernet().ipv4({ totalLength: 29 }).udp(),
    ethernet().ipv4().udp({ length: 7 }),
    ethernet().ipv4().udp({ length: 9 }),
    ethernet().ipv4().tcp({ headerBytes: 16 }),
    ethernet().ipv4().tcp({ headerBytes: 24 }),
  ];
  for (const [at, lie] of lies.entries()) {
    assert.equal(verdict(lie.build()), DROP.malformed, `lie ${at}`);
  }
});
