/** What is read of quoted packets, whole, cut short and lying. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { QuotedPacket } from '#xvs/forward/icmpQuoted';
import { ethernet, type PacketBuilder } from '../../support/packet';

/** A DataView that ends where the quote ends: what reads behind it throws. */
function viewOf(bytes: Uint8Array): DataView {
  return new DataView(Uint8Array.from(bytes).buffer);
}
function packetOf(builder: PacketBuilder): Uint8Array {
  return builder.build().subarray(14);
}
function read(bytes: Uint8Array, isIpv4: boolean): QuotedPacket | undefined {
  const quoted = new QuotedPacket();
  return quoted.read(viewOf(bytes), 0, bytes.length, isIpv4) ? quoted : undefined;
}

test('IPv4: options are skipped, ports are there as soon as four bytes are', () => {
  const packet = packetOf(
    ethernet()
      .ipv4({ options: new Uint8Array(8).fill(1) })
      .tcp(),
  );
  const quoted = read(packet, true);
  assert.deepEqual([quoted?.transport, quoted?.protocol, quoted?.hasPorts], [28, 6, true]);
  assert.equal(read(packet.subarray(0, 32), true)?.hasPorts, true);
  assert.equal(read(packet.subarray(0, 31), true)?.hasPorts, false);
  assert.equal(read(packet.subarray(0, 28), true)?.hasPorts, false);
  assert.equal(read(packet.subarray(0, 27), true), undefined);
});

test('IPv4: what contradicts itself, and later fragments', () => {
  for (const fields of [
    { version: 6 },
    { headerBytes: 16 },
    { headerBytes: 60 },
    { totalLength: 19 },
    { fragment: 1 },
    { fragment: 0x3fff },
  ]) {
    assert.equal(read(packetOf(ethernet().ipv4(fields).udp()), true), undefined);
  }
  const first = read(packetOf(ethernet().ipv4({ fragment: 0x2000 }).udp()), true);
  assert.equal(first?.hasPorts, true, 'a first fragment has ports');
  const claims = read(packetOf(ethernet().ipv4({ totalLength: 22 }).udp()), true);
  assert.equal(claims?.hasPorts, false, 'behind its own end a packet has nothing');
});

test('IPv6: extension headers are walked', () => {
  const extensions = Uint8Array.from([
    ...[43, 0, 1, 4, 0, 0, 0, 0], // hop by hop
    ...[60, 0, 0, 0, 0, 0, 0, 0], // routing
    ...[44, 1, 1, 12, ...new Array<number>(12).fill(0)], // destination options, 16 bytes
    ...[17, 0, 0, 1, 0, 0, 0, 9], // first fragment
  ]);
  const packet = packetOf(ethernet().ipv6({ extensions, nextHeader: 0 }).udp());
  const quoted = read(packet, false);
  assert.deepEqual([quoted?.transport, quoted?.protocol, quoted?.hasPorts], [80, 17, true]);
  for (let length = 0; length < 80; length++) {
    assert.equal(read(packet.subarray(0, length), false), undefined, `${length} bytes`);
  }
  const later = Uint8Array.from([17, 0, 0, 9, 0, 0, 0, 9]);
  const fragment = packetOf(ethernet().ipv6({ extensions: later, nextHeader: 44 }).udp());
  assert.equal(read(fragment, false), undefined, 'a later fragment has no ports');
});

test('IPv6: a chain of headers without end is not walked to its end', () => {
  const extensions = new Uint8Array(100 * 8);
  const packet = packetOf(ethernet().ipv6({ extensions, nextHeader: 0 }).udp());
  assert.equal(read(packet, false), undefined);
});

test('protocols without ports have none', () => {
  for (const protocol of [1, 4, 41, 47, 50, 58, 0xf0, 0xf6, 0x46]) {
    const packet = packetOf(ethernet().ipv4({ protocol }).payload(new Uint8Array(40)));
    assert.equal(read(packet, true)?.hasPorts, false, `protocol ${protocol}`);
  }
});

test('property: nothing outside the quote is read, whatever it claims', () => {
  const header4 = fc.tuple(
    fc.constantFrom(0x45, 0x46, 0x4f, 0x60),
    fc.uint8Array({ maxLength: 90 }),
  );
  const header6 = fc.tuple(fc.constantFrom(0x60, 0x45), fc.uint8Array({ maxLength: 150 }));
  const check = ([first, rest]: [number, Uint8Array], isIpv4: boolean): void => {
    const bytes = Uint8Array.from([first, ...rest]);
    const quoted = read(bytes, isIpv4);
    if (quoted === undefined) return;
    assert.ok(quoted.end <= bytes.length && quoted.transport <= quoted.end);
    if (quoted.hasPorts) viewOf(bytes).getInt32(quoted.transport);
  };
  fc.assert(
    fc.property(header4, (bytes) => check(bytes, true)),
    { numRuns: 2000 },
  );
  const extension = fc.constantFrom(0, 43, 44, 60, 6, 17);
  fc.assert(
    fc.property(header6, extension, extension, (bytes, next, second) => {
      if (bytes[1].length > 40) {
        bytes[1][5] = next;
        bytes[1][39] = second;
      }
      check(bytes, false);
    }),
    { numRuns: 2000 },
  );
});
