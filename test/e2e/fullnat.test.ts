/**
 * FULLNAT beyond what every method must do (methods.test.ts): the lab, the client's address as
 * tshark reads it, ports that run out, local addresses that go, resets at expiry.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Capture } from '#xvs/lab/capture';
import { executable } from '#xvs/lab/director';
import { eventually, runCommand } from '#xvs/lab/process';
import { samplesOf, sumOf } from '../support/director';
import { FAMILIES, type Family, type Matrix, startMatrix } from '../support/matrix';
import { assertNothingLeft, hostState } from '../support/namespace';
import { whyNoNetwork } from '../support/probe';
import { mustRun } from '../support/process';

const WARNING_MS = 3000;
const RESET_MS = 8000;

describe('lab fullnat', { skip: whyNoNetwork() }, () => {
  test('two servers in turn see local addresses, the client by TOA; nothing is left', async () => {
    const before = hostState();
    const result = await runCommand([process.execPath, executable('lab'), 'fullnat']);
    assert.equal(result.status, 0, result.stdout + result.stderr);
    const answers = result.stdout.split('\n').filter((line) => /^webserver\d \S+$/.test(line));
    assert.equal(answers.length, 4, result.stdout);
    assert.equal(new Set(answers).size, 2);
    assert.deepEqual(answers.slice(2), answers.slice(0, 2));
    assert.match(result.stdout, /^ {2}-> 192\.168\.0\.10:9000 +FullNat 1 /m);
    assert.match(result.stdout, /^ {30}192\.168\.0\.101 +0 +2 +$/m);
    assert.match(result.stdout, /^real servers: 2 connections of 192\.168\.0\.102$/m);
    const named = result.stdout.match(/^real servers: TOA says client 172\.25\.254\.200:\d+$/gm);
    assert.equal(named?.length, 4, result.stdout);
    await assertNothingLeft(before);
  });
});

/** TOA as tshark decodes it: source, port in the option, address in it, as hex. */
async function decodeToa(file: string): Promise<string[][]> {
  const fields = ['ip.src', 'ipv6.src', 'tcp.options.experimental.exid'];
  const said = await runCommand([
    ...['tshark', '-r', file, '-Y', 'tcp.option_kind == 254', '-T', 'fields'],
    ...[...fields, 'tcp.options.experimental.data'].flatMap((field) => ['-e', field]),
  ]);
  assert.equal(said.status, 0, `tshark: ${said.stderr}`);
  const lines = said.stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => line.split('\t'));
}

function hexOf(address: string): string {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number)).toString('hex');
  const [head = '', tail = ''] = address.split('::').map((half) =>
    half
      .split(':')
      .filter((group) => group !== '')
      .map((group) => group.padStart(4, '0'))
      .join(''),
  );
  return head + '0'.repeat(32 - head.length - tail.length) + tail;
}

/** What the tests of one family do with its hosts. */
class Stand {
  readonly matrix: Matrix;

  constructor(matrix: Matrix) {
    this.matrix = matrix;
  }

  /** As the tools take it: the web service's address and port. */
  get service(): string {
    return this.matrix.url.replace(/^http:\/\/(.*)\/$/, '$1:80');
  }

  async change(command: '--add-laddr' | '--del-laddr', address: string): Promise<void> {
    await this.xvsadm(command, '-t', this.service, '-z', address);
  }

  async xvsadm(...words: string[]): Promise<void> {
    const said = await this.matrix.director.xvsadm(words);
    assert.equal(said.status, 0, said.stderr);
  }

  /** Exit status of one request by curl. */
  async fetch(): Promise<number> {
    const { client, url } = this.matrix;
    return (await client.run(['curl', '-gsSf', '--max-time', '2', url])).status;
  }

  /** Starts a client that holds a connection and sends a request for each line of `input`. */
  hold(name: string, input: string): ChildProcess {
    const script = join(__dirname, 'heldClient.js');
    const command = `(${input}) | ${process.execPath} ${script} ${this.matrix.addresses.vip} 80`;
    return this.matrix.topology.spawn(this.matrix.client, ['bash', '-c', command], name);
  }

