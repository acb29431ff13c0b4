/** Frames in a line: as tcpdump writes them, what tunnels carry, and frames that are cut off. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { frameText } from '#xvs/control/trace/frameText';
import { cut } from '../../../support/cut';
import { ethernet, frameOf, SYN_OPTIONS } from '../../../support/packet';
import { formatPcap } from '../../../support/pcap';

const inner = ethernet().ipv4({ source: '10.0.9.9' }).tcp({ flags: 'S' }).build().subarray(14);
const inner6 = ethernet().ipv6().udp().payload('abc').build().subarray(14);

/** tcpdump's own words, without time and options. */
function byTcpdump(frames: readonly Uint8Array[]): string[] {
  const input = formatPcap(frames.map((bytes, seconds) => ({ seconds, bytes })));
  const words = ['-r', '-', '-n', '-t', '-S', '-K', '-Z', 'root'];
  const done = spawnSync('tcpdump', words, { input, encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout
    .trim()
    .split('\n')
    .map((line) => line.replace(/ options \[.*?\],/, ''));
}

test('TCP and UDP of both families as tcpdump writes them', () => {
  const frames = [
    ethernet().ipv4().tcp({ flags: 'S', options: SYN_OPTIONS }).build(),
    ethernet()
      .ipv4({ options: Uint8Array.of(1, 1, 1, 0) })
      .tcp({ flags: 'SA', acknowledgement: 7 })
      .build(),
    ethernet()
      .ipv4()
      .tcp({ destination: 9999, flags: 'PA', acknowledgement: 0xffffffff })
      .payload('GET /')
      .build(),
    ethernet().ipv4().tcp({ flags: 'FA', acknowledgement: 9 }).pad(6).build(),
    ethernet().ipv4().tcp({ flags: 'R' }).build(),
    ethernet().ipv4().tcp({ flags: 'A', acknowledgement: 9 }).build(),
    ethernet().ipv4().tcp({ flags: '' }).build(),
    ethernet().ipv6().tcp({ flags: 'S' }).build(),
    ethernet().ipv4().udp({ destination: 9999 }).payload('hello').build(),
    ethernet().ipv6().udp({ destination: 9999 }).payload('hello').build(),
  ];
  assert.deepEqual(frames.map(frameText), byTcpdump(frames));
});

test('fragments, errors and what they quote, tunnels and what they carry', () => {
  const [first, later] = cut(ethernet().ipv4().udp().payload('x'.repeat(100)).build(), 64);
  const gre = Uint8Array.of(0, 0, 8, 0, ...inner);
  const gue = Uint8Array.of(0, 41, 0, 0, ...inner6);
  const quoted = inner.subarray(0, 28);
  const from = 'IP 10.0.1.100 > 198.51.100.1:';
  const carried = 'IP 10.0.9.9.40001 > 198.51.100.1.80:';
  const carried6 = 'IP6 fd00:1::100.40001 > fd00:100::1.80:';
  const syn = `${carried} Flags [S], seq 1000, win 64240, length 0`;
  const lines: readonly (readonly [Uint8Array, string])[] = [
    [first!, 'IP 10.0.1.100.40001 > 198.51.100.1.80: UDP, length 56, fragment at 0, more follow'],
    [later!, `${from} udp, length 44, fragment at 64`],
    [
      ethernet().ipv4().icmp({ type: 3, code: 4 }).payload(quoted).build(),
      `${from} ICMP type 3 code 4 about ${carried} tcp`,
    ],
    [ethernet().ipv4().icmp().build(), `${from} ICMP type 8 code 0, length 8`],
    [
      ethernet().ipv6().icmp6({ type: 1, code: 4 }).payload(inner6).build(),
      `IP6 fd00:1::100 > fd00:100::1: ICMP6 type 1 code 4 about ${carried6} udp`,
    ],
    [ethernet().ipv4({ protocol: 4 }).payload(inner).build(), `${from} ${syn}`],
    [ethernet().ipv4({ protocol: 47 }).payload(gre).build(), `${from} GRE ${syn}`],
    [
      ethernet().ipv4().udp({ destination: 6080 }).payload(gue).build(),
      `IP 10.0.1.100.40001 > 198.51.100.1.6080: GUE ${carried6} UDP, length 3`,
    ],
    [ethernet().ipv6({ protocol: 59 }).build(), 'IP6 fd00:1::100 > fd00:100::1: 59, length 0'],
    [ethernet({ type: 0x88cc }).payload('lldp').build(), 'ethertype 0x88cc'],
  ];
  for (const [frame, line] of lines) assert.equal(frameText(frame), line);
});

test('of what is cut off as much is said as there is', () => {
  const frame = frameOf(inner);
  for (let length = 0; length < 50; length++) {
    assert.equal(frameText(frame.subarray(0, length)), 'cut off within its headers');
  }
  assert.match(frameText(frame.subarray(0, 54)), /Flags \[S\]/);
});
