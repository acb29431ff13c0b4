/**
 * xvsadm where nobody wants to be: no daemon, a dead socket, no permission, tables at their limits,
 * arguments made to break it. Each gets a clear error or the right answer, in time, and what was
 * refused has changed nothing.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { executable, WARMED_UP } from '#xvs/lab/director';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { type CommandResult, ended, eventually, runCommand } from '#xvs/lab/process';
import { NAT_CONFIG, type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts } from '../support/process';

const TIMEOUT_MS = 10_000;
const LARGE_TIMEOUT_MS = 30_000;
const SERVICES_MAX = 65_536;
const SERVERS = 1024;
const NOBODY = 65534;

const servicesOf = (listing: string) => listing.match(/^(TCP|UDP|SCTP|FWM) /gm)?.length ?? 0;

/** An error a person can use: something said, no trace of a program that fell over. */
function assertRefused(said: CommandResult, name: string): void {
  assert.ok(said.status > 0, `${name}: status ${said.status}: ${said.stdout}`);
  assert.notEqual(said.stderr, '', name);
  assert.doesNotMatch(said.stderr, /node:internal|^\s+at .*:\d+|Error: |unhandled/im, name);
}

describe('hostile circumstances', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  before(async () => {
    stand = await startNat({ workers: WARMED_UP });
  });
  after(() => stand?.close());

  const file = (name: string) => join(stand.hosts.topology.directory, name);
  const written = (name: string, text: string): string => {
    writeFileSync(file(name), text);
    return file(name);
  };
  const xvsadm = (words: readonly string[], timeoutMs = TIMEOUT_MS) =>
    stand.director.xvsadm(words, { timeoutMs });
  const xvs = (...words: string[]) =>
    stand.director.tool('xvs', words, { timeoutMs: LARGE_TIMEOUT_MS });
  const saved = async (): Promise<string> => {
    const said = await xvsadm(['-Sn'], LARGE_TIMEOUT_MS);
    assert.equal(said.status, 0, said.stderr);
    return said.stdout;
  };

  /** Every tool that changes or lists, against a socket that does not answer. */
  async function assertAllRefused(prefix: readonly string[], socket: string, why: RegExp) {
    for (const [tool, words] of [
      ['xvsadm', ['-Ln']],
      ['xvsadm', ['-A', '-t', '10.0.0.1:80']],
      ['xvsadm-save', ['-n']],
      ['xvs', ['mark', '-L']],
    ] as const) {
      const command = [process.execPath, executable(tool), '--socket', socket, ...words];
      const said = await runCommand([...prefix, ...command], { timeoutMs: TIMEOUT_MS });
      assertRefused(said, `${tool} ${words.join(' ')}`);
      assert.match(said.stderr, why, tool);
      assert.equal(said.stdout, '', tool);
    }
  }

  test('no daemon', async () => {
    await assertAllRefused([], file('none.sock'), /none\.sock/);
  });

  test('the socket of a daemon that was killed', async () => {
    const socket = file('dead.sock');
    const script = `require('net').createServer().listen(${JSON.stringify(socket)})`;
    const { topology, director } = stand.hosts;
    const child = topology.spawn(director, [process.execPath, '-e', script]);
    assert.ok(await eventually(() => existsSync(socket), TIMEOUT_MS));
    child.kill('SIGKILL');
    await ended(child);
    await assertAllRefused([], socket, /dead\.sock/);
  });

  test('a socket without permission', async () => {
    const { socket } = stand.director;
    // Somebody else's, and no right to pass over that: tools need not be readable for others.
    const prefix = ['setpriv', '--bounding-set=-dac_override,-dac_read_search,-fowner'];
    chownSync(socket, NOBODY, NOBODY);
    chmodSync(socket, 0o600);
    try {
      await assertAllRefused(prefix, socket, /may not use it|Permission denied/);
    } finally {
      chownSync(socket, 0, 0);
      chmodSync(socket, 0o660);
    }
    assert.equal((await xvsadm(['-Ln'])).status, 0);
  });

  test('hostile arguments are refused one by one and change nothing', async () => {
    const table = await saved();
    const mark = file('touched');
    const long = 'A'.repeat(100_000);
    const texts = [
      ...[long, `${'1'.repeat(1000)}:80`, `10.0.0.1:${'9'.repeat(1000)}`, '10.0.0.1:-1'],
      ...['10.0.0.1:65536', '10.0.0.1:0x50', '10.0.0.1:80:80', '%n%n%n%s', '%x%d%p', '-1', '-t'],
      ...[`;touch ${mark}`, `$(touch ${mark})`, `\`touch ${mark}\``, `10.0.0.1:80;touch ${mark}`],
      ...['10.0.0.1:８０', 'ünï.çødé:80', '💥:80', '\u202e10.0.0.1:80', '\u0001\u0002\u001b[2J'],
      ...[
        '10.0.0.1:80\n-A -t 10.0.0.2:80',
        '[::1',
        '::1]:80',
        '../../etc/passwd',
        '{}',
        '__proto__',
      ],
      ...['', ' ', '999.1.1.1:80', '1e9:80', 'NaN:80', 'constructor:80'],
    ];
    const numbers = [
      ...['-1', '4294967296', '99999999999999999999', '1e3', '0x10', '1 ', '%d', ''],
      ...['NaN', '１', '1;true', '$(id)'],
    ];
    const service = ['-t', '10.9.9.9:80'];
    const commands = [
      ...texts.flatMap((text) => [
        ['-A', '-t', text],
        ['-A', ...service, '-s', `${text}!`],
        ['-a', '-t', `${VIP}:80`, '-r', text],
        [text],
      ]),
      ...numbers.flatMap((text) => [
        ['-A', '-f', text],
        ['-a', '-t', `${VIP}:80`, '-r', '10.9.9.9:80', '-w', text],
        ['-A', ...service, '-p', text],
        ['--set', text, '1', '1'],
      ]),
    ];
    const accepted: string[] = [];
    // Several at a time: each is a process of its own, which mostly starts up.
    const next = commands.values();
    const walk = async () => {
      for (const words of next) {
        const said = await xvsadm(words);
        const name = JSON.stringify(words).slice(0, 200);
        if (said.status === 0) accepted.push(name);
        else assertRefused(said, name);
      }
    };
    await Promise.all([walk(), walk(), walk()]);
    assert.deepEqual(accepted, []);
    assert.ok(!existsSync(mark));
    assert.equal(await saved(), table);
  });

  test('garbage on the admin socket disturbs nobody', async () => {
    const table = await saved();
    const pieces = [
      'GET /v1/services HTTP/1.1\r\n',
      `POST /v1/commands HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{"com`,
      `POST /v1/commands HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n`,
      `POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n[]`,
      '\u0000\u0001\u0002'.repeat(1000),
      `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
    ];
    const sockets = pieces.map((piece) => {
      const socket = connect(stand.director.socket);
      socket.on('error', () => undefined);
      socket.write(piece);
      return socket;
    });
    assert.equal(await saved(), table);
    for (const socket of sockets) socket.destroy();
    assert.equal(await saved(), table);
  });

  test(`${SERVERS} real servers in one service`, async () => {
    const dead = Array.from({ length: SERVERS - REAL_SERVERS.length }, (_, number) => {
      const address = `10.77.${number >> 8}.${number & 255}`;
      return `-a -t ${VIP}:80 -r ${address}:80 -m -w 0\n`;
    });
    const alive = REAL_SERVERS.map((address) => `-a -t ${VIP}:80 -r ${address}:80 -m -w 1\n`);
    const rules = `-A -t ${VIP}:80 -s wrr\n${alive.join('')}${dead.join('')}`;
    for (const scheduler of ['wrr', 'rr', 'wlc', 'mh', 'sh']) {
      const applied = await xvs('apply', written('many', rules.replace('wrr', scheduler)));
      assert.equal(applied.status, 0, applied.stderr);
      const listing = await xvsadm(['-Ln']);
      assert.equal(listing.stdout.match(/^ {2}-> \d/gm)?.length, SERVERS, listing.stderr);
      // sh has a bucket for each, also for those without weight, which it then refuses.
      if (scheduler === 'sh') continue;
      const answers = new Set(await fetchTexts(stand.hosts.client, VIP_URL, 2));
      assert.equal(answers.size, scheduler === 'mh' ? 1 : 2, scheduler);
    }
    const restored = await stand.director.tool('xvsadm-restore', [], {
      input: `-C\n${rules}`,
      timeoutMs: LARGE_TIMEOUT_MS,
    });
    assert.equal(restored.status, 0, restored.stderr);
    assert.equal((await saved()).split('\n').length, SERVERS + 2);
    assert.equal((await xvsadm(['-C'])).status, 0);
  });

  test(`${SERVICES_MAX} services, and one more`, async () => {
    const lines = [`-A -t ${VIP}:80 -s rr\n`];
    for (const address of REAL_SERVERS) lines.push(`-a -t ${VIP}:80 -r ${address}:80 -m\n`);
    for (let number = 1; number < SERVICES_MAX; number++) {
      lines.push(
        `-A -t 10.${88 + (number >> 15)}.${(number >> 7) & 255}.${number & 127}:80 -s rr\n`,
      );
    }
    const began = performance.now();
    const full = await xvs('apply', written('full', lines.join('')));
    assert.equal(full.status, 0, full.stderr);
    const appliedMs = performance.now() - began;
    assert.ok(appliedMs < LARGE_TIMEOUT_MS, `${appliedMs} ms`);
    const listing = await xvsadm(['-Ln'], LARGE_TIMEOUT_MS);
    assert.equal(listing.status, 0, listing.stderr);
    assert.equal(servicesOf(listing.stdout), SERVICES_MAX);
    assert.equal((await fetchTexts(stand.hosts.client, VIP_URL, 2)).length, 2);

    const oneMore = await xvsadm(['-A', '-t', '10.99.0.1:80', '-s', 'rr']);
    assertRefused(oneMore, 'one more');
    lines.push('-A -t 10.99.0.1:80 -s rr\n', '-A -u 10.99.0.1:80 -s rr\n');
    const refused = await xvs('apply', written('over', lines.slice(1).join('')));
    assertRefused(refused, 'too many');
    assert.equal(
      servicesOf(await saved().then((text) => text.replace(/^-A -t/gm, 'TCP '))),
      SERVICES_MAX,
    );
    assert.equal((await fetchTexts(stand.hosts.client, VIP_URL, 2)).length, 2);

    assert.equal((await xvsadm(['-D', '-t', '10.88.0.1:80'])).status, 0);
    assert.equal((await xvsadm(['-A', '-t', '10.99.0.1:80', '-s', 'rr'])).status, 0);
    assert.equal((await xvsadm(['-C'], LARGE_TIMEOUT_MS)).status, 0);
    assert.equal(servicesOf((await xvsadm(['-Ln'])).stdout), 0);
    stand.director.configure({ ...NAT_CONFIG, workers: WARMED_UP });
    stand.director.reload();
    const back = async () => (await xvsadm(['-Ln'])).stdout.includes(`TCP  ${VIP}:80`);
    assert.ok(await eventually(back, LARGE_TIMEOUT_MS), stand.director.log());
    assert.equal((await fetchTexts(stand.hosts.client, VIP_URL, 2)).length, 2);
  });
});
