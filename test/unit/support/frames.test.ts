/** The tests' own tools: builder, decoder and pcap files agree with each other. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { decode, differences } from '../../support/decode';
import { readCapture } from '../../support/golden';
import { ethernet, frameOf } from '../../support/packet';
import { parsePcap, readPcap, writePcap } from '../../support/pcap';

test('a recorded frame, built anew from its decoded fields, is the same', () => {
  let built = 0;
  for (const { bytes } of readCapture('nat-tcp')) {
    const fields = decode(bytes);
    if (fields['ipv4.protocol'] !== 6) continue;
    const number = (name: string): number => Number(fields[name]);
    const text = (name: string): string => String(fields[name]);
    const raw = (name: string): Uint8Array =>
      Uint8Array.from(Buffer.from(String(fields[name] ?? ''), 'hex'));
    const frame = ethernet({
      source: text('ethernet.source'),
      destination: text('ethernet.destination'),
    })
      .ipv4({
        source: text('ipv4.source'),
        destination: text('ipv4.destination'),
        id: number('ipv4.id'),
        ttl: number('ipv4.ttl'),
        fragment: number('ipv4.fragment'),
      })
      .tcp({
        source: number('tcp.source'),
        destination: number('tcp.destination'),
        sequence: number('tcp.sequence'),
        acknowledgement: number('tcp.acknowledgement'),
        window: number('tcp.window'),
        flags: text('tcp.flags'),
        options: raw('tcp.options'),
      })
      .payload(raw('payload'))
      .build();
    assert.deepEqual(frame, Uint8Array.from(bytes));
    built++;
  }
  assert.ok(built >= 28);
});

test('the decoder says how a checksum stands', () => {
  for (const [checksum, state] of [
    ['correct', 'correct'],
    ['unfinished', 'unfinished'],
    [0x1234, 'wrong'],
    [0, 'none'],
  ] as const) {
    const frame = ethernet().ipv4().udp({ checksum }).payload('abc').build();
    assert.equal(decode(frame)['udp.checksumIs'], state);
  }
  assert.equal(decode(ethernet().ipv4({ checksum: 1 }).udp().build())['ipv4.checksumIs'], 'wrong');
});

test('differences name the field and both values', () => {
  const one = ethernet().ipv4().tcp().build();
  const other = ethernet().ipv4({ ttl: 63 }).tcp().build();
  assert.deepEqual(
    differences(one, other, (name) => name === 'ipv4.checksum'),
    ['ipv4.ttl: 64, expected 63'],
  );
});

test('the decoder takes any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120, size: 'max' }), (bytes) => {
      assert.equal(decode(bytes)['bytes'], bytes.length);
      assert.equal(decode(frameOf(bytes))['bytes'], bytes.length + 14);
    }),
    { numRuns: 1000 },
  );
});

test('a pcap file gives back what was written; a broken one says what is wrong', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-pcap-'));
  try {
    const path = join(folder, 'frames.pcap');
    const frames = [
      { seconds: 1_700_000_000.25, bytes: ethernet().ipv4().tcp().build() },
      { seconds: 1_700_000_001.000001, bytes: new Uint8Array(0) },
    ];
    writePcap(path, frames);
    const back = readPcap(path);
    assert.deepEqual(
      back.map(({ bytes }) => [...bytes]),
      frames.map(({ bytes }) => [...bytes]),
    );
    back.forEach(({ seconds }, at) => {
      assert.ok(Math.abs(seconds - frames[at]!.seconds) < 2e-6);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  assert.throws(() => parsePcap(new Uint8Array(10), 'short'), /short: 10 bytes, no header/);
  assert.throws(() => parsePcap(new Uint8Array(24), 'zeros'), /zeros: magic 0 is no classic pcap/);
});
