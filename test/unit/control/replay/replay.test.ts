/**
 * Replays of the recordings of a kernel IPVS: what it sent is what leaves here, with the capture's
 * time; the same input gives the same output.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '#xvs/control/config';
import type { Capture } from '#xvs/control/replay/captureFile';
import { formatPcapng } from '#xvs/control/replay/captureWriter';
import { Replay, type ReplayResult } from '#xvs/control/replay/replay';
import { cut } from '../../../support/cut';
import { decode, differences, summary } from '../../../support/decode';
import { readCapture } from '../../../support/golden';
import { DIRECTOR_MAC_0, DIRECTOR_MAC_1, ethernet } from '../../../support/packet';

const NAMES = ['d0', 'd1'];
const DIRECTOR_MACS = new Set([DIRECTOR_MAC_0, DIRECTOR_MAC_1]);

function config(method: string, port: number, protocol = 'tcp', more = '') {
  const server = (number: number): string =>
    `{address: "10.0.2.1${number}:${port}", method: ${method}}`;
  // The last one added is the first that rr chooses.
  return parseConfig(
    `interfaces: [{name: d0}, {name: d1}]
${more}
services: [{${protocol}: "198.51.100.1:80", scheduler: rr, servers: [${server(2)}, ${server(1)}]}]
`,
    'test.yaml',
  );
}

interface Recorded {
  readonly side: number;
  readonly bytes: Uint8Array;
  readonly left: boolean;
}

function recording(name: string): { capture: Capture; frames: readonly Recorded[] } {
  const frames = readCapture(name).filter(({ bytes }) => decode(bytes)['ipv4.version'] === 4);
  const packets = frames.map(({ seconds, side, bytes }, at) => ({
    number: at + 1,
    nanoseconds: BigInt(Math.round(seconds * 1e6)) * 1000n,
    interface: side,
    frame: bytes,
    wireBytes: bytes.length,
  }));
  const isLeft = (bytes: Uint8Array): boolean =>
    DIRECTOR_MACS.has(String(decode(bytes)['ethernet.source']));
  return {
    capture: { interfaces: NAMES.map((each) => ({ name: each })), packets },
    frames: frames.map(({ side, bytes }) => ({ side, bytes, left: isLeft(bytes) })),
  };
}

function packetsOf(
  frames: readonly (readonly [milliseconds: number, frame: Uint8Array])[],
): Capture {
  const packets = frames.map(([milliseconds, frame], at) => ({
    number: at + 1,
    nanoseconds: BigInt(milliseconds) * 1_000_000n,
    interface: 0,
    frame,
    wireBytes: frame.length,
  }));
  return { interfaces: [{ name: '' }], packets };
}

const verdicts = ({ packets }: ReplayResult): string[] => packets.map(({ verdict }) => verdict);

test('what a kernel IPVS sent leaves here', () => {
  for (const [name, method, port] of [
    ['nat-tcp', 'nat', 8000],
    ['dr-tcp', 'dr', 80],
  ] as const) {
    const { capture, frames } = recording(name);
    const result = new Replay(config(method, port), capture).run();
    for (const side of [0, 1]) {
      const wanted = frames.filter((frame) => frame.left && frame.side === side);
      const sent = result.sent.filter((frame) => frame.interface === side);
      assert.equal(sent.length, wanted.length, `${name} at d${side}`);
      // The server's MAC is made up where it never spoke.
      const ignored = (field: string): boolean => field === 'ethernet.destination';
      for (const { frame } of sent) {
        const same = wanted.some(({ bytes }) => differences(frame, bytes, ignored).length === 0);
        assert.ok(same, `${name}: ${summary(frame)} was not recorded`);
      }
    }
    assert.ok(result.sent.length > 0);
    assert.equal(result.services[0]!.statistics.connections, 1);
    const own = verdicts(result).filter((one) => one === 'not_received: sent_by_director');
    assert.equal(own.length, frames.filter(({ left }) => left).length);
  }
});

test('the same input gives the same bytes', () => {
  const { capture } = recording('nat-tcp');
  const [first, second] = [0, 1].map(() => new Replay(config('nat', 8000), capture).run());
  assert.deepEqual(first, second);
  assert.deepEqual(formatPcapng(NAMES, first!.sent), formatPcapng(NAMES, second!.sent));
});

test('packets that are cut to the MTU have the same identifications each time', () => {
  const payload = new Uint8Array(1480);
  const frame = ethernet({ destination: DIRECTOR_MAC_0 }).ipv4({ id: 0 }).udp({}).payload(payload);
  const capture = packetsOf([[0, frame.build().subarray(0, 14 + 1500)]]);
  const short = ethernet({ destination: DIRECTOR_MAC_0 })
    .ipv4({ id: 0 })
    .udp({})
    .payload(payload.subarray(0, 1472))
    .build();
  const tunnel = packetsOf([[0, short]]);
  const run = () => new Replay(config('tun', 80, 'udp'), tunnel).run();
  const [first, second] = [run(), run()];
  assert.equal(first.counters['packets_split'], 1, JSON.stringify(first.counters));
  assert.deepEqual(first, second);
  assert.deepEqual(verdicts(new Replay(config('tun', 80, 'udp'), capture).run()), ['malformed']);
});

test('time is the capture’s: connections expire, fragments are held and rejoined', () => {
  const frame = ethernet({ destination: DIRECTOR_MAC_0 })
    .ipv4({ id: 7 })
    .udp({})
    .payload(new Uint8Array(600))
    .build();
  const [first, second] = cut(frame, 400, 7);
  const capture = packetsOf([
    [0, second!],
    [200, first!],
    [5000, frame],
    [400_000, frame],
  ]);
  const result = new Replay(config('nat', 8000, 'udp'), capture).run();
  assert.deepEqual(verdicts(result), ['held', 'forwarded', 'forwarded', 'forwarded']);
  assert.deepEqual(
    result.packets.map(({ sent }) => sent),
    [0, 2, 1, 1],
  );
  assert.equal(result.counters['connections_created'], 2);
  assert.equal(result.counters['connections_expired'], 1);
  assert.deepEqual(
    result.sent.map(({ nanoseconds }) => Number(nanoseconds / 1_000_000n)),
    [200, 200, 5000, 400_000],
  );
});

test('without names, packets from a real server come in by the last interface', () => {
  const there = ethernet({ destination: DIRECTOR_MAC_0 }).ipv4({}).tcp({ flags: 'S' }).build();
  const back = ethernet({ destination: DIRECTOR_MAC_1, source: '02:00:00:00:02:11' })
    .ipv4({ source: '10.0.2.11', destination: '10.0.1.100' })
    .tcp({ source: 8000, destination: 40001, flags: 'SA' })
    .build();
  const other = ethernet({ destination: '02:00:00:00:00:99' }).ipv4({}).tcp({}).build();
  const capture = packetsOf([
    [0, there],
    [1, back],
    [2, other],
    [3, there.subarray(0, 40)],
  ]);
  const cutShort = { ...capture.packets[3]!, wireBytes: 54 };
  const packets = [...capture.packets.slice(0, 3), cutShort];
  const result = new Replay(config('nat', 8000), { ...capture, packets }).run();
  assert.deepEqual(
    result.packets.map((packet) => [packet.interface, packet.verdict]),
    [
      ['d0', 'forwarded'],
      ['d1', 'forwarded'],
      ['d0', 'not_received: other_mac'],
      ['d0', 'not_received: cut_by_capture'],
    ],
  );
  const [toServer, toClient] = result.sent.map(({ frame }) => decode(frame));
  assert.equal(toServer!['ethernet.destination'], '02:00:00:00:02:11');
  assert.equal(toServer!['ipv4.destination'], '10.0.2.11');
  assert.equal(toClient!['ipv4.source'], '198.51.100.1');
  assert.deepEqual(result.invented, ['10.0.2.12']);
});

test('marks, sysctls and IPv6 of the config hold', () => {
  const text = `interfaces: [{name: d0}]
marks: ["-t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 5"]
sysctl: {sloppy_tcp: 1}
services:
  - {fwmark: 5, scheduler: rr, servers: [{address: "10.0.2.11", method: dr}]}
  - {udp: "[fd00:100::1]:80", scheduler: rr, servers: [{address: "[fd00:2::11]:80", method: dr}]}
`;
  const marked = ethernet({ destination: DIRECTOR_MAC_0 }).ipv4({}).tcp({ flags: 'A' }).build();
  const six = ethernet({ destination: DIRECTOR_MAC_0 }).ipv6({}).udp({}).build();
  const capture = packetsOf([
    [0, six],
    [1, marked],
  ]);
  const result = new Replay(parseConfig(text, 'test.yaml'), capture).run();
  assert.deepEqual(verdicts(result), ['forwarded', 'forwarded']);
  assert.equal(result.services[0]!.statistics.connections, 1);
});
