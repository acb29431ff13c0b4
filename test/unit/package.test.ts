/**
 * What an operator installs: the packed package, put in by npm outside the repository; its man
 * pages; its bash completion.
 */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { VERBS } from '#xvs/cli/verbs/index';

const ROOT = resolve(__dirname, '..', '..', '..');
const TIMEOUT_MS = 120_000;
const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly bin: Readonly<Record<string, string>>;
  readonly man: readonly string[];
};

function run(
  command: readonly string[],
  cwd: string,
  environment: Readonly<Record<string, string>> = {},
): SpawnSyncReturns<string> {
  const [file, ...words] = command;
  const done = spawnSync(file!, words, {
    cwd,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, ...environment },
  });
  assert.equal(done.error, undefined, `${command.join(' ')}: ${done.error?.message}`);
  return done;
}

function must(command: readonly string[], cwd: string, environment = {}): string {
  const done = run(command, cwd, environment);
  assert.equal(done.status, 0, `${command.join(' ')}: ${done.stderr}${done.stdout}`);
  return done.stdout;
}

describe('the packed package', () => {
  let folder: string;
  const installed = (...path: string[]) => join(folder, 'installed', 'node_modules', ...path);
  const tool = (name: string) => installed('.bin', name);

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'xvs-package-'));
    const target = join(folder, 'installed');
    mkdirSync(target);
    // Set-up has built everything before a test runs; packing alone would do it by itself.
    const pack = ['npm', 'pack', '--ignore-scripts', '--json', '--pack-destination', folder];
    must(pack, ROOT);
    const [archive] = must(['find', folder, '-maxdepth', '1', '-name', '*.tgz'], folder)
      .trim()
      .split('\n');
    const install = ['npm', 'install', '--no-audit', '--no-fund', '--prefer-offline'];
    must([...install, '--prefix', target, archive!], folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('every command runs', () => {
    for (const name of Object.keys(MANIFEST.bin)) {
      assert.ok(existsSync(tool(name)), name);
    }
    const config = installed('xvs', 'config', 'nat.yaml');
    const checked = must([tool('xvsd'), '--check', '--config', config], folder);
    assert.equal(checked, `${config}: ok\n`);
    assert.match(must([tool('xvsadm'), '-h'], folder), /Usage:/);
    assert.match(must([tool('xvs'), '--help'], folder), /usage: xvs/);
    const nowhere = { XVS_SOCKET: join(folder, 'none.sock') };
    const listing = run([tool('xvsadm'), '-Ln'], folder, nowhere);
    assert.equal(listing.status, 2);
    assert.match(listing.stderr, /Are you sure that xvsd is running/);
  });

  test('the addon loads, with the XDP program beside it', () => {
    const script = `
      const { createRequire } = require('node:module');
      const addon = createRequire(${JSON.stringify(installed('xvs', 'package.json'))})('xsk-napi');
      console.log(typeof addon.loadProgram);`;
    assert.equal(must([process.execPath, '-e', script], folder), 'function\n');
    const [program] = must(['find', installed('xvs'), '-name', 'redirect.bpf.o'], folder)
      .trim()
      .split('\n');
    assert.ok(program?.endsWith('.bpf.o'), 'the XDP program is in the package');
  });

  test('the web page is whole, with its charts', () => {
    const assets = installed('xvs', 'dist', 'control', 'web', 'assets.js');
    const script = `
      const { pageAssets } = require(${JSON.stringify(assets)});
      console.log([...pageAssets().values()].every(({ bytes }) => bytes.length > 100));`;
    assert.equal(must([process.execPath, '-e', script], folder), 'true\n');
  });

  test('what an operator copies is there, what only developers need is not', () => {
    const there = ['config/systemd/xvsd.service', 'config/bash-completion/xvs', ...MANIFEST.man];
    for (const path of there) assert.ok(existsSync(installed('xvs', path)), path);
    for (const path of ['src', 'test', 'dist/test', 'dist/bench', 'node_modules/typescript']) {
      assert.ok(!existsSync(installed('xvs', path)), path);
    }
  });
});

