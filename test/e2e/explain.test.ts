/**
 * `xvs explain` against a running director: what it says of a packet is what the next request
 * meets, and asking changes nothing. `xvs replay` as a user without rights: the same bytes each
 * time.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ExplainAnswer } from '#xvs/control/explain/protocol';
import { executable } from '#xvs/lab/director';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { runCommand } from '#xvs/lab/process';
import { AS_NOBODY } from '../support/asNobody';
import { type Stand, startNat, sumOf, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText, fetchTexts } from '../support/process';

const CLIENT = '172.25.254.200';
const GOLDEN = resolve(__dirname, '..', '..', '..', 'test', 'goldens', 'packets', 'nat-tcp');
const REPLAY_CONFIG = `interfaces: [{name: d0}, {name: d1}]
services:
  - tcp: 198.51.100.1:80
    scheduler: rr
    servers: [{address: '10.0.2.11:8000', method: nat}]
`;

describe('explain', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  before(async () => {
    stand = await startNat();
  });
  after(() => stand?.close());

  async function explain(...words: string[]): Promise<ExplainAnswer> {
    const said = await stand.director.tool('xvs', ['explain', ...words, '--json']);
    assert.equal(said.status, 0, said.stderr);
    return JSON.parse(said.stdout) as ExplainAnswer;
  }
  const clientTo = (port: number, ...words: string[]) =>
    explain('tcp', `${CLIENT}:40000`, `${VIP}:${port}`, ...words);

  test('the next request meets the real server that it names; asking changes nothing', async () => {
    // Both servers' neighbours are known after these.
    await fetchTexts(stand.hosts.client, VIP_URL, 2);
    const created = sumOf(await stand.director.metrics(), 'xvs_worker_connections_created_total');
    const answers = [await clientTo(80), await clientTo(80)];
    const later = sumOf(await stand.director.metrics(), 'xvs_worker_connections_created_total');
    assert.equal(later, created);
    const [first, second] = answers.map(({ counted, verdict, sent }) => ({
      counted,
      verdict,
      sent,
    }));
    assert.deepEqual(second, first);
    const answered = await fetchText(stand.hosts.client, VIP_URL);
    const [, address] = /(\S+)$/.exec(answered)!;
    assert.equal(first!.counted.server, `${address}:80`);
    assert.equal(first!.verdict, 'forwarded');
    assert.ok(
      REAL_SERVERS.some((server) => server === address),
      address,
    );
    const [{ xdp, interface: name }] = answers as [ExplainAnswer];
    assert.deepEqual([xdp?.verdict, name], ['redirect_service', 'eth0']);
    assert.equal(first!.sent[0]?.interface, 'eth1');
    assert.match(
      first!.sent[0]!.text,
      new RegExp(`> ${address!.replaceAll('.', '\\.')}:80 \\[S\\]`),
    );
  });

  test('a known connection, a port without a service, a TTL that does not suffice', async () => {
    const held = `${CLIENT}:45678`;
    const open = `exec 3<>/dev/tcp/${VIP}/80; exec sleep 60`;
    const host = stand.hosts.client;
    const child = stand.hosts.topology.spawn(host, ['bash', '-c', open], 'held.log');
    try {
      let listed = '';
      for (let tries = 0; tries < 200 && !listed.includes('ESTABLISHED'); tries++) {
        listed = (await stand.director.xvsadm(['-Lnc'])).stdout;
        await new Promise((done) => setTimeout(done, 50));
      }
      const [, client] = /ESTABLISHED (\S+)/.exec(listed) ?? [undefined, held];
      const known = await explain('tcp', client!, `${VIP}:80`, '--flags', 'PA');
      const found = known.steps.find(({ step }) => step === 'connection');
      assert.match(found?.text ?? '', /ESTABLISHED/);
      assert.equal(known.verdict, 'forwarded');
    } finally {
      process.kill(child.pid!);
    }
    const stray = await clientTo(81);
    assert.deepEqual([stray.verdict, stray.xdp?.verdict], ['no_connection', 'pass_no_match']);
    const short = await clientTo(80, '--ttl', '1');
    assert.equal(short.verdict, 'ttl_exceeded');
    assert.match(short.sent[0]?.text ?? '', /icmp .* type 11/);
  });

  test('in words: every decision, the counter, the frames', async () => {
    const words = ['explain', 'udp', `${CLIENT}:9`, `${VIP}:7007`, '--bytes'];
    const said = await stand.director.tool('xvs', words);
    assert.equal(said.status, 0, said.stderr);
    for (const part of [
      /^in {2}eth0 udp 172\.25\.254\.200:9 > 172\.25\.254\.100:7007/m,
      /XDP program: redirect_service/,
      /service: udp 172\.25\.254\.100:7007: there is one, scheduler rr/,
      /scheduler: new connection.*192\.168\.0\.\d+:7007, nat, weight 1/,
      /next hop: .*eth1, neighbour 192\.168\.0\.\d+/,
      /verdict: (forwarded|waits_for_neighbour)/,
      /counters: rx_frames 1/,
      /^ {4}0000 {2}[0-9a-f]{4} /m,
    ]) {
      assert.match(said.stdout, part);
    }
    const refused = await stand.director.tool('xvs', [
      ...['explain', 'tcp', '10.0.0.1:1', '10.0.0.2:2', '--interface', 'none0'],
    ]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /interface none0: xvs serves eth0, eth1/);
  });
});

test('replay needs no rights, and gives the same bytes each time', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-replay-'));
  try {
    chmodSync(folder, 0o777);
    const config = join(folder, 'xvs.yaml');
    writeFileSync(config, REPLAY_CONFIG);
    const files = ['one.pcap', 'two.pcap'].map((name) => join(folder, name));
    for (const out of files) {
      const words = [join(GOLDEN, 'd-d0.pcap'), '--config', config, '--out', out];
      const command = [...AS_NOBODY, process.execPath, executable('xvs'), 'replay', ...words];
      const said = await runCommand(command);
      assert.equal(said.status, 0, said.stderr);
      assert.match(said.stdout, /^14 packets, 7 frames sent$/m);
    }
    const [one, two] = files.map((file) => readFileSync(file));
    assert.ok(one!.equals(two!));
    assert.ok(one!.length > 7 * 54);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
