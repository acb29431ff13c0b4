/**
 * The daemon as a service: changes by SIGHUP and `xvs apply` beside a connection that stays, and
 * the systemd units, whose commands, limits and readiness are tried without systemd as process 1.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { executable } from '#xvs/lab/director';
import type { Namespace } from '#xvs/lab/namespace';
import { CLIENT_ADDRESS, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { type CommandResult, ended, eventually, runCommand } from '#xvs/lab/process';
import { NAT_CONFIG, type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts } from '../support/process';

const ROOT = resolve(__dirname, '..', '..', '..');
const UNITS = join(ROOT, 'config', 'systemd');
const TIMEOUT_MS = 5000;
const LARGE_MS_MAX = 2000;
/** One request a line, on a machine that does other things too. */
const RESTORE_MS_MAX = 15_000;
const REFUSED_STATUS = 7; // curl: could not connect
const TOOLS = ['xvsd', 'xvsadm', 'xvsadm-save', 'xvsadm-restore', 'xvs'];

/** A connection of the client that stays open. */
class HeldConnection {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(host: Namespace) {
    const script = join(__dirname, 'heldClient.js');
    const [file, ...words] = host.inside([process.execPath, script, VIP, '80']);
    this.#child = spawn(file!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** One more request over it: the real server's greeting. */
  async request(): Promise<string> {
    this.#child.stdin!.write('\n');
    return (await this.#lines.next()).value as string;
  }

  async close(): Promise<void> {
    this.#child.stdin!.end();
    await ended(this.#child);
  }
}

/** Values of a key in a unit file. */
function unitValues(unit: string, key: string): string[] {
  return readFileSync(join(UNITS, unit), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1));
}

describe('service', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  before(async () => {
    stand = await startNat();
  });
  after(() => stand?.close());

  const write = (name: string, text: string): string => {
    const path = join(stand.hosts.topology.directory, name);
    writeFileSync(path, text);
    return path;
  };
  const xvs = (...words: string[]): Promise<CommandResult> => stand.director.tool('xvs', words);
  const listing = async (): Promise<string> => (await stand.director.xvsadm(['-Ln'])).stdout;

  const rules = (weight: number): string =>
    [
      `-A -t ${VIP}:80 -s rr`,
      ...REAL_SERVERS.map((address) => `-a -t ${VIP}:80 -r ${address}:80 -m -w ${weight}`),
      `-A -t ${VIP}:8080 -s rr`,
      `-a -t ${VIP}:8080 -r ${REAL_SERVERS[0]}:80 -m`,
      '',
    ].join('\n');

  test('a held connection survives xvs apply and SIGHUP; the rest changes', async () => {
    const held = new HeldConnection(stand.hosts.client);
    try {
      const greeting = await held.request();
      assert.match(greeting, /^webserver[12] /);
      const applied = await xvs('apply', write('rules', rules(3)));
      assert.equal(applied.status, 0, applied.stderr);
      assert.match(
        applied.stdout,
        /^applied: services 1 added, 0 edited, 1 removed; real servers 1 added, 2 edited, 2 /,
      );
      assert.equal(await held.request(), greeting);
      const ofClient = ['--client', CLIENT_ADDRESS, '--service', `${VIP}:80`];
      const counted = await xvs('connections', ...ofClient, '--state', 'established', '--count');
      assert.equal(counted.stdout, '1 connections\n', counted.stderr);
      assert.equal((await fetchTexts(stand.hosts.client, `http://${VIP}:8080/`, 2)).length, 2);

      const servers = REAL_SERVERS.map((address) => ({ address, method: 'nat', weight: 7 }));
      const services = [{ tcp: `${VIP}:80`, scheduler: 'rr', servers }];
      stand.director.configure({ ...NAT_CONFIG, services });
      stand.director.reload();
      const reloaded = await eventually(async () => {
        const table = await listing();
        return table.includes(' 7 ') && !table.includes(':8080');
      }, TIMEOUT_MS);
      assert.ok(reloaded, stand.director.log());
      assert.equal(await held.request(), greeting);
      assert.match(
        stand.director.log(),
        /SIGHUP: reload of \S+: ok: services 0 added, 0 edited, 1 rem/,
      );
    } finally {
      await held.close();
    }
  });

  test('a file with a mistake changes nothing and is named with its line', async () => {
    const before = await listing();
    const wrong = await xvs('apply', write('wrong', `${rules(1)}-a -t ${VIP}:81 -r 10.0.0.1 -m\n`));
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /\/wrong:6: service tcp .*:81: -a before its -A\n$/);
    const servers = [{ address: REAL_SERVERS[0], method: 'nat' }];
    const services = [{ tcp: `${VIP}:80`, scheduler: 'nonesuch', servers }];
    stand.director.configure({ ...NAT_CONFIG, services });
    stand.director.reload();
    const reason = /xvs\.yaml:\d+: .*scheduler "nonesuch" is unknown/;
    const said = () => reason.test(stand.director.log());
    assert.ok(await eventually(said, TIMEOUT_MS), stand.director.log());
    assert.match(stand.director.log(), /not applied, everything stays as it is/);
    assert.equal(await listing(), before);
    const checked = await stand.director.tool('xvsd', [
      '--check',
      '--config',
      stand.director.configFile,
    ]);
    assert.notEqual(checked.status, 0, '--check says the same before it is tried');
  });

