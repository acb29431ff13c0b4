/** The admin socket's client against real sockets: framing, failures, and the tool's answers. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { AdminClient, UnreachableError } from '#xvs/cli/client';
import { runInProcess } from '../../support/cliGolden';
import { serveModel, TableModel } from './tableModel';

const TOOL = resolve(__dirname, '..', '..', '..', 'bin', 'xvsadm.js');
let folder = '';
let server: Server | null = null;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'xvs-cli-'));
});
afterEach(() => {
  server?.close();
  server = null;
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Serves each request by `answer`, which gets the connection and the number of the request. */
async function serve(
  name: string,
  answer: (socket: Socket, count: number) => void,
): Promise<string> {
  const path = join(folder, name);
  const made = createServer((socket) => {
    let count = 0;
    socket.on('error', () => {});
    socket.on('data', () => {
      count += 1;
      answer(socket, count);
    });
  });
  server = made;
  await new Promise<void>((done) => made.listen(path, done));
  return path;
}

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';

test('answers with a length, in chunks, and up to the end', async () => {
  const path = await serve('forms', (socket, count) => {
    if (count === 1) socket.write(`${HEAD}content-length: 7\r\n\r\n{"a":1}`);
    else if (count === 2) {
      socket.write(
        `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":2}\r\n0\r\n\r\n`,
      );
    } else socket.end('HTTP/1.1 404 Not Found\r\n\r\n{"a":3}');
  });
  const client = await AdminClient.connect(path);
  assert.deepEqual(await client.request('GET', '/'), { status: 200, body: { a: 1 } });
  assert.deepEqual(await client.request('GET', '/'), { status: 200, body: { a: 2 } });
  assert.deepEqual(await client.request('GET', '/'), { status: 404, body: { a: 3 } });
  client.close();
});

test('an answer that comes byte by byte, with text beyond ASCII', async () => {
  const text = '{"name":"größer €"}';
  const whole = Buffer.from(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
  const body = Buffer.from(text);
  const bytes = Buffer.concat([
    whole,
    Buffer.from(`${body.length.toString(16)}\r\n`),
    body,
    Buffer.from('\r\n0\r\n\r\n'),
  ]);
  const path = await serve('bytes', async (socket) => {
    for (const byte of bytes) {
      socket.write(Buffer.from([byte]));
      await new Promise((done) => setImmediate(done));
    }
  });
  const client = await AdminClient.connect(path);
  assert.deepEqual((await client.request('GET', '/')).body, JSON.parse(text));
  client.close();
});

test('a director that goes away in the middle', async () => {
  const path = await serve('half', (socket) => socket.end(`${HEAD}Content-Length: 100\r\n\r\n{`));
  const client = await AdminClient.connect(path);
  await assert.rejects(client.request('GET', '/'), (error) => {
    return error instanceof UnreachableError && error.errno === 'ECONNRESET';
  });
  client.close();
});

test('nobody there: the reason, a hint and exit status 2', async () => {
  const socket = join(folder, 'nobody');
  const outcome = await runInProcess(['-Ln'], socket);
  assert.deepEqual(outcome, {
    rc: 2,
    stdout: '',
    stderr:
      "Can't initialize ipvs: No such file or directory\n" +
      `Are you sure that xvsd is running and listens on ${socket}?\n`,
  });
  const empty = await runInProcess(['-R'], socket, '');
  assert.equal(empty.rc, 2, 'not even an empty table is restored');
  const file = await runInProcess(['-C'], TOOL);
  assert.match(file.stderr, /^Can't initialize ipvs: Connection refused\n/);
});

test('an answer that is no JSON and a refusal without words are still errors', async () => {
  const path = await serve('odd', (socket) => {
    socket.write('HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops');
  });
  assert.deepEqual(await runInProcess(['-C'], path), {
    rc: 255,
    stdout: '',
    stderr: 'the director answered 500\n',
  });
  assert.equal((await runInProcess(['-Ln'], path)).rc, 1);
});

test('--json: what the director says, sorted as the listing', async () => {
  const model = new TableModel();
  const served = await serveModel(model, join(folder, 'json'));
  try {
    const run = (line: string) => runInProcess(line.split(' '), join(folder, 'json'));
    await run('-A -t 10.1.1.2:80 -s rr');
    await run('-A -t 10.1.1.1:80 -s rr');
    const all = JSON.parse((await run('-L --json')).stdout) as { services: { address: string }[] };
    assert.deepEqual(
      all.services.map(({ address }) => address),
      ['10.1.1.1', '10.1.1.2'],
    );
    const one = JSON.parse((await run('-L --json -t 10.1.1.2:80')).stdout) as typeof all;
    assert.equal(one.services.length, 1);
    assert.deepEqual(JSON.parse((await run('-L --timeout --json')).stdout), model.timeouts());
    assert.deepEqual(JSON.parse((await run('-L -c --json')).stdout), { connections: [] });
    assert.deepEqual(JSON.parse((await run('-L --daemon --json')).stdout), { daemons: [] });
  } finally {
    await served.close();
  }
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function runTool(
  name: string,
  words: readonly string[],
  socket: string,
  stdin = '',
): Promise<Ended> {
  const file = TOOL.replace('xvsadm.js', `${name}.js`);
  return new Promise((done) => {
    const options = { env: { ...process.env, XVS_SOCKET: socket }, timeout: 20_000 };
    const tool = execFile(process.execPath, [file, ...words], options, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    tool.stdin?.end(stdin);
  });
}

test('the programs themselves: output, exit status, wrong words', async () => {
  const socket = join(folder, 'programs');
  const served = await serveModel(new TableModel(), socket);
  try {
    assert.deepEqual(await runTool('xvsadm', ['-A', '-t', '10.1.1.1:80', '-s', 'rr'], socket), {
      code: 0,
      stdout: '',
      stderr: '',
    });
    const again = await runTool('xvsadm', ['-A', '-t', '10.1.1.1:80'], socket);
    assert.deepEqual([again.code, again.stderr], [255, 'Service already exists\n']);
    const saved = await runTool('xvsadm-save', ['-n', '--socket', socket], '/nowhere');
    assert.deepEqual([saved.code, saved.stdout], [0, '-A -t 10.1.1.1:80 -s rr\n']);
    const wrong = await runTool('xvsadm-save', ['-x'], socket);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /Usage: xvsadm-save \[-n\]/);
    const restore = await runTool('xvsadm-restore', ['-h'], socket);
    assert.equal(restore.code, 1);
    assert.match(restore.stderr, /Usage: xvsadm-restore/);
    const rules =
      '# comment\n-A -t 10.1.1.7:80 -s wrr\n# -A -t 10.1.1.8:80\n-A -u 10.1.1.9:53 -s rr';
    const restored = await runTool('xvsadm-restore', ['-n'], socket, rules);
    assert.deepEqual(restored, { code: 0, stdout: '', stderr: '' });
    const listed = await runTool('xvsadm', ['-Sn'], socket);
    assert.equal(listed.stdout, '-A -t 10.1.1.7:80 -s wrr\n-A -u 10.1.1.9:53 -s rr\n');
    const tryHelp = await runTool('xvsadm', ['-q'], socket);
    assert.match(tryHelp.stderr, /^Try `xvsadm -h' or 'xvsadm --help'/);
  } finally {
    await served.close();
  }
});
