/**
 * The documents say what is there: links lead somewhere, files shown are accepted, commands named
 * exist, tables that repeat what the code knows repeat it rightly. Typed commands are run by
 * test/e2e/documents.test.ts.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { WORDS } from '#xvs/cli/options';
import { parseRules } from '#xvs/cli/rules';
import { loadConfig, parseConfig } from '#xvs/control/config';
import { configJsonSchema } from '#xvs/control/configSchema';
import { SYSCTLS, SYSCTLS_WITHOUT_MEANING } from '#xvs/control/sysctl';
import { executable } from '#xvs/lab/director';
import {
  fencedBlocks,
  literalBlocks,
  markdownFiles,
  ROOT,
  readDocument,
} from '../support/document';

const COMPATIBILITY = 'docs/compatibility.md';
const CONFIGS = readdirSync(join(ROOT, 'config')).filter((name) => name.endsWith('.yaml'));
const MANIFEST = JSON.parse(readDocument('package.json')) as {
  readonly scripts: Readonly<Record<string, string>>;
};

function help(program: string, ...words: string[]): string {
  const done = spawnSync(process.execPath, [program, ...words], { encoding: 'utf8' });
  return done.stdout + done.stderr;
}

/** Cells of a Markdown table's rows that begin with a word in backquotes. */
function rowsOf(text: string): string[][] {
  return [...text.matchAll(/^\| (`.*) \|$/gm)].map(([, row]) => row!.split(' | '));
}

function section(text: string, title: string): string {
  const from = text.indexOf(`\n## ${title}\n`);
  assert.ok(from >= 0, title);
  const to = text.indexOf('\n## ', from + 1);
  return text.slice(from, to < 0 ? undefined : to);
}

test('links lead to files that are there', () => {
  let links = 0;
  for (const path of markdownFiles()) {
    for (const [, target] of readDocument(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue;
      links++;
      const file = join(ROOT, dirname(path), target!.replace(/#.*$/, ''));
      assert.ok(existsSync(file), `${path}: ${target}`);
    }
  }
  assert.ok(links >= 12, `${links} links`);
});

test('scripts, labs, benches and executables that are named exist', () => {
  const labs = [...help(executable('lab'), '--help').matchAll(/^ {2}(\w+) {2,}\S/gm)];
  const benches = readdirSync(join(ROOT, 'bench'), { withFileTypes: true });
  const known: Readonly<Record<string, readonly string[]>> = {
    lab: labs.map(([, name]) => name!),
    bench: benches.filter((entry) => entry.isDirectory()).map(({ name }) => name),
  };
  const named = new Set<string>();
  for (const path of markdownFiles()) {
    const text = readDocument(path);
    for (const [line, script] of text.matchAll(/\bnpm (?:run )?(start|test|(?<=run )[\w:]+)/g)) {
      assert.ok(MANIFEST.scripts[script!] !== undefined, `${path}: ${line}`);
    }
    for (const [line, script, name] of text.matchAll(/npm run (lab|bench) -- ([a-z]\w*)/g)) {
      assert.ok(known[script!]!.includes(name!), `${path}: ${line}`);
      named.add(`${script} ${name}`);
    }
    for (const [, program] of text.matchAll(/node (dist\/(?:bin|control)\/[\w-]+\.js)/g)) {
      assert.ok(existsSync(join(ROOT, program!)), `${path}: ${program}`);
    }
  }
  for (const lab of known['lab']!) assert.ok(named.has(`lab ${lab}`), `lab ${lab} is named`);
});

describe('config files', () => {
  test('every file of config/ is accepted, and the README leads to it', () => {
    const readme = readDocument('README.md');
    assert.ok(CONFIGS.length >= 7);
    for (const name of CONFIGS) {
      const path = join(ROOT, 'config', name);
      assert.equal(help(executable('xvsd'), '--check', '--config', path), `${path}: ok\n`);
      assert.ok(readme.includes(`config/${name}`), name);
    }
  });

  test('there is one for each forwarding method, and one for IPv6', () => {
    const configs = CONFIGS.map((name) => loadConfig(join(ROOT, 'config', name), parseRules));
    const services = configs.flatMap((config) => config.services);
    const methods = services.flatMap(({ servers }) =>
      servers.map(({ settings }) => settings.method),
    );
    assert.deepEqual([...new Set(methods)].sort(), ['dr', 'fullnat', 'nat', 'tunnel']);
    assert.ok(services.some(({ service }) => service.family === 6));
    assert.ok(services.some(({ service }) => service.fwmark !== 0));
    assert.ok(services.some(({ localAddresses = [] }) => localAddresses.length > 1));
  });

  test('what README and xvsd(8) show is config/nat.yaml', () => {
    const nat = loadConfig(join(ROOT, 'config', 'nat.yaml'));
    const shown = [
      ...fencedBlocks(readDocument('README.md')).filter(({ language }) => language === 'yaml'),
      ...literalBlocks(readDocument('docs/man/xvsd.8')),
    ];
    assert.equal(shown.length, 2);
    for (const { lines } of shown) assert.deepEqual(parseConfig(lines.join('\n'), 'shown'), nat);
  });

  test('the example shows every key; xvsd(8) names all but sysctls', () => {
    const example = readDocument('config/xvs.example.yaml');
    const page = readDocument('docs/man/xvsd.8');
    const keys = keysOf(configJsonSchema());
    assert.ok(keys.size > 50);
    for (const key of keys) {
      assert.match(example, new RegExp(`\\b${key}\\b`), key);
      if (SYSCTLS[key] === undefined) assert.match(page, new RegExp(`\\b${key}\\b`), key);
    }
  });
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** All keys of the config file, at any depth. */
function keysOf(schema: Schema): Set<string> {
  const { properties = {}, items, anyOf = [] } = schema;
  const below = [...Object.values(properties), ...anyOf, ...(items === undefined ? [] : [items])];
  return new Set([...Object.keys(properties), ...below.flatMap((one) => [...keysOf(one)])]);
}

describe('docs/compatibility.md', () => {
  const text = readDocument(COMPATIBILITY);

  test('sysctls: names, values, defaults; those refused', () => {
    const part = section(text, 'Sysctls');
    const shown = new Map(rowsOf(part).map(([name, values]) => [name!.slice(1, -1), values!]));
    assert.deepEqual([...shown.keys()].sort(), Object.keys(SYSCTLS).sort());
    for (const [name, { minimum, maximum, standard }] of Object.entries(SYSCTLS)) {
      const range = maximum === 1 ? '0, 1' : `${minimum} to ${maximum}`;
      const isTime = name.endsWith('_expiration');
      const words = isTime ? 'seconds' : range.replace('2147483647', '2^31-1');
      assert.equal(shown.get(name), `${words} (${standard})`, name);
    }
    for (const name of Object.keys(SYSCTLS_WITHOUT_MEANING)) {
      if (!name.startsWith('sync_')) assert.ok(part.includes(`\`${name}\``), name);
    }
    assert.ok(part.includes('beginning with `sync_`'));
  });

  test('every recording is replayed by a test, or stands there with the reason', () => {
    const left = section(text, 'Recordings that are not replayed');
    const tests = readdirSync(join(ROOT, 'test', 'unit', 'worker'))
      .filter((name) => name.startsWith('golden'))
      .map((name) => readFileSync(join(ROOT, 'test', 'unit', 'worker', name), 'utf8'))
      .join('\n');
    const replayed = (name: string) => tests.includes(`'${name}'`);
    for (const kind of ['sched', 'packets', 'conntable']) {
      const folders = readdirSync(join(ROOT, 'test', 'goldens', kind), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name);
      assert.ok(folders.length > 0, kind);
      for (const name of folders) {
        assert.ok(replayed(name) || left.includes(`\`${name}\``), `${kind}/${name}`);
      }
    }
    const reasons = rowsOf(left.replaceAll(/^\| \w+ (?=`)/gm, '| '));
    assert.ok(reasons.length > 0);
    for (const [name = ''] of reasons) {
      assert.ok(name.includes(',') || !replayed(name.replaceAll('`', '')), `${name} is replayed`);
    }
  });

  test('as many scheduling sequences as it says', () => {
    const [, replayed, all] = /(\d+) of (\d+) recorded sequences/.exec(text) ?? [];
    const folders = readdirSync(join(ROOT, 'test', 'goldens', 'sched'), { withFileTypes: true });
    assert.equal(folders.filter((entry) => entry.isDirectory()).length, Number(replayed));
    assert.ok(Number(all) >= Number(replayed));
  });
});

describe('manual pages', () => {
  test('xvs(8) names every sysctl', () => {
    const page = readDocument('docs/man/xvs.8');
    for (const name of Object.keys(SYSCTLS)) assert.match(page, new RegExp(`\\b${name}\\b`), name);
  });

  test('xvsadm(8) names every option but those of connection synchronisation', () => {
    const page = readDocument('docs/man/xvsadm.8');
    for (const { long, short } of WORDS) {
      if (/^(mcast-|sync)/.test(long) || long === '') continue;
      assert.ok(page.includes(`Fl ${long}`), `--${long}`);
      const isNamed = short === '' || new RegExp(`Fl(?: \\w \\|| \\w ,)* ${short}\\b`).test(page);
      assert.ok(isNamed, `-${short}`);
    }
  });
});

test('the README lists the packages that set-up installs', () => {
  const setUp = readDocument('native/setup.sh');
  const wanted = [...setUp.matchAll(/^([a-z0-9+-]+) +(?:command|file):/gm)].map(
    ([, name]) => name!,
  );
  const listed = [...readDocument('README.md').matchAll(/^\| ([a-z0-9+, .-]+) \| [^|]+ \|$/gm)]
    .flatMap(([, names]) => names!.split(', '))
    .filter((name) => wanted.includes(name));
  assert.ok(wanted.length >= 20);
  assert.deepEqual(listed.sort(), wanted.sort());
});

test('the rooms of docs/architecture.md are the folders of src/', () => {
  const table = section(readDocument('docs/architecture.md'), 'Rooms');
  const rooms = [...table.matchAll(/^\| \d \| ([^|]+) \|/gm)].flatMap(([, names]) =>
    names!.split(', ').map((name) => name.slice(1, -1)),
  );
  const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  assert.deepEqual(rooms.sort(), folders.sort());
});

test('the rooms of a worker that docs/architecture.md names are files of src/worker/', () => {
  const way = section(readDocument('docs/architecture.md'), 'The way of a packet');
  const named = [...way.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)].flatMap(([, names]) =>
    names!.split(', ').map((name) => name.slice(1, -1)),
  );
  assert.ok(named.length >= 20);
  for (const name of named) {
    assert.ok(existsSync(join(ROOT, 'src', 'worker', `${name}.ts`)), name);
  }
});