  test('what needs a restart is said on reload', async () => {
    stand.director.configure({ ...NAT_CONFIG, workers: { mode: 'interrupt' } });
    stand.director.reload();
    const said = () => stand.director.log().includes('workers: a restart takes the change over');
    assert.ok(await eventually(said, TIMEOUT_MS), stand.director.log());
  });

  test('ten thousand lines are taken by a running daemon, at once and one by one', async () => {
    stand.director.configure(NAT_CONFIG);
    const lines = [rules(1)];
    for (let service = 1; service < 1000; service++) {
      const at = `-t 10.8.${service >> 8}.${service & 255}:80`;
      lines.push(`-A ${at} -s rr\n`);
      for (let port = 1; port <= 9; port++) lines.push(`-a ${at} -r 192.168.0.10:${port} -m\n`);
    }
    const file = write('large', lines.join(''));
    const began = performance.now();
    const applied = await xvs('apply', file);
    const appliedMs = performance.now() - began;
    assert.equal(applied.status, 0, applied.stderr);
    assert.ok(appliedMs <= LARGE_MS_MAX, `xvs apply took ${appliedMs.toFixed(0)} ms`);
    const restored = await stand.director.tool('xvsadm-restore', [], { input: lines.join('') });
    assert.equal(restored.status, 0, restored.stderr);
    const restoredMs = performance.now() - began - appliedMs;
    assert.ok(restoredMs <= RESTORE_MS_MAX, `restoring took ${restoredMs.toFixed(0)} ms`);
    assert.equal((await fetchTexts(stand.hosts.client, VIP_URL, 2)).length, 2);
    const removed = await stand.director.xvsadm(['-D', '-t', `${VIP}:80`]);
    assert.equal(removed.status, 0, removed.stderr);
    const refused = await stand.hosts.client.run(['curl', '-s', '--max-time', '5', VIP_URL]);
    assert.equal(refused.status, REFUSED_STATUS, 'a removed service is refused at once');
    stand.director.reload();
    const back = async () => (await listing()).includes(`UDP  ${VIP}:`);
    assert.ok(await eventually(back, TIMEOUT_MS), stand.director.log());
    assert.equal((await fetchTexts(stand.hosts.client, VIP_URL, 2)).length, 2);
  });

  /** A folder for PATH with the tools named as an installed package names them. */
  function toolFolder(): string {
    const folder = join(stand.hosts.topology.directory, 'bin');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const name of TOOLS) symlinkSync(executable(name), join(folder, name));
    return folder;
  }