describe('man pages', () => {
  test('groff has nothing to complain about', () => {
    for (const page of MANIFEST.man) {
      const { status, stderr } = run(['man', '--warnings', '-l', page], ROOT, {
        LC_ALL: 'C.UTF-8',
        MANWIDTH: '80',
        MANPAGER: 'cat',
      });
      // Pages that only name another page need that one to be installed.
      if (readFileSync(join(ROOT, page), 'utf8').startsWith('.so ')) continue;
      assert.deepEqual([status, stderr], [0, ''], page);
    }
  });

  test('a macro that does not exist is found', () => {
    const folder = mkdtempSync(join(tmpdir(), 'xvs-man-'));
    const page = join(folder, 'wrong.8');
    writeFileSync(page, `${readFileSync(join(ROOT, 'docs/man/xvs.8'), 'utf8')}.Qz nothing\n`);
    const { stderr } = run(['man', '--warnings', '-l', page], ROOT, { MANPAGER: 'cat' });
    rmSync(folder, { recursive: true });
    assert.match(stderr, /Qz/);
  });

  test('xvs(8) and the verbs agree', () => {
    const page = readFileSync(join(ROOT, 'docs/man/xvs.8'), 'utf8');
    const described = [...page.matchAll(/^\.Ss xvs ([a-z]+)/gm)].map(([, name]) => name!);
    assert.deepEqual(described.toSorted(), Object.keys(VERBS).toSorted());
    for (const name of described) {
      const section = page.slice(page.indexOf(`.Ss xvs ${name}`)).split(/\n\.S[sh] /)[0]!;
      for (const [, option] of VERBS[name]!.load().help.matchAll(/^ {2}--([a-z-]+)/gm)) {
        const shown = section.replaceAll('Oo Fl', 'Fl').includes(`Fl Fl ${option}`);
        assert.ok(shown, `xvs ${name} --${option}`);
      }
    }
  });
});

describe('bash completion', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'xvs-completion-'));
    for (const [name, path] of Object.entries(MANIFEST.bin)) {
      symlinkSync(join(ROOT, path), join(folder, name));
    }
    rmSync(join(folder, 'xvsadm-save'));
    const rules = '-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 1\n';
    writeFileSync(join(folder, 'xvsadm-save'), `#!/bin/sh\ncat <<'E'\n${rules}E\n`, {
      mode: 0o755,
    });
    writeFileSync(join(folder, 'rules.conf'), '');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** What bash offers for a line's last word; `words` as bash splits them, at colons too. */
  function complete(...words: string[]): string[] {
    const line = words.join(' ').replaceAll(' : ', ':').replace(/ :$/, ':');
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const script = `
      source ${join(ROOT, 'config/bash-completion/xvs')}
      COMP_WORDS=(${quoted}) COMP_CWORD=${words.length - 1}
      COMP_LINE='${line}' COMP_POINT=${line.length}
      handler="$(complete -p "$1" | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
      "$handler" "$1"
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const path = `${folder}:${process.env['PATH']}`;
    const said = must(['bash', '--norc', '-c', script, 'bash', basename(words[0]!)], folder, {
      PATH: path,
    });
    return said.split('\n').filter((word) => word !== '');
  }

  test('commands, options and values', () => {
    assert.deepEqual(complete('xvsd', '--c'), ['--config', '--check']);
    assert.deepEqual(complete('xvsd', '--config', 'rul'), ['rules.conf']);
    assert.deepEqual(complete('xvsadm', '--add-s'), ['--add-service', '--add-server']);
    assert.deepEqual(complete('xvsadm', '-A', '-t', '10.9.9.9', ':', '1', '-s', 'w'), [
      'wrr',
      'wlc',
    ]);
    assert.deepEqual(complete('xvsadm', '-Ln', '--st'), ['--stats']);
    assert.deepEqual(complete('xvsadm', '--start-daemon', 'm'), ['master']);
    assert.deepEqual(complete('xvsadm-save', ''), ['-n', '--socket']);
    assert.deepEqual(complete('xvsadm-restore', '--'), ['--socket']);
  });

  test('addresses come from the running director', () => {
    assert.deepEqual(complete('xvsadm', '-D', '-t', '10'), ['10.0.0.1:80']);
    assert.deepEqual(complete('xvsadm', '-D', '-t', '10.0.0.1', ':', '8'), ['80']);
    assert.deepEqual(complete('xvsadm', '-d', '-t', '10.0.0.1', ':', '80', '-r', ''), [
      '10.0.0.2:8080',
    ]);
  });

  test('verbs of xvs and their options are those that are installed', () => {
    assert.deepEqual(
      complete('xvs', '').filter((word) => !word.startsWith('-') && word !== 'help'),
      Object.keys(VERBS),
    );
    assert.deepEqual(complete('xvs', '--socket', 'x', 'app'), ['apply']);
    assert.deepEqual(complete('xvs', 'apply', '--d'), ['--dry-run']);
    assert.deepEqual(complete('xvs', 'apply', 'rul'), ['rules.conf']);
    assert.deepEqual(complete('xvs', 'connections', '--by', 'se'), ['service', 'server']);
    assert.deepEqual(complete('xvs', 'help', 'con'), ['connections']);
  });
});
