/**
 * House rules that no compiler checks: who may import whom, how long lines and functions are,
 * which words stay out, what the changelog looks like.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, extname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const ROOT = resolve(__dirname, '..', '..', '..');
const LINE_LENGTH_MAX = 100;
const FUNCTION_LINES_MAX = 70;

/** A room imports from itself and from lower ranks; rooms of one rank do not see each other. */
const RANKS: Readonly<Record<string, number>> = {
  layout: 0,
  net: 1,
  port: 2,
  table: 2,
  scheduler: 3,
  forward: 4,
  worker: 5,
  control: 6,
  daemon: 7,
  cli: 7,
  lab: 7,
  bin: 8,
};

const SOURCES = ['.ts', '.cc', '.h', '.c'];
const TEXTS = [...SOURCES, '.md', '.sh', '.json', '.yaml', '.yml', '.gyp', '.service', ''];
const SKIPPED = new Set(['node_modules', 'dist', 'build', 'goldens', '.git', 'package-lock.json']);

function filesBelow(folder: string, extensions: readonly string[]): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesBelow(path, extensions);
    return entry.isFile() && extensions.includes(extname(entry.name)) ? [path] : [];
  });
}

function linesOf(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n');
}

const NOT_CODE =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`/g;
const IN_TEMPLATE = '\u0000';

/**
 * The lines without comments and strings. Of a template string that goes over several lines, the
 * lines after the first are marked IN_TEMPLATE: they are text as it is printed, not code.
 */
function codeLines(text: string): string[] {
  return text
    .replace(NOT_CODE, (part) =>
      part.replace(/[^\n]+/g, '').replaceAll('\n', part[0] === '`' ? `\n${IN_TEMPLATE}` : '\n'),
    )
    .split('\n');
}

function isInTemplate(line: string): boolean {
  return line.startsWith(IN_TEMPLATE);
}

/** "path:line: text" for each line that `wrong` finds fault with. */
function complaints(
  paths: readonly string[],
  wrong: (line: string, code: string) => string | undefined,
): string[] {
  return paths.flatMap((path) => {
    const code = codeLines(readFileSync(path, 'utf8'));
    return linesOf(path).flatMap((line, index) => {
      const said = wrong(line, code[index]!);
      return said === undefined ? [] : [`${relative(ROOT, path)}:${index + 1}: ${said}`];
    });
  });
}

/** Modules a source loads at run time; type-only imports load nothing. */
function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const statements = /^(?:import|export)\s(?!type\s)[^;]*?from '([^']+)'|require\('([^']+)'\)/gm;
  return [...code.matchAll(statements)]
    .filter((match) => !/^import \{(\s*type \w+( as \w+)?,?)+\s*\} from/.test(match[0]))
    .map((match) => match[1] ?? match[2]!);
}

/** What is wrong with `imported`, as seen from `path`: undefined when nothing is. */
function importFault(path: string, imported: string): string | undefined {
  if (!imported.startsWith('.')) return undefined;
  const source = join(ROOT, 'src');
  const from = relative(source, path).split('/')[0]!;
  const to = relative(source, resolve(path, '..', imported)).split('/')[0]!;
  if (from === to) return undefined;
  const fromRank = RANKS[from];
  const toRank = RANKS[to];
  if (fromRank === undefined) return `${from} is no room with a rank`;
  if (toRank === undefined) return `${imported} leads out of src/`;
  if (toRank < fromRank) return undefined;
  return `${from} (rank ${fromRank}) imports ${imported} of ${to} (rank ${toRank})`;
}

interface LongFunction {
  readonly line: number;
  readonly length: number;
}

