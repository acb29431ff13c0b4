/** `xvs trace` at the terminal: its line, its text, its capture file; the rest is in test/e2e. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PcapngFile } from '#xvs/cli/trace/pcapng';
import { printPacket, verdictText } from '#xvs/cli/trace/print';
import type { TracedPacket } from '#xvs/control/trace/protocol';
import { ethernet } from '../../../support/packet';
import { Stand } from './director';

const frame = ethernet().ipv4().tcp({ flags: 'S' }).build();
const answer = ethernet().ipv4().icmp({ type: 3, code: 3 }).payload(frame.subarray(14)).build();
const traced = (name: string, bytes: Uint8Array) => ({
  interface: name,
  lengthBytes: bytes.length,
  bytes: Buffer.from(bytes).toString('base64'),
});
const PACKET: TracedPacket = {
  kind: 'packet',
  microseconds: Date.UTC(2026, 10, 22, 12, 34, 56, 789) * 1000 + 12,
  worker: 1,
  verdict: 'forwarded',
  counters: ['connections_created'],
  arrived: traced('eth0', frame),
  left: [traced('enp3s0', frame)],
  leftUnseen: 0,
  connection: {
    protocol: 'TCP',
    client: '10.0.1.100:40001',
    virtual: '198.51.100.1:80',
    real: '10.0.2.11:8000',
    method: 'nat',
    state: 'SYN_RECV',
  },
};

describe('xvs trace', () => {
  let stand: Stand;
  before(async () => {
    stand = new Stand(1024);
    await stand.open();
  });
  after(() => stand.close());

  test('a line that makes no sense ends with status 2, before the director is asked', async () => {
    const lines: readonly (readonly [string[], RegExp])[] = [
      [['port', 'x'], /^xvs: filter, character 6: "x"; a port is allowed/],
      [['tcp and (port 80'], /^xvs: filter, character 17: the filter ends; "\)" is allowed/],
      [['--count', '0'], /^xvs: --count 0: 1 to 1000000000 are allowed/],
      [['--snaplen', '63'], /^xvs: --snaplen 63: 64 to 65535 are allowed/],
      [['--seconds'], /^xvs: --seconds: S is missing/],
      [['--pcap', 'x', '--json'], /^xvs: --json: not with --pcap/],
      [['--colour'], /^xvs: --colour: unknown option; allowed are --count/],
    ];
    for (const [words, message] of lines) {
      const { status, stderr } = await stand.run(['trace', ...words]);
      assert.equal(status, 2, words.join(' '));
      assert.match(stderr, message);
    }
  });

  test('what the director refuses, and a file that cannot be made, end with status 1', async () => {
    const refused = await stand.run(['trace', '--count', '1']);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /^xvs: POST \/v1\/trace is not served here$/m);
    const folder = await stand.run(['trace', '--pcap', stand.folder]);
    assert.equal(folder.status, 1);
    assert.match(folder.stderr, /^xvs: --pcap .*EISDIR/);
  });
});

test('a packet is a block: when, where, in, out, why', () => {
  const lines = printPacket({ ...PACKET, leftUnseen: 2 }).split('\n');
  assert.match(lines[0]!, /^\d\d:34:56\.789012 worker 1$/);
  const text = 'IP 10.0.1.100.40001 > 198.51.100.1.80: Flags [S], seq 1000, win 64240, length 0';
  assert.deepEqual(lines.slice(1), [
    `  in   eth0    ${text}`,
    `  out  enp3s0  ${text}`,
    '  out  2 more frames, not kept',
    '  forwarded: nat to 10.0.2.11:8000, SYN_RECV (connections_created)',
    '',
    '',
  ]);
});

test('every verdict says why', () => {
  const said = (fields: Partial<TracedPacket>) =>
    verdictText({ ...PACKET, counters: [], ...fields });
  const { connection } = PACKET;
  assert.equal(
    said({ verdict: 'dropped', counters: ['no_real_server', 'icmp_sent'], connection: null }),
    'dropped: no_real_server: The service has no real server that may be chosen; ' +
      'the client gets ICMP port unreachable. (icmp_sent)',
  );
  assert.match(
    said({ verdict: 'host', counters: ['not_scheduled'], connection: null }),
    /^given to the host's stack: not_scheduled: To a service, without a connection/,
  );
  assert.equal(
    said({ verdict: 'waiting', counters: ['neighbour_waited'], connection }),
    "waits for the next hop's MAC address: nat to 10.0.2.11:8000, SYN_RECV",
  );
  assert.equal(
    said({ verdict: 'waiting', counters: ['fragments_held'], connection: null }),
    'waits for the first fragment of its packet',
  );
  assert.equal(said({ verdict: 'taken', connection: null }), 'nothing leaves');
});

test('the capture file is pcapng as capinfos and tshark know it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-pcapng-'));
  try {
    const path = join(folder, 'trace.pcapng');
    const file = new PcapngFile(path, 65535);
    file.add('eth0', 'in', PACKET.microseconds, frame, frame.length, 'dropped: ünïcode');
    file.add('eth0', 'out', PACKET.microseconds + 1, answer.subarray(0, 70), answer.length, 'b');
    file.add('eth0', 'in', PACKET.microseconds + 2, frame, frame.length, 'c');
    file.close();
    const fields = [
      'frame.interface_name',
      'frame.time_epoch',
      'frame.cap_len',
      'frame.len',
      'frame.comment',
    ];
    const words = ['-r', path, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])];
    const done = spawnSync('tshark', words, { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
    const seconds = Math.floor(PACKET.microseconds / 1e6);
    const [short, long] = [String(frame.length), String(answer.length)];
    assert.deepEqual(
      done.stdout
        .trim()
        .split('\n')
        .map((row) => row.split('\t')),
      [
        ['eth0 in', `${seconds}.789012000`, short, short, 'dropped: ünïcode'],
        ['eth0 out', `${seconds}.789013000`, '70', long, 'b'],
        ['eth0 in', `${seconds}.789014000`, short, short, 'c'],
      ],
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
