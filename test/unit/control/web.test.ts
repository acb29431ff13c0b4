/** The web page's server: what it serves, to whom, and that its script is whole. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Script } from 'node:vm';
import { Director } from '#xvs/control/director';
import { browserScript } from '#xvs/control/web/browserScript';
import { createWebServer, isOwnHost } from '#xvs/control/web/server';
import { attachTables, createMemory } from '#xvs/table/memory';

const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
const server = createWebServer({
  director: new Director(attachTables(memory, () => {})),
  program: { verdicts: () => [] },
  ...{ verdictNames: [], socketCounters: [], interfaces: [], workers: [] },
});
let port = 0;

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

function ask(
  method: string,
  path: string,
  host = `127.0.0.1:${port}`,
  more: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = host === '' ? more : { host, ...more };
    const options = { port, method, path, headers, setHost: false, agent: false };
    const asked = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

test('a page, and all that it names, from the package itself', async () => {
  const page = await ask('GET', '/');
  assert.equal(page.status, 200);
  const named = [...page.body.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, path]) => path!);
  assert.equal(named.length, 5);
  for (const path of named) {
    const { status, headers, body } = await ask('GET', path);
    assert.equal(status, 200, path);
    assert.equal(Number(headers['content-length']), Buffer.byteLength(body), path);
    assert.ok(body.length > 50, path);
  }
  // An address of elsewhere would be a request that the page must not make.
  assert.doesNotMatch(page.body, /https?:/);
});

test('every answer forbids what the page does not need', async () => {
  for (const path of ['/', '/overview.json', '/none']) {
    const { headers } = await ask('GET', path);
    assert.match(
      String(headers['content-security-policy']),
      /^default-src 'none'; script-src 'self'/,
    );
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['access-control-allow-origin'], undefined);
  }
});

test('the overview, whole', async () => {
  const { status, body } = await ask('GET', '/overview.json?servers=none');
  assert.equal(status, 200);
  assert.deepEqual(JSON.parse(body).services, []);
});

test('HEAD has no body, and no other method is taken', async () => {
  for (const path of ['/', '/overview.json']) {
    const head = await ask('HEAD', path);
    assert.deepEqual([head.status, head.body], [200, ''], path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const { status, headers } = await ask(method, '/');
    assert.deepEqual([status, headers['allow']], [405, 'GET, HEAD'], method);
  }
});

test('what is not there is said, with what is', async () => {
  const { status, body } = await ask('GET', '/../package.json');
  assert.equal(status, 404);
  assert.match(body, /^\/\.\.\/package\.json: there are \/ \/style\.css /);
});

test('another site cannot make the director work', async () => {
  for (const [site, wanted] of [
    ['cross-site', 403],
    ['same-site', 403],
    ['same-origin', 200],
    ['none', 200],
  ] as const) {
    const more = { 'sec-fetch-site': site };
    const { status } = await ask('GET', '/overview.json', undefined, more);
    assert.equal(status, wanted, site);
  }
});

test('a name that DNS could lead here is refused', async () => {
  for (const host of ['attacker.example', 'attacker.example:9421', 'localhost.attacker.example']) {
    const { status, body } = await ask('GET', '/overview.json', host);
    assert.equal(status, 403, host);
    assert.match(body, /^Host "/);
  }
  const own = [
    'localhost',
    'LOCALHOST:1',
    '127.0.0.1',
    '10.1.2.3:80',
    '[::1]:9421',
    '[2001:db8::1]',
  ];
  for (const host of own) assert.ok(isOwnHost(host), host);
  const foreign = [
    undefined,
    '',
    ':80',
    '[::1',
    '::1',
    '[localhost]',
    '1.2.3.4.example',
    '1.2.3:4:5',
  ];
  for (const host of foreign) assert.ok(!isOwnHost(host), String(host));
});

test('the script is the compiled modules, and they load without Node', async () => {
  const { body } = await ask('GET', '/page.js');
  const asked: string[] = [];
  const createElement = (name: string) => {
    asked.push(name);
    throw new Error('there is no page');
  };
  // Nothing of Node is within reach there: it comes as far as the page itself.
  const stand = { document: { createElement }, Intl, Map };
  assert.throws(() => new Script(body).runInNewContext(stand), /there is no page/);
  assert.deepEqual(asked, ['h2']);
  assert.doesNotMatch(body, /sourceMappingURL/);
});

test('a module that a browser cannot have is refused', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-script-'));
  try {
    const main = join(folder, 'main.js');
    writeFileSync(main, 'exports.one = require("./other").two;\n');
    writeFileSync(join(folder, 'other.js'), 'exports.two = require("node:fs");\n');
    assert.throws(() => browserScript(main), /other\.js: "node:fs" is not for browsers/);
    writeFileSync(join(folder, 'other.js'), 'require("./main"); exports.two = 2;\n');
    const context = { result: 0 };
    writeFileSync(main, 'result = require("./other").two;\n');
    new Script(browserScript(main)).runInNewContext(context);
    assert.equal(context.result, 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
