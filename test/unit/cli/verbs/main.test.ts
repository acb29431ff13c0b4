/** The dispatcher of `xvs`: help, unknown verbs, exit statuses, the socket, and what it loads. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { VERBS } from '#xvs/cli/verbs/index';
import { LineError, readOptions, wholeNumber } from '#xvs/cli/verbs/verb';

const ROOT = resolve(__dirname, '..', '..', '..', '..', '..');
const TOOL = resolve(ROOT, 'dist', 'bin', 'xvs.js');

function xvs(words: readonly string[], environment: Record<string, string> = {}) {
  const done = spawnSync(process.execPath, [TOOL, ...words], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { PATH: process.env['PATH'] ?? '', ...environment },
  });
  return { status: done.status, stdout: done.stdout, stderr: done.stderr };
}

test('help lists every verb, and each has a help of its own', () => {
  for (const words of [['--help'], ['-h'], ['help']]) {
    const { status, stdout } = xvs(words);
    assert.equal(status, 0);
    for (const name of Object.keys(VERBS)) assert.ok(stdout.includes(`\n  ${name} `), name);
  }
  for (const [name, entry] of Object.entries(VERBS)) {
    assert.ok(entry.load().help.startsWith(`usage: xvs ${name}`), name);
  }
  assert.equal(xvs(['help', 'apply']).stdout, xvs(['apply', '--help']).stdout);
});

test('--version says the version of the package', () => {
  const { version } = require(resolve(ROOT, 'package.json')) as { version: string };
  assert.deepEqual(xvs(['--version']), { status: 0, stdout: `xvs ${version}\n`, stderr: '' });
});

test('a line that makes no sense ends with status 2 and says what is allowed', () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /a verb is missing/],
    [['aply'], /"aply" is no verb; known are .*apply.*connections/],
    [['help', 'aply'], /"aply" is no verb/],
    [['toString'], /"toString" is no verb/],
    [['apply'], /FILE is missing/],
    [['apply', '--dry'], /--dry: unknown option; allowed are --dry-run, --json/],
    [['--socket'], /--socket: a path is missing/],
    [['connections', '--limit', '0'], /--limit 0: 1 to \d+ are allowed/],
    [['connections', '--sort', 'weight'], /--sort weight: allowed are client, .*, age, expires/],
    [['connections', '--older', '5.5'], /--older 5\.5: 0 to \d+ are allowed/],
    [['connections', '--younger', ''], /--younger : 0 to \d+ are allowed/],
  ];
  for (const [words, said] of cases) {
    const { status, stdout, stderr } = xvs(words);
    assert.deepEqual([status, stdout], [2, ''], words.join(' '));
    assert.match(stderr, said);
  }
});

test('no director: status 1, and the socket is named', () => {
  const asked = (words: string[], environment = {}) => xvs(words, environment).stderr;
  assert.match(asked(['--socket', '/nowhere/a', 'connections']), /\/nowhere\/a: there is no such/);
  assert.match(asked(['connections', '--socket=/nowhere/b']), /\/nowhere\/b: /);
  assert.match(asked(['connections'], { XVS_SOCKET: '/nowhere/c' }), /\/nowhere\/c: /);
  assert.equal(xvs(['--socket', '/nowhere/a', 'connections']).status, 1);
});

test('only the verb that is asked for is loaded', () => {
  const script = `
    process.argv.push('xvs', 'connections', '--help');
    process.on('exit', () => process.stderr.write(Object.keys(require.cache).join('\\n')));
    require(${JSON.stringify(TOOL)});`;
  const done = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  assert.match(done.stderr, /verbs\/connections\.js/);
  assert.doesNotMatch(done.stderr, /verbs\/apply\.js|node_modules/);
});

test('options are read as flags, values and words', () => {
  const known = { all: 'flag', name: 'NAME' };
  const { flags, values, rest } = readOptions(['a', '--all', '--name=b', '-', '--', '--c'], known);
  assert.deepEqual([[...flags], [...values], rest], [['all'], [['name', 'b']], ['a', '-', '--c']]);
  assert.deepEqual([...readOptions(['--name', '--all'], known).values], [['name', '--all']]);
  for (const words of [['--name'], ['--all=1'], ['-n'], ['--name=1', '--name=2'], ['--toString']]) {
    assert.throws(() => readOptions(words, known), LineError, words.join(' '));
  }
  assert.equal(wholeNumber('n', '7', 0, 7), 7);
  for (const text of ['8', '-1', '', '1.5', '0x1', '99999999999']) {
    assert.throws(() => wholeNumber('n', text, 0, 7), LineError);
  }
});
