/** What the audit says of requests to the admin socket: who, what, the result. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdminClient } from '#xvs/cli/client';
import { commandWords } from '#xvs/cli/commandWords';
import { parseRules } from '#xvs/cli/rules';
import { Director } from '#xvs/control/director';
import { DirectorError } from '#xvs/control/error';
import { listServices } from '#xvs/control/listing';
import { Audit } from '#xvs/control/log/audit';
import type { Fields, Level } from '#xvs/control/log/events';
import { describePeer } from '#xvs/control/log/peer';
import { Marks, markRoutes } from '#xvs/control/mark/marks';
import type { MarkCommand } from '#xvs/control/protocol';
import { AdminSocket } from '#xvs/control/socket';
import { sysctlRoutes } from '#xvs/control/sysctlRoutes';
import { executable } from '#xvs/lab/director';
import { runCommand } from '#xvs/lab/process';
import { addon } from '#xvs/port/addon';
import { attachTables, createMemory } from '#xvs/table/memory';

/** Of a request whose sender does not wait for the answer, and when it is gone. */
const LEAVING = '{"leaves":true}';
const left = (() => {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
})();

const folder = mkdtempSync(join(tmpdir(), 'xvs-audit-'));
const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
const director = new Director(attachTables(memory, () => {}));
/** Lines since the test began. */
let lines: { readonly message: string; readonly fields: Fields }[] = [];
let level: Level = 'info';
const audit = new Audit({
  credentials: addon.peerCredentials,
  words: commandWords,
  log: {
    audit: (message, fields) => lines.push({ message, fields }),
    say: (_level, event, message, fields = {}) =>
      lines.push({ message: `${event} ${message}`, fields }),
    tells: (one) => one === level,
  },
});
const admin = new AdminSocket(
  join(folder, 'xvs.sock'),
  {
    services: () => listServices(director),
    connections: async () => new TextEncoder().encode('{"connections":[]}'),
    timeouts: () => director.timeouts,
    execute: (command) => director.execute(command),
  },
  {
    ...markRoutes(new Marks(['eth0'], () => {})),
    ...sysctlRoutes(director.sysctls),
    'POST /v1/long': {
      tool: 'xvs long',
      change: async (body, note) => {
        if (body === '{"dry":true}') note(null);
        if (body === '{}') note({ words: 'xvs long', rules: 3, outcome: '3 done' });
        if (body === LEAVING) await left.promise;
        if (body === '') throw new DirectorError('ERR_BUSY', 'not now');
        return {};
      },
    },
  },
  audit,
);