  test('systemd-analyze verify accepts the units', async () => {
    const folder = toolFolder();
    const units = ['xvsd.service', 'xvsadm.service'].map((unit) => {
      const text = readFileSync(join(UNITS, unit), 'utf8');
      // systemd looks for programs in a search path of its own: here they are elsewhere.
      return write(unit, text.replace(/^(Exec\w+=)(?=xvs)/gm, `$1${folder}/`));
    });
    const verify = ['systemd-analyze', 'verify', '--man=no'];
    assert.deepEqual(await runCommand([...verify, ...units]), {
      status: 0,
      stdout: '',
      stderr: '',
    });
    const broken = write('broken.service', `${readFileSync(units[0]!, 'utf8')}Restrat=no\n`);
    const refused = await runCommand([...verify, broken]);
    assert.match(refused.stderr, /Restrat/, 'the tool does look');
  });

  test("xvsadm.service's commands restore at start and save at stop", async () => {
    const folder = toolFolder();
    const saved = join(stand.hosts.topology.directory, 'saved');
    const run = async (key: string, settings: Record<string, string> = {}): Promise<number[]> => {
      const statuses: number[] = [];
      for (const command of unitValues('xvsadm.service', key)) {
        const [, script] = /^\/bin\/sh -c '(.*)'$/.exec(command)!;
        const done = await stand.hosts.director.run(['/bin/sh', '-c', script!], {
          environment: {
            PATH: `${folder}:${process.env['PATH']}`,
            XVS_SOCKET: stand.director.socket,
            XVS_RULES: saved,
            XVS_SAVE_ON_STOP: 'yes',
            XVS_CLEAR_ON_STOP: 'no',
            ...settings,
          },
        });
        statuses.push(done.status);
      }
      return statuses;
    };
    assert.deepEqual(await run('ExecStart'), [0], 'without a file there is nothing to restore');
    const table = await listing();
    assert.deepEqual(await run('ExecStop', { XVS_SAVE_ON_STOP: 'no' }), [0, 0]);
    assert.ok(!existsSync(saved));
    assert.deepEqual(await run('ExecStop', { XVS_CLEAR_ON_STOP: 'yes' }), [0, 0]);
    assert.doesNotMatch(await listing(), /->.*:80/);
    assert.deepEqual(await run('ExecStart'), [0]);
    assert.equal(await listing(), table);
    const rulesText = readFileSync(saved, 'utf8');
    const noDirector = { XVS_SOCKET: join(folder, 'none.sock') };
    assert.deepEqual(await run('ExecStop', noDirector), [1, 0], 'nobody to ask');
    assert.equal(readFileSync(saved, 'utf8'), rulesText, 'the old rules stay');
    assert.ok(!existsSync(`${saved}.new`));
  });

  test("with xvsd.service's capabilities only, xvsd starts, forwards and says READY", async () => {
    await stand.director.stop();
    const { topology, director, client } = stand.hosts;
    const notifySocket = join(topology.directory, 'notify');
    const receiver = `import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(${JSON.stringify(notifySocket)})
s.settimeout(30)
while True:
    print(s.recv(4096).decode(), flush=True)
`;
    topology.spawn(director, ['python3', '-c', receiver], 'notify.log');
    assert.ok(await eventually(() => existsSync(notifySocket), TIMEOUT_MS));
    const [set = ''] = unitValues('xvsd.service', 'CapabilityBoundingSet');
    const names = set.split(' ').map((name) => `+${name.slice('CAP_'.length).toLowerCase()}`);
    stand.director.configure(NAT_CONFIG);
    topology.spawn(
      director,
      [
        ...['setpriv', `--bounding-set=-all,${names.join(',')}`, '--no-new-privs'],
        ...['env', `NOTIFY_SOCKET=${notifySocket}`, ...stand.director.command],
      ],
      'limited.log',
    );
    const read = (name: string) => readFileSync(join(topology.directory, name), 'utf8');
    const ready = () => read('notify.log').includes('READY=1');
    assert.ok(await eventually(ready, 20_000), read('limited.log'));
    assert.match(read('notify.log'), /STATUS=serves eth0, eth1/);
    const greetings = stand.hosts.webServers.map(({ greeting }) => greeting);
    assert.deepEqual((await fetchTexts(client, VIP_URL, 2)).sort(), greetings);
    assert.doesNotMatch(read('limited.log'), /EPERM|EACCES| warn /);
  });
});
