/**
 * `xvs trace` on a running director: a SYN as it came and as it left, a packet that is dropped and
 * its answer, a capture file that tshark reads, and the filter off again when the client is gone.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { executable } from '#xvs/lab/director';
import { CLIENT_ADDRESS, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { ended, eventually, startCommand } from '#xvs/lab/process';
import { type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText, fetchTexts, mustRun } from '../support/process';

const WAIT_MS = 30_000;
const EMPTY_PORT = 81;

describe('trace', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  const children: ChildProcess[] = [];
  let logs = 0;

  before(async () => {
    stand = await startNat();
    // Next hops are known from then on.
    await fetchTexts(stand.hosts.client, VIP_URL, REAL_SERVERS.length);
    await stand.director.xvsadm(['-A', '-t', `${VIP}:${EMPTY_PORT}`]);
  });
  after(() => {
    for (const child of children) child.kill('SIGKILL');
    stand?.close();
  });

  interface Running {
    readonly child: ChildProcess;
    readonly output: () => string;
    /** Until it ends; what it said. */
    readonly end: () => Promise<string>;
  }

  /** Starts a trace and waits until it is on, or has ended. */
  async function trace(words: readonly string[], around: readonly string[] = []): Promise<Running> {
    const log = join(stand.hosts.topology.directory, `trace${logs++}.log`);
    const { socket } = stand.director;
    const xvs = [process.execPath, executable('xvs'), '--socket', socket, 'trace', ...words];
    const child = startCommand([...around, ...xvs], { log });
    children.push(child);
    const output = () => readFileSync(log, 'utf8');
    const isOn = () => child.exitCode !== null || output().includes('tracing on');
    assert.ok(await eventually(isOn, WAIT_MS), output());
    const end = async () => {
      assert.ok(await eventually(() => child.exitCode !== null, WAIT_MS), output());
      assert.equal(await ended(child), 0, output());
      return output();
    };
    return { child, output, end };
  }

  test('a SYN in, a SYN out with the translated address, and why', async () => {
    const { end } = await trace(['--count', '1', 'tcp[tcpflags] = tcp-syn and', `dst host ${VIP}`]);
    await fetchText(stand.hosts.client, VIP_URL);
    const said = await end();
    const [from, flags] = [
      `IP ${CLIENT_ADDRESS.replaceAll('.', '\\.')}\\.\\d+`,
      'Flags \\[S\\], seq',
    ];
    const server = `(${REAL_SERVERS.join('|').replaceAll('.', '\\.')})`;
    assert.match(said, new RegExp(`^  in   eth0  ${from} > ${VIP}\\.80: ${flags}`, 'm'));
    assert.match(said, new RegExp(`^  out  eth1  ${from} > ${server}\\.80: ${flags}`, 'm'));
    assert.match(
      said,
      new RegExp(`^  forwarded: nat to ${server}:80, \\w+ \\(connections_created`, 'm'),
    );
    assert.match(said, /^xvs: 1 packets shown, 0 packets not shown$/m);
  });

  test('what is dropped, by which counter, and what its sender is told', async () => {
    const { end } = await trace(['--json', '--count', '1', `tcp dst port ${EMPTY_PORT}`]);
    const curl = ['curl', '-sS', '--max-time', '2', `http://${VIP}:${EMPTY_PORT}/`];
    assert.notEqual((await stand.hosts.client.run(curl)).status, 0);
    const line = (await end()).split('\n').find((text) => text.startsWith('{'));
    const packet = JSON.parse(line!);
    assert.equal(packet.verdict, 'dropped');
    assert.deepEqual(packet.counters, ['no_real_server', 'icmp_sent']);
    assert.equal(packet.connection, null);
    assert.equal(packet.arrived.interface, 'eth0');
    assert.deepEqual(
      packet.left.map((frame: { interface: string }) => frame.interface),
      ['eth0'],
    );
  });

  test('tshark reads both sides of every packet, and their checksums are right', async () => {
    const file = join(stand.hosts.topology.directory, 'trace.pcapng');
    const { child, end } = await trace(['--pcap', file, 'tcp port 80']);
    await fetchText(stand.hosts.client, VIP_URL);
    const fields = [
      'frame.interface_name',
      'ip.src',
      'ip.dst',
      'tcp.checksum.status',
      'frame.comment',
    ];
    const read = async () => {
      const words = ['-r', file, '-o', 'tcp.check_checksum:TRUE', '-T', 'fields'];
      const said = await stand.hosts.director.run([
        'tshark',
        ...words,
        ...fields.flatMap((one) => ['-e', one]),
      ]);
      return said.stdout
        .split('\n')
        .filter((row) => row !== '')
        .map((row) => row.split('\t'));
    };
    // Three of the handshake, request, answer, and their ends.
    assert.ok(await eventually(async () => (await read()).length >= 14, WAIT_MS, 500));
    child.kill('SIGINT');
    assert.match(await end(), /packets shown, 0 packets not shown$/m);
    const rows = await read();
    const shown = new Set(rows.map(([name]) => name));
    assert.deepEqual([...shown].sort(), ['eth0 in', 'eth0 out', 'eth1 in', 'eth1 out']);
    for (const [name, source, destination, status, comment] of rows) {
      const isServer = (address: string | undefined) =>
        (REAL_SERVERS as readonly string[]).includes(address!);
      assert.equal(isServer(destination), name === 'eth1 out', `${name} to ${destination}`);
      assert.equal(isServer(source), name === 'eth1 in', `${name} from ${source}`);
      // What comes off a virtual link has its checksum yet to be computed.
      if (name?.endsWith('out')) assert.equal(status, '1', `${name}: ${status}`);
      assert.match(comment!, /^forwarded: nat to 192\.168\.0\.[12]0:80/);
    }
  });

  test('it ends when nobody reads what it prints', async () => {
    const { child, output } = await trace(['tcp'], ['bash', '-c', '"$@" | head -n 1', 'bash']);
    const isOver = async () => {
      await fetchText(stand.hosts.client, VIP_URL);
      return child.exitCode !== null;
    };
    assert.ok(await eventually(isOver, WAIT_MS, 100), output());
  });

  test('one at a time; one that is killed leaves the filter off', async () => {
    const { child } = await trace(['']);
    const refused = await stand.director.tool('xvs', ['trace', '--count', '1']);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /another trace is on/);
    child.kill('SIGKILL');
    const again = async () =>
      (await stand.director.tool('xvs', ['trace', '--seconds', '1', 'port 9'])).status === 0;
    assert.ok(await eventually(again, WAIT_MS, 100), 'the next one is never accepted');
    await mustRun(stand.hosts.client, ['curl', '-sSf', '--max-time', '5', VIP_URL]);
  });
});