const CONTROL = /^\s*(\} )?(if|for|while|switch|else|try|catch|finally|do|return|describe|suite)\b/;
const METHOD = /^\s*((private|protected|static|async|override|get|set)\s+)*[#\w]+(<.*>)?\(/;
const FUNCTION = /\bfunction\b|=>\s*\{$/;

/**
 * Functions that are too long. The formatter aligns a block's end with the line that begins it,
 * so that no parser is needed. A group of tests is no function in this sense.
 */
function longFunctions(text: string): LongFunction[] {
  const found: LongFunction[] = [];
  const lines = text.split('\n');
  const code = codeLines(text);
  for (let start = 0; start < lines.length; start++) {
    const line = lines[start]!;
    if (CONTROL.test(line) || !(FUNCTION.test(line) || METHOD.test(line))) continue;
    const indent = /^\s*/.exec(line)![0];
    let end = start;
    if (line.endsWith('(')) {
      // Parameters on lines of their own: the body begins with the parenthesis' end.
      end = lines.findIndex((other, index) => index > start && other.startsWith(`${indent})`));
      if (end < 0) continue;
    }
    if (!lines[end]!.endsWith('{')) continue;
    const close = lines.findIndex((other, index) => index > end && other.startsWith(`${indent}}`));
    if (close < 0) continue;
    const length = code.slice(start, close + 1).filter((other) => !isInTemplate(other)).length;
    if (length > FUNCTION_LINES_MAX) found.push({ line: start + 1, length });
  }
  return found;
}

const HOT_ROOMS = new Set(['net', 'port', 'table', 'scheduler', 'forward', 'worker']);

const code = ['src', 'test', 'bench', 'native'].flatMap((folder) =>
  filesBelow(join(ROOT, folder), SOURCES),
);
const product = filesBelow(join(ROOT, 'src'), ['.ts']);
const texts = filesBelow(ROOT, TEXTS);

test('a file imports from its own room or from a lower rank', () => {
  const faults = product.flatMap((path) =>
    importsOf(readFileSync(path, 'utf8')).flatMap((imported) => {
      const fault = importFault(path, imported);
      return fault === undefined ? [] : [`${relative(ROOT, path)}: ${fault}`];
    }),
  );
  assert.deepEqual(faults, []);
});

test('the import rule finds an import upward and lets types pass', () => {
  const path = join(ROOT, 'src', 'table', 'made-up.ts');
  assert.match(importFault(path, '../worker/loop')!, /table \(rank 2\).*worker \(rank 5\)/);
  assert.match(importFault(join(ROOT, 'src/net/x.ts'), '../port/port')!, /net.*port/);
  assert.equal(importFault(path, '../layout/record'), undefined);
  assert.deepEqual(
    importsOf("import type { A } from '../a';\nimport { type B, c } from '../b';\n"),
    ['../b'],
  );
  assert.deepEqual(importsOf("import {\n  type A,\n  type B,\n} from '../a';\n"), []);
});

test(`lines have at most ${LINE_LENGTH_MAX} columns`, () => {
  const tooLong = (line: string, code: string) =>
    line.length > LINE_LENGTH_MAX && !isInTemplate(code) ? `${line.length} columns` : undefined;
  assert.deepEqual(complaints(code, tooLong), []);
});

test(`functions have at most ${FUNCTION_LINES_MAX} lines`, () => {
  const faults = code
    .filter((path) => extname(path) === '.ts')
    .flatMap((path) =>
      longFunctions(readFileSync(path, 'utf8')).map(
        ({ line, length }) => `${relative(ROOT, path)}:${line}: ${length} lines`,
      ),
    );
  assert.deepEqual(faults, []);
});

test('the function rule sees functions, methods and callbacks that are too long', () => {
  const body = Array.from({ length: FUNCTION_LINES_MAX - 1 }, () => '  step();');
  const found = (...lines: string[]) => longFunctions(lines.join('\n'));
  for (const opening of ['function a() {', 'async b(): Promise<void> {', 'const c = () => {']) {
    assert.deepEqual(found(opening, ...body, '}'), [{ line: 1, length: FUNCTION_LINES_MAX + 1 }]);
    assert.deepEqual(found(opening, ...body.slice(1), '}'), []);
  }
  const wrapped = ['function a(', '  b: number,', '): void {'];
  assert.equal(found(...wrapped, ...body, '}').length, 1);
  assert.deepEqual(found('if (a(b)) {', ...body, '}'), []);
});

test('fields on the hot path are private, and not born undefined', () => {
  const hot = product.filter((path) => HOT_ROOMS.has(relative(ROOT, path).split('/')[1]!));
  assert.ok(hot.length > 100, `${hot.length} files`);
  const field = (line: string) => (/^ {2}(?:\w+ )*#\w+/.test(line) ? 'a #field' : undefined);
  assert.deepEqual(complaints(hot, field), []);
});

test('header fields and real servers go by their names', () => {
  const banned: Readonly<Record<string, string>> = {
    sip: 'source',
    dip: 'destination, or directorIp for the director’s own',
    dest: 'realServer',
    dests: 'realServers',
  };
  const pattern = new RegExp(`\\b(${Object.keys(banned).join('|')})\\b`);
  const wrong = (_line: string, code: string) => {
    const word = pattern.exec(code)?.[1];
    return word === undefined ? undefined : `"${word}", say ${banned[word]}`;
  };
  const typed = code.filter((path) => extname(path) === '.ts' && basename(path) !== 'tidy.test.ts');
  assert.deepEqual(complaints(typed, wrong), []);
});

test('nothing is left to do, and no path of one machine is named', () => {
  // Spelled in pieces, so that this file does not name them.
  const unfinished = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);
  const paths = new RegExp(`(^|[\\s"'\`(=:])/(${['wo' + 'rk', 'ro' + 'ot'].join('|')})(/|\\b)`);
  const jobs = `/tmp/${'bash'}_jobs`;
  const wrong = (line: string) => {
    const word = unfinished.exec(line)?.[0] ?? paths.exec(line)?.[0];
    if (word !== undefined) return `"${word.trim()}"`;
    return line.includes(jobs) ? `"${jobs}"` : undefined;
  };
  assert.deepEqual(complaints(texts, wrong), []);
});

const CHANGELOG = join(ROOT, 'CHANGELOG.md');

test('the changelog keeps its shape', { skip: !existsSync(CHANGELOG) && 'no changelog' }, () => {
  const lines = linesOf(CHANGELOG);
  assert.equal(lines[0], '# Changelog');
  const versions = lines.filter((line) => line.startsWith('## '));
  assert.equal(versions[0], '## [Unreleased]', 'the first section is what comes next');
  for (const version of versions.slice(1)) {
    assert.match(version, /^## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$/);
  }
  for (const section of lines.filter((line) => line.startsWith('### '))) {
    assert.match(section, /^### (Added|Changed|Deprecated|Removed|Fixed|Security)$/);
  }
});
