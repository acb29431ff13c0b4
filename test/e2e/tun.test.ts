/**
 * Tunnels with real traffic: the lab; both families inside and outside, gue and gre; a way to the
 * real servers that is too short for the outer header, and one that gets shorter.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, linkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Director, executable } from '#xvs/lab/director';
import { eventually, runCommand } from '#xvs/lab/process';
import { buildTunHosts, REAL_SERVERS, type TunHosts, VIP } from '#xvs/lab/tunTopology';
import { sumOf } from '../support/director';
import { writeRandomFile } from '../support/file';
import { type Family, type Matrix, startMatrix } from '../support/matrix';
import { assertNothingLeft, hostState } from '../support/namespace';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts, mustRun } from '../support/process';

const TRANSFER_SECONDS_MAX = 60;
const ECHO_PORT = 7007;
const DATAGRAMS = 1000;
/** More would overflow a server's socket buffer, which counts each small piece as a page. */
const OUTSTANDING = 1;
const DATAGRAM_BYTES_MAX = 60_000;
const STARTED_TIMEOUT_MS = 10_000;
const LAB = [process.execPath, executable('lab'), 'tun'];

describe('lab tun', { skip: whyNoNetwork() }, () => {
  test('in turn, replies past the director, the packet of the client inside', async () => {
    const state = hostState();
    const { status, stdout, stderr } = await runCommand(LAB);
    assert.equal(status, 0, stdout + stderr);
    const answers = stdout.split('\n').filter((line) => /^webserver\d \S+$/.test(line));
    assert.equal(answers.length, 4, stdout);
    const greetings = REAL_SERVERS.map((address, at) => `webserver${at + 1} ${address}`);
    assert.deepEqual(answers.slice(0, 2).sort(), greetings);
    assert.deepEqual(answers.slice(2), answers.slice(0, 2));
    const counts = /^cables: (\d+) packets left in the tunnel, (\d+) replies/m.exec(stdout);
    assert.ok(Number(counts?.[1]) >= 16 && Number(counts?.[2]) >= 12, stdout);
    assert.match(stdout, /^cables: protocol 4, inside the packet of 172\.25\.254\.200/m);
    assert.match(stdout, /^ {2}-> 10\.0\.0\.10:80 +Tunnel +1 /m);
    await assertNothingLeft(state);
  });
});

const TUNNELS: readonly (readonly [name: string, words: readonly string[]])[] = [
  ['ipip', []],
  ['gue', ['--tun-type', 'gue', '--tun-port', '6080', '--tun-nocsum']],
  ['gue with checksum', ['--tun-type', 'gue', '--tun-port', '6080', '--tun-csum']],
  ['gue with remote checksum', ['--tun-type', 'gue', '--tun-port', '6080', '--tun-remcsum']],
  ['gre', ['--tun-type', 'gre', '--tun-nocsum']],
  ['gre with checksum', ['--tun-type', 'gre', '--tun-csum']],
];
const UPLOAD_BYTES = 4_000_000;

async function administer(director: Director, words: readonly string[]): Promise<void> {
  const said = await director.xvsadm(words);
  assert.equal(said.status, 0, `xvsadm ${words.join(' ')}: ${said.stderr}`);
}

/** Requests in turn and an upload, whose packets are as long as may be. */
async function useTunnel(matrix: Matrix): Promise<void> {
  const answers = await fetchTexts(matrix.client, matrix.url, 4);
  assert.deepEqual(
    [...new Set(answers.slice(0, 2))].sort(),
    matrix.servers.map(({ greeting }) => greeting),
  );
  assert.deepEqual(answers.slice(2), answers.slice(0, 2));
  const script =
    `head -c ${UPLOAD_BYTES} /dev/zero | ` +
    `curl -gsSf --max-time ${TRANSFER_SECONDS_MAX} -T - ${matrix.url}files/upload`;
  await mustRun(matrix.client, ['bash', '-o', 'pipefail', '-c', script]);
  const files = matrix.servers.map(({ files }) => join(files, 'upload')).filter(existsSync);
  assert.equal(files.length, 1);
  assert.equal((await sha256(files[0]!)).bytes, UPLOAD_BYTES);
  for (const file of files) rmSync(file);
}

async function sha256(path: string): Promise<{ bytes: number; hex: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const block of createReadStream(path)) {
    hash.update(block as Buffer);
    bytes += (block as Buffer).length;
  }
  return { bytes, hex: hash.digest('hex') };
}

const OUTER: Readonly<Record<Family, { own: string; servers: readonly string[]; prefix: number }>> =
  {
    4: { own: '10.0.2.1', servers: ['10.0.2.11', '10.0.2.12'], prefix: 24 },
    6: { own: 'fd00:2::1', servers: ['fd00:2::11', 'fd00:2::12'], prefix: 64 },
  };
const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