describe('audit', () => {
  let client: AdminClient;
  before(async () => {
    await admin.open();
    client = await AdminClient.connect(admin.path);
  });
  after(async () => {
    client.close();
    await admin.close();
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    lines = [];
    level = 'info';
  });

  const { uid, gid, username } = userInfo();
  /** Less what this process calls itself, which is the test runner's matter. */
  const self = `${username} (uid ${uid}, gid ${gid}, pid ${process.pid})`;
  const messages = (): string[] =>
    lines.map(({ message }) => message.replace(/(pid \d+) [^)]+\)/, '$1)'));
  const [add] = parseRules('-A -t 192.0.2.1:80 -s rr').commands;

  test('a change and a refused one, with who asked', async () => {
    assert.equal((await client.request('POST', '/v1/commands', add)).status, 200);
    assert.equal((await client.request('POST', '/v1/commands', add)).status, 400);
    assert.deepEqual(messages(), [
      `${self}: xvsadm -A -t 192.0.2.1:80 -s rr: ok`,
      `${self}: xvsadm -A -t 192.0.2.1:80 -s rr: refused, ERR_SERVICE_EXISTS: ` +
        'service tcp 192.0.2.1:80 exists already',
    ]);
    const who = { source: 'socket', uid, gid, pid: process.pid, user: username };
    const what = { change: 'xvsadm -A -t 192.0.2.1:80 -s rr', rules: 1 };
    const { command, ...first } = lines[0]!.fields;
    assert.ok(command !== '');
    assert.deepEqual(first, { ...who, ...what, result: 'ok' });
    assert.deepEqual(lines[1]!.fields, {
      command,
      ...{ ...who, ...what, result: 'ERR_SERVICE_EXISTS' },
      reason: 'service tcp 192.0.2.1:80 exists already',
    });
  });

  test('a change of one who has left by the time it is done', async () => {
    const leaving = request({ socketPath: admin.path, method: 'POST', path: '/v1/long' });
    leaving.on('error', () => undefined);
    leaving.end(LEAVING);
    await once(leaving, 'finish');
    await sleep(100);
    leaving.destroy();
    await sleep(100);
    left.resolve();
    while (lines.length === 0) await sleep(5);
    assert.deepEqual(messages(), [`${self}: xvs long: ok`]);
  });

  test('a request that makes no sense is a refused change', async () => {
    for (const path of ['commands', 'sysctl', 'marks']) {
      assert.equal((await client.request('POST', `/v1/${path}`, { no: 'sense' })).status, 400);
    }
    const said = lines.map(({ fields }) => [fields['change'], fields['rules'], fields['result']]);
    assert.deepEqual(said, [
      ['xvsadm', 0, 'ERR_REQUEST'],
      ['xvs sysctl', 0, 'ERR_REQUEST'],
      ['xvs mark', 0, 'ERR_REQUEST'],
    ]);
  });

  test('sysctls and marks, in the words of their verbs', async () => {
    const rule = '-d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x42/0xffffffff';
    const marks: readonly MarkCommand[] = [
      { operation: 'append', family: 4, rules: [rule, rule] },
      { operation: 'insert', family: 4, position: 2, rules: [rule] },
      { operation: 'delete', family: 4, rules: [rule] },
      { operation: 'delete-number', family: 6, number: 7 },
      { operation: 'flush', family: null },
    ];
    for (const mark of marks) await client.request('POST', '/v1/marks', mark);
    await client.request('POST', '/v1/sysctl', { drop_entry: 1, amemthresh: 5 });
    const said = lines.map(({ fields }) => [fields['change'], fields['rules'], fields['result']]);
    assert.deepEqual(said, [
      [`xvs mark -4 -A PREROUTING ${rule}; ${rule}`, 2, 'ok'],
      [`xvs mark -4 -I PREROUTING 2 ${rule}`, 1, 'ok'],
      [`xvs mark -4 -D PREROUTING ${rule}`, 1, 'ok'],
      ['xvs mark -6 -D PREROUTING 7', 1, 'ERR_VALUE'],
      ['xvs mark -F', 0, 'ok'],
      ['xvs sysctl drop_entry=1 amemthresh=5', 2, 'ok'],
    ]);
  });

  test('a change that says itself what came of it; one that was only asked about', async () => {
    await client.request('POST', '/v1/long', {});
    await client.request('POST', '/v1/long', { dry: true });
    await client.request('POST', '/v1/long');
    assert.deepEqual(
      messages().map((message) => message.slice(self.length)),
      [': xvs long: ok: 3 done', ': xvs long: refused, ERR_BUSY: not now'],
    );
    assert.equal(lines[0]!.fields['outcome'], '3 done');
  });

  test('what changes nothing is told at the level debug alone', async () => {
    await client.request('GET', '/v1/services');
    await client.request('POST', '/v1/unknown', {});
    assert.deepEqual(lines, []);
    level = 'debug';
    await client.request('GET', '/v1/services?brief=1');
    await client.request('POST', '/v1/unknown', {});
    assert.deepEqual(messages(), [
      `request ${self}: GET /v1/services: ok`,
      `request ${self}: POST /v1/unknown: ERR_REQUEST`,
    ]);
  });

  test('a request as long as can be is a line that is not', async () => {
    const rule = `-m comment --comment ${'x'.repeat(200)} -j MARK --set-mark 1`;
    const rules = Array.from({ length: 100 }, () => rule);
    await client.request('POST', '/v1/marks', { operation: 'append', family: 4, rules });
    assert.match(lines[0]!.message, /x\.\.\. \(\d{5} characters\): ok$/);
    assert.ok(lines[0]!.message.length < 5000);
    assert.equal(lines[0]!.fields['rules'], 100);
  });

  test('what a process calls itself does not pass for another part of the line', () => {
    const peer = { uid: 1000, gid: 100, pid: 7, user: '', command: 'x): xvsadm -C: ok' };
    assert.equal(describePeer(peer), '1000 (uid 1000, gid 100, pid 7 "x): xvsadm -C: ok")');
    assert.equal(describePeer({ ...peer, command: '' }), '1000 (uid 1000, gid 100, pid 7)');
  });

  test('a tool has its own name, not that of its interpreter', async () => {
    const words = ['--socket', admin.path, '-A', '-t', '192.0.2.2:80', '-s', 'rr'];
    const done = await runCommand([process.execPath, executable('xvsadm'), ...words]);
    assert.equal(done.status, 0, done.stderr);
    assert.equal(lines[0]!.fields['command'], 'xvsadm');
    assert.notEqual(lines[0]!.fields['pid'], process.pid);
  });

  test('a reload has nobody', () => {
    audit.reloaded({ words: 'reload of x.yaml', rules: 2, outcome: 'services 2 added' }, null);
    assert.deepEqual(lines, [
      {
        message: 'SIGHUP: reload of x.yaml: ok: services 2 added',
        fields: {
          ...{ source: 'SIGHUP', change: 'reload of x.yaml', rules: 2, result: 'ok' },
          outcome: 'services 2 added',
        },
      },
    ]);
  });
});
