/** Errors that a director makes: form, length, checksums, and who gets none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildIcmpError, ICMP_ERROR_PREFIX, mayGetIcmpError } from '#xvs/forward/icmpError';
import { buildIcmpError6, ICMP_ERROR6_PREFIX, mayGetIcmpError6 } from '#xvs/forward/icmpError6';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { decode } from '../../support/decode';
import { ethernet, type PacketBuilder } from '../../support/packet';

const FRAME_AT = 256;
const IP_AT = FRAME_AT + 14;
const VIP6 = 'fd00:100::1';

interface Chunk {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly packetBytes: number;
}

function chunkWith(builder: PacketBuilder): Chunk {
  const bytes = new Uint8Array(2048);
  const frame = builder.build();
  bytes.set(frame, FRAME_AT);
  return { view: new DataView(bytes.buffer), bytes, packetBytes: frame.length - 14 };
}

function error6(chunk: Chunk, type: number, code: number, rest: number): Uint8Array {
  const [a, b, c, d] = addressWords(VIP6) as unknown as [number, number, number, number];
  const { view, packetBytes } = chunk;
  const length = buildIcmpError6(view, IP_AT, packetBytes, type, code, rest, a, b, c, d);
  const start = IP_AT - ICMP_ERROR6_PREFIX;
  return chunk.bytes.slice(start, start + length);
}

test('an IPv4 error quotes the packet behind its own headers', () => {
  const chunk = chunkWith(ethernet().ipv4({ tos: 0x3f }).udp().payload('x'.repeat(100)));
  const packet = chunk.bytes.slice(IP_AT, IP_AT + chunk.packetBytes);
  const source = parseIpv4('198.51.100.1');
  const length = buildIcmpError(chunk.view, IP_AT, chunk.packetBytes, 3, 4, 1400, source, 7);
  const start = IP_AT - ICMP_ERROR_PREFIX;
  const frame = chunk.bytes.slice(start, start + length);
  const fields = decode(frame);
  assert.equal(fields['ethernet.type'], 0x0800);
  assert.equal(fields['ipv4.checksumIs'], 'correct');
  assert.equal(fields['icmp.checksumIs'], 'correct');
  assert.equal(fields['ipv4.source'], '198.51.100.1');
  assert.equal(fields['ipv4.destination'], '10.0.1.100');
  assert.equal(fields['ipv4.tos'], 0xde, 'precedence of control, type of service kept, no ECN');
  assert.equal(fields['icmp.rest'], 1400);
  assert.deepEqual(frame.subarray(14 + 28), packet);
});

test('an IPv6 error quotes the packet behind its own headers', () => {
  const chunk = chunkWith(ethernet().ipv6({ flowLabel: 5 }).tcp().payload('hello'));
  const packet = chunk.bytes.slice(IP_AT, IP_AT + chunk.packetBytes);
  const frame = error6(chunk, 2, 0, 1400);
  const fields = decode(frame);
  assert.equal(fields['ethernet.type'], 0x86dd);
  assert.equal(fields['icmp6.checksumIs'], 'correct');
  assert.equal(fields['ipv6.source'], VIP6);
  assert.equal(fields['ipv6.destination'], 'fd00:1::100');
  assert.equal(fields['ipv6.hopLimit'], 64);
  assert.equal(fields['ipv6.payloadLength'], 8 + packet.length);
  assert.deepEqual(
    [fields['icmp6.type'], fields['icmp6.code'], fields['icmp6.rest']],
    [2, 0, 1400],
  );
  assert.deepEqual(frame.subarray(14 + 48), packet);
});

for (const bytes of [1, 500, 501, 1400, 1401]) {
  test(`an error about ${bytes} bytes of payload is no longer than its family allows`, () => {
    const payload = new Uint8Array(bytes).fill(0x5a);
    const chunk4 = chunkWith(ethernet().ipv4().udp().payload(payload));
    const length4 = buildIcmpError(chunk4.view, IP_AT, chunk4.packetBytes, 3, 3, 0, 1, 1);
    assert.equal(length4 - 14, Math.min(576, chunk4.packetBytes + 28));
    const start = IP_AT - ICMP_ERROR_PREFIX;
    const fields4 = decode(chunk4.bytes.slice(start, start + length4));
    assert.equal(fields4['icmp.checksumIs'], 'correct');
    const chunk6 = chunkWith(ethernet().ipv6().udp().payload(payload));
    const frame6 = error6(chunk6, 1, 4, 0);
    assert.equal(frame6.length - 14, Math.min(1280, chunk6.packetBytes + 48));
    assert.equal(decode(frame6)['icmp6.checksumIs'], 'correct');
  });
}

test('who gets no error', () => {
  for (const address of ['0.0.0.0', '127.0.0.1', '224.0.0.5', '255.255.255.255']) {
    assert.equal(mayGetIcmpError(parseIpv4(address)), false, address);
  }
  assert.equal(mayGetIcmpError(parseIpv4('10.0.0.1')), true);
  const mayGet6 = (source: string, destination = VIP6): boolean =>
    mayGetIcmpError6(chunkWith(ethernet().ipv6({ source, destination })).view, IP_AT);
  for (const source of ['::', '::1', 'ff02::1', 'ff0e::1']) {
    assert.equal(mayGet6(source), false, source);
  }
  assert.equal(mayGet6('fd00::1', 'ff02::1'), false, 'sent to many');
  for (const source of ['fd00::1', 'fe80::1', '::2', '1::']) {
    assert.equal(mayGet6(source), true, source);
  }
});
