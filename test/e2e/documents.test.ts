/**
 * The commands of the README and of the manual pages, typed as they stand there, on the hosts of
 * the NAT lab, whose addresses they name. What is typed on a real server runs on one.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { executable, METRICS_ADDRESS } from '#xvs/lab/director';
import { buildNatHosts, type NatHosts } from '#xvs/lab/natTopology';
import { type CommandResult, ended, eventually, runCommand } from '#xvs/lab/process';
import { VIP_URL } from '../support/director';
import { type Block, fencedBlocks, literalBlocks, ROOT, readDocument } from '../support/document';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts } from '../support/process';

const START_TIMEOUT_MS = 60_000;
const TOOLS = ['xvsd', 'xvsadm', 'xvsadm-save', 'xvsadm-restore', 'xvs'];
/** Files that an installed system, or its user, has: here the test's own, or the project's. */
const RULES_FOLDER = '/etc/sysconfig/';
const STAND_INS: readonly (readonly [string, string])[] = [
  ['/etc/xvs/xvs.yaml', join(ROOT, 'config', 'nat.yaml')],
  [' in.pcap', ` ${join(ROOT, 'test', 'goldens', 'packets', 'nat-udp', 'd-d0.pcap')}`],
];

const isTyped = (line: string) => /^((node )?dist\/bin\/|xvs|curl |sysctl )/.test(line);
const isDaemon = (line: string) => /xvsd(\.js)? --config \S+$/.test(line);
const isOnServer = (line: string) => / decap |^sysctl /.test(line);

function commandsOf(blocks: readonly Block[]): string[] {
  // A session, with what it says: tour.test.ts.
  const typed = blocks.filter(({ language }) => language !== 'console');
  return typed.flatMap(({ lines }) => lines.filter(isTyped));
}

/** The director and a shell beside it. */
class Desk {
  readonly hosts: NatHosts;
  #daemon: ChildProcess | undefined;

  constructor(hosts: NatHosts) {
    this.hosts = hosts;
    mkdirSync(this.#bin);
    for (const name of TOOLS) symlinkSync(executable(name), join(this.#bin, name));
  }

  get #bin(): string {
    return join(this.hosts.topology.directory, 'bin');
  }

  #shell(line: string): string[] {
    const { directory } = this.hosts.topology;
    let typed = line.replaceAll(RULES_FOLDER, `${directory}/`);
    typed = typed.replace(' out.pcapng', ` ${directory}/out.pcapng`);
    for (const [named, own] of STAND_INS) typed = typed.replace(named, own);
    return ['bash', '-c', `cd '${ROOT}' && PATH='${this.#bin}':$PATH && ${typed}`];
  }

  /** The command that is to go on. Its admin socket is the usual one, in a /run of its own. */
  async startDaemon(line: string): Promise<void> {
    const { topology, director } = this.hosts;
    const daemon = topology.spawn(
      director,
      this.#shell(`mount -t tmpfs tmpfs /run && exec ${line}`),
      'xvsd.log',
    );
    this.#daemon = daemon;
    const ready = ['curl', '-sf', '--max-time', '2', `http://${METRICS_ADDRESS}/readyz`];
    const settled = async () =>
      daemon.exitCode !== null || (await director.run(ready)).status === 0;
    assert.ok(await eventually(settled, START_TIMEOUT_MS), line);
    const log = readFileSync(join(topology.directory, 'xvsd.log'), 'utf8');
    assert.equal(daemon.exitCode, null, `${line}: ${log}`);
  }

  /** Types a line where it belongs. */
  type(line: string): Promise<CommandResult> {
    const [server] = this.hosts.webServers;
    if (!isOnServer(line)) return this.#besideDaemon(line);
    return line.includes(' decap ') ? this.#serve(line) : server.host.run(this.#shell(line));
  }

  /** What serves until it is ended: ended as soon as it says that it does. */
  async #serve(line: string): Promise<CommandResult> {
    const { topology, webServers } = this.hosts;
    const log = `served-${++this.#served}.log`;
    const child = topology.spawn(webServers[0].host, this.#shell(`exec ${line}`), log);
    const said = () => readFileSync(join(topology.directory, log), 'utf8');
    const settled = () => said().includes('\n') || child.exitCode !== null;
    assert.ok(await eventually(settled, START_TIMEOUT_MS), line);
    child.kill('SIGINT');
    const status = await ended(child);
    return { status, stdout: said(), stderr: '' };
  }
  #served = 0;

  #besideDaemon(line: string): Promise<CommandResult> {
    const pid = this.#daemon?.pid;
    if (pid === undefined) return this.hosts.director.run(this.#shell(line));
    const beside = ['nsenter', '--target', `${pid}`, '--mount', '--net'];
    return runCommand([...beside, ...this.#shell(line)]);
  }

  async must(line: string): Promise<string> {
    const { status, stdout, stderr } = await this.type(line);
    assert.equal(status, 0, `${line}: status ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  async stopDaemon(): Promise<number> {
    const daemon = this.#daemon!;
    this.#daemon = undefined;
    daemon.kill('SIGTERM');
    return ended(daemon);
  }
}

describe('documented commands', { skip: whyNoNetwork() }, () => {
  let desk: Desk;
  before(async () => {
    desk = new Desk(await buildNatHosts());
  });
  after(() => desk?.hosts.topology.close());

  test('README: the daemon starts, balances, and takes every command as it stands', async () => {
    const commands = commandsOf(fencedBlocks(readDocument('README.md')));
    assert.ok(commands.length >= 20, commands.join('\n'));
    assert.equal(commands.filter(isDaemon).length, 1);
    const said = new Map<string, string>();
    for (const line of commands) {
      if (!isDaemon(line)) {
        said.set(line, await desk.must(line));
        continue;
      }
      await desk.startDaemon(line);
      const answers = await fetchTexts(desk.hosts.client, VIP_URL, 4);
      assert.equal(new Set(answers).size, 2, answers.join(', '));
      assert.deepEqual(answers.slice(2), answers.slice(0, 2));
    }
    const find = (pattern: RegExp) =>
      said.get(commands.find((line) => pattern.test(line)) ?? 'no such command') ?? '';
    assert.match(find(/--check$/), /^config\/nat\.yaml: ok$/m);
    assert.match(find(/xvsadm\.js -Ln$/), /^TCP {2}172\.25\.254\.100:80 rr$/m);
    assert.match(find(/xvsadm-save\.js -n$/), /-r 192\.168\.0\.30:80 -m -w 1$/m);
    assert.match(find(/metrics$/), /^xvs_service_connections_total\{.*\} 4$/m);
    assert.match(find(/--get-laddr$/), /^ {30}192\.168\.0\.101 /m);
    assert.match(find(/xvs\.js decap/), /^eth0: strips ipip, gre and gue .*\n.*decap_ipip 0/);
    const table = await desk.must('node dist/bin/xvsadm.js -Ln');
    for (const method of ['Masq', 'Route', 'Tunnel', 'FullNat']) {
      assert.match(table, new RegExp(` ${method} +1 `), method);
    }
  });

  test('manual pages: their examples, one page after the other', async () => {
    for (const name of ['xvsadm', 'xvs']) {
      const commands = commandsOf(literalBlocks(readDocument(`docs/man/${name}.8`)));
      assert.ok(commands.length >= 4, name);
      await desk.must('xvsadm -C');
      for (const line of commands) await desk.must(line);
    }
  });

  test('SIGTERM ends the daemon', async () => {
    assert.equal(await desk.stopDaemon(), 0);
  });
});