  /** Waits until that client has said `count` lines that fit. */
  heard(name: string, line: RegExp, count: number, timeoutMs: number): Promise<boolean> {
    const file = join(this.matrix.topology.directory, name);
    return eventually(async () => {
      const text = await mustRun(this.matrix.client, ['cat', file]);
      return text.split('\n').filter((said) => line.test(said)).length >= count;
    }, timeoutMs);
  }
}

async function seesClient({ matrix }: Stand): Promise<void> {
  const { addresses, servers, topology } = matrix;
  const captures = await Promise.all(
    servers.map(({ host }) => Capture.start(topology, host, 'eth0', 'tcp port 80')),
  );
  const ports: number[] = [];
  for (let number = 0; number < 2; number++) {
    const words = ['curl', '-gsSf', '--max-time', '5', '-o', '/dev/null'];
    const said = await mustRun(matrix.client, [...words, '-w', '%{local_port}', matrix.url]);
    ports.push(Number(said));
  }
  const read: string[][] = [];
  for (const capture of captures) {
    await capture.stop();
    read.push(...(await decodeToa(capture.file)));
  }
  assert.ok(read.length >= ports.length, 'each connection has it at least once');
  for (const [ipv4 = '', ipv6 = '', , address] of read) {
    assert.ok(addresses.local.includes(ipv4 + ipv6), `from ${ipv4}${ipv6}`);
    assert.equal(address, hexOf(addresses.client));
  }
  const named = new Set(read.map(([, , port]) => Number(port)));
  assert.deepEqual([...named].sort(), [...ports].sort());
}

async function losesAddresses(stand: Stand): Promise<void> {
  const { director, addresses } = stand.matrix;
  const child = stand.hold('held', 'echo; sleep 4; echo; sleep 1');
  assert.ok(await stand.heard('held', /^webserver/, 1, 5000), 'no first answer');
  for (const own of addresses.local) await stand.change('--del-laddr', own);
  assert.notEqual(await stand.fetch(), 0);
  const drops = samplesOf(await director.metrics(), 'xvs_drops_total');
  const exhausted = drops.find(({ labels }) => labels['reason'] === 'local_ports_exhausted');
  assert.ok((exhausted?.value ?? 0) > 0, 'not counted');
  assert.ok(await stand.heard('held', /^webserver/, 2, 5000), 'the held connection broke');
  for (const own of addresses.local) await stand.change('--add-laddr', own);
  assert.equal(await stand.fetch(), 0);
  assert.ok(await eventually(() => child.exitCode !== null, 5000), 'the held client goes on');
}

async function resetsBoth(stand: Stand): Promise<void> {
  const { director, servers } = stand.matrix;
  const said = await director.tool('xvs', ['sysctl', 'conn_expire_tcp_rst=1']);
  assert.equal(said.status, 0, said.stderr);
  await stand.xvsadm('--set', '2', '0', '0');
  stand.hold('reset', 'echo; sleep 20');
  const isReset = await stand.heard('reset', /^broken: read ECONNRESET/, 1, RESET_MS);
  assert.ok(isReset, 'the client was not reset');
  for (const { host } of servers) {
    const open = await mustRun(host, ['ss', '-Htn', 'state', 'established', 'sport', '=', ':80']);
    assert.equal(open.trim(), '', 'a server still holds its end');
  }
  assert.equal(sumOf(await director.metrics(), 'xvs_worker_resets_sent_total'), 2);
}

function testFamily(family: Family): void {
  let stand: Stand;
  before(async () => {
    stand = new Stand(await startMatrix({ method: 'fullnat', family }));
  });
  after(() => stand?.matrix.close());

  test('tshark reads the client’s address and port at the real server', () => seesClient(stand));

  test('a local address that goes keeps its connections; without any there are no new ones', () =>
    losesAddresses(stand));

  test('a local address that is not the host’s is warned of', async () => {
    const foreign = family === 4 ? '10.0.2.77' : 'fd00:2::77';
    await stand.change('--add-laddr', foreign);
    const { director } = stand.matrix;
    const warned = () => director.log().includes(`local address ${foreign} is none of this`);
    assert.ok(await eventually(warned, WARNING_MS), director.log());
    await stand.change('--del-laddr', foreign);
  });

  test('a connection that expires is reset at both ends (conn_expire_tcp_rst)', () =>
    resetsBoth(stand));
}

for (const family of FAMILIES) {
  describe(`FULLNAT, IPv${family}`, { skip: whyNoNetwork() }, () => testFamily(family));
}
