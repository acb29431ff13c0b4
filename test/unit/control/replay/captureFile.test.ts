/**
 * Captures: what is written is read back, in either format; tcpdump's files of the recordings are
 * read; what is no capture is refused with the place and what is allowed.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { CaptureError, readCapture } from '#xvs/control/replay/captureFile';
import { formatPcap, formatPcapng, type WrittenPacket } from '#xvs/control/replay/captureWriter';
import { readPcap } from '#xvs/lab/pcap';

const GOLDEN = resolve(__dirname, '..', '..', '..', '..', '..', 'test', 'goldens', 'packets');
const NAMES = ['eth0', 'a-long-name'];
const written: fc.Arbitrary<WrittenPacket> = fc.record({
  nanoseconds: fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
  interface: fc.nat({ max: NAMES.length - 1 }),
  frame: fc.uint8Array({ maxLength: 80 }),
});

function refusal(bytes: Uint8Array): string {
  try {
    readCapture(bytes, 'FILE');
  } catch (error) {
    assert.ok(error instanceof CaptureError, String(error));
    return error.message;
  }
  assert.fail('it is read');
}

test('pcapng that was written is read back', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 20 }), (packets) => {
      const read = readCapture(formatPcapng(NAMES, packets), 'FILE');
      assert.deepEqual(
        read.interfaces.map(({ name }) => name),
        NAMES,
      );
      const wanted = packets.map((packet, at) => ({
        number: at + 1,
        ...packet,
        wireBytes: packet.frame.length,
      }));
      assert.deepEqual(
        read.packets.map((packet) => ({ ...packet, frame: Uint8Array.from(packet.frame) })),
        wanted,
      );
    }),
  );
});

test('pcap that was written is read back, without interfaces', () => {
  fc.assert(
    fc.property(fc.array(written, { maxLength: 20 }), (packets) => {
      const read = readCapture(formatPcap(packets), 'FILE');
      assert.deepEqual(
        read.packets.map(({ nanoseconds, frame }) => [nanoseconds, Buffer.from(frame)]),
        packets.map(({ nanoseconds, frame }) => [nanoseconds, Buffer.from(frame)]),
      );
      assert.ok(read.packets.every((packet) => packet.interface === 0));
    }),
  );
});

test("tcpdump's files have the frames that the labs' reader finds", () => {
  for (const name of ['nat-tcp', 'tun-gre-tcp', 'v6-dr-tcp-udp']) {
    const path = join(GOLDEN, name, 'd-d0.pcap');
    const { packets } = readCapture(readFileSync(path), path);
    const expected = readPcap(path);
    assert.ok(expected.length > 0);
    assert.deepEqual(
      packets.map(({ frame }) => Buffer.from(frame)),
      expected.map(({ bytes }) => Buffer.from(bytes)),
    );
    packets.forEach(({ nanoseconds }, at) => {
      assert.ok(Math.abs(Number(nanoseconds) / 1e9 - expected[at]!.seconds) < 1e-5);
    });
  }
});

test('both byte orders, microseconds, sections and simple packets', () => {
  // A big-endian section: header, interface without options, an enhanced and a simple packet.
  const words = [
    [0x0a0d0d0a, 28, 0x1a2b3c4d, 0x00010000, 0xffffffff, 0xffffffff, 28],
    [1, 20, 0x00010000, 64, 20],
    [6, 36, 0, 0, 1_500_000, 4, 90, 0x01020304, 36],
    [3, 20, 4, 0x05060708, 20],
  ].flat();
  const big = Buffer.alloc(words.length * 4);
  words.forEach((word, at) => {
    big.writeUInt32BE(word, at * 4);
  });
  const little = formatPcapng(
    ['eth1'],
    [{ nanoseconds: 7n, interface: 0, frame: Buffer.from('x') }],
  );
  const { interfaces, packets } = readCapture(Buffer.concat([big, little]), 'FILE');
  assert.deepEqual(
    interfaces.map(({ name }) => name),
    ['', 'eth1'],
  );
  assert.deepEqual(
    packets.map((packet) => [
      packet.number,
      packet.nanoseconds,
      packet.interface,
      Buffer.from(packet.frame).toString('hex'),
      packet.wireBytes,
    ]),
    [
      [1, 1_500_000_000n, 0, '01020304', 90],
      [2, 1_500_000_000n, 0, '05060708', 4],
      [3, 7n, 1, '78', 1],
    ],
  );
});

test('what is no capture is refused', () => {
  assert.match(refusal(new Uint8Array(2)), /^FILE: 2 bytes are no capture$/);
  assert.match(refusal(Buffer.from('GIF89a')), /begins with 47494638; pcap and pcapng .* allowed/);
  const pcap = formatPcap([{ nanoseconds: 1n, interface: 0, frame: new Uint8Array(60) }]);
  assert.match(refusal(pcap.subarray(0, 20)), /header is cut short/);
  assert.match(refusal(pcap.subarray(0, pcap.length - 1)), /packet 1 at byte 24 goes beyond/);
  const linux = Uint8Array.from(pcap);
  linux[20] = 113;
  assert.match(refusal(linux), /link type 113: 1 \(Ethernet\) is allowed/);
  const pcapng = formatPcapng(['a'], [{ nanoseconds: 1n, interface: 3, frame: new Uint8Array(4) }]);
  assert.match(refusal(pcapng), /the block at byte \d+ is of unknown interface 3/);
  assert.match(refusal(pcapng.subarray(0, pcapng.length - 3)), /has a length of \d+ bytes/);
});

test('any bytes are read or refused, never more', () => {
  const start = formatPcapng(['a'], [{ nanoseconds: 1n, interface: 0, frame: new Uint8Array(8) }]);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: start.length - 1 }), fc.nat(255))), (changes) => {
      const bytes = Uint8Array.from(start);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        readCapture(bytes, 'FILE');
      } catch (error) {
        assert.ok(error instanceof CaptureError, String(error));
      }
    }),
  );
});