for (const inner of [4, 6] as const) {
  describe(`IPv${inner} in every tunnel`, { skip: whyNoNetwork() }, () => {
    let matrix: Matrix;
    const other: Family = inner === 4 ? 6 : 4;

    before(async () => {
      matrix = await startMatrix({ method: 'tunnel', family: inner });
    });
    after(() => matrix?.close());

    const service = () => ['-t', `${bracketed(matrix.addresses.vip)}:80`];
    const change = async (option: '-a' | '-e', outer: Family, words: readonly string[]) => {
      for (const address of OUTER[outer].servers) {
        const server = `${bracketed(address)}:80`;
        await administer(matrix.director, [option, ...service(), '-r', server, '-i', ...words]);
      }
    };

    for (const [name, words] of TUNNELS) {
      test(`${name} over IPv${inner}`, async () => {
        await change('-e', inner, words);
        await useTunnel(matrix);
      });
    }

    test(`every tunnel over IPv${other}`, async () => {
      const { own, servers, prefix } = OUTER[other];
      const nodad = other === 6 ? ['nodad'] : [];
      const give = (where: { ip(...words: string[]): string }, name: string, address: string) =>
        where.ip('address', 'add', `${address}/${prefix}`, 'dev', name, ...nodad);
      give(matrix.director.host, 'eth1', own);
      servers.forEach((address, at) => {
        give(matrix.servers[at]!.host, 'eth0', address);
      });
      for (const address of OUTER[inner].servers) {
        const words = [...service(), '-r', `${bracketed(address)}:80`];
        await administer(matrix.director, ['-d', ...words]);
      }
      await change('-a', other, []);
      for (const [, words] of TUNNELS) {
        await change('-e', other, words);
        await useTunnel(matrix);
      }
    });

    test('a link without room for the outer header: the client sends shorter packets', async () => {
      matrix.director.host.ip('link', 'set', 'eth1', 'mtu', '1500');
      const before = sumOf(await matrix.director.metrics(), 'xvs_worker_icmp_sent_total');
      await useTunnel(matrix);
      assert.ok(sumOf(await matrix.director.metrics(), 'xvs_worker_icmp_sent_total') > before);
    });
  });
}

describe('tunnels through a router', { skip: whyNoNetwork() }, () => {
  let hosts: TunHosts;
  let director: Director;
  let original: string;
  let expected: string;

  before(async () => {
    hosts = await buildTunHosts();
    const { topology, webServers } = hosts;
    for (const { host } of webServers) {
      const ready = join(topology.directory, `${host.name}.echo`);
      const script = join(__dirname, 'udpEchoServer.js');
      topology.spawn(host, [process.execPath, script, VIP, `${ECHO_PORT}`, ready]);
      assert.ok(await eventually(() => existsSync(ready), STARTED_TIMEOUT_MS), host.name);
    }
    director = new Director(topology, hosts.director, { interfaces: [{ name: 'eth0' }] });
    await director.start();
    for (const [protocol, port] of [
      ['-t', 80],
      ['-u', ECHO_PORT],
    ] as const) {
      const service = [protocol, `${VIP}:${port}`];
      await administer(director, ['-A', ...service, '-s', 'rr']);
      for (const address of REAL_SERVERS) {
        await administer(director, ['-a', ...service, '-r', `${address}:${port}`, '-i']);
      }
    }
    original = join(topology.directory, 'random');
    expected = writeRandomFile(original);
    for (const { files } of webServers) linkSync(original, join(files, 'random'));
  });
  after(() => hosts?.topology.close());

  test('a download of 200 MB arrives as it was sent', async () => {
    const url = `http://${VIP}/files/random`;
    const script = `curl -sSf --max-time ${TRANSFER_SECONDS_MAX} ${url} | sha256sum`;
    const said = await mustRun(hosts.client, ['bash', '-o', 'pipefail', '-c', script]);
    assert.equal(said.split(' ')[0], expected);
  });

  test('an upload of 200 MB arrives as it was sent, in packets that leave room', async () => {
    assert.equal(await upload('first'), expected);
    const metrics = await director.metrics();
    assert.ok(sumOf(metrics, 'xvs_worker_icmp_sent_total') > 0, 'the client was told the length');
  });

  test(`datagrams of up to ${DATAGRAM_BYTES_MAX} bytes are answered`, async () => {
    const script = join(__dirname, 'udpEchoClient.js');
    const words = [VIP, ECHO_PORT, DATAGRAMS, OUTSTANDING, DATAGRAM_BYTES_MAX].map(String);
    const said = await mustRun(hosts.client, [process.execPath, script, ...words]);
    const answered = { sent: DATAGRAMS, answered: DATAGRAMS, late: 0, wrong: 0 };
    assert.deepEqual(JSON.parse(said), answered);
  });

  test('a way that gets shorter behind the director: the client hears of it', async () => {
    hosts.router.ip('link', 'set', 'eth2', 'mtu', '1400');
    assert.equal(await upload('second'), expected);
    const route = await mustRun(hosts.client, ['ip', 'route', 'get', VIP]);
    // 1,400 less the outer header.
    assert.match(route, / mtu 1380/);
  });

  /** SHA-256 of what one of the servers received. */
  async function upload(name: string): Promise<string> {
    const words = ['-sSf', '--max-time', `${TRANSFER_SECONDS_MAX}`, '-T', original];
    await mustRun(hosts.client, ['curl', ...words, `http://${VIP}/files/${name}`]);
    const copies = hosts.webServers.map(({ files }) => join(files, name)).filter(existsSync);
    assert.equal(copies.length, 1);
    const { hex } = await sha256(copies[0]!);
    rmSync(copies[0]!);
    return hex;
  }
});
