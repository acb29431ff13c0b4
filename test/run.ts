/**
 * The test runner: `node dist/test/run.js KIND... [FILE...] [--seed N]`.
 *
 * Runs the compiled *.test.js of the kinds named, each file in its own process, with node's own
 * runner. Ends with one line, `N passed, N failed, N skipped`, and status 1 if anything failed.
 * With CI=true a skipped test has failed, unless it says that the kernel lacks something.
 */
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const ROOT = resolve(__dirname, '..', '..');
const SEED_MAX = 0x7fffffff;
const ALLOWED_SKIP = 'kernel lacks';

interface Kind {
  /** Folders below test/. */
  readonly folders: readonly string[];
  /** Files at the same time: those that use namespaces, CPUs and clocks run one by one. */
  readonly concurrency: number;
  /** For a whole file. */
  readonly timeoutMs: number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  unit: {
    folders: ['unit', 'fixture'],
    concurrency: availableParallelism(),
    timeoutMs: 180_000,
  },
  native: { folders: ['native'], concurrency: 1, timeoutMs: 180_000 },
  e2e: { folders: ['e2e'], concurrency: 1, timeoutMs: 240_000 },
};

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Options {
  readonly kinds: readonly string[];
  /** Parts of paths; empty: all files. */
  readonly filters: readonly string[];
  readonly seed: number;
}

class UsageError extends Error {}

function parse(words: readonly string[]): Options {
  const kinds: string[] = [];
  const filters: string[] = [];
  let seed = Math.floor(Math.random() * SEED_MAX);
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (word === '--seed') {
      index++;
      seed = Number(words[index]);
      if (!Number.isInteger(seed) || seed < 0 || seed > SEED_MAX) {
        throw new UsageError(`--seed is "${words[index]}", allowed are 0 to ${SEED_MAX}`);
      }
    } else if (word.startsWith('-')) {
      throw new UsageError(`unknown option "${word}", known is --seed N`);
    } else if (KINDS[word] !== undefined) {
      kinds.push(word);
    } else {
      filters.push(word.replace(/\.(ts|js)$/, ''));
    }
  }
  return { kinds: kinds.length > 0 ? kinds : Object.keys(KINDS), filters, seed };
}

/**
 * Compiled files of a kind. Their sources are listed, so that what was deleted and is still in
 * dist/ does not run.
 */
function filesOf(kind: Kind, filters: readonly string[]): string[] {
  const sources = kind.folders
    .map((folder) => join(ROOT, 'test', folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    )
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => relative(ROOT, path).replace(/\.ts$/, ''))
    .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)));
  return sources.sort().map((path) => join(ROOT, 'dist', `${path}.js`));
}

interface Outcome {
  readonly name: string;
  readonly skip?: string | boolean;
  readonly details: { readonly type?: string; readonly error?: { readonly failureType?: string } };
}

interface RunnerEvent {
  readonly type: string;
  readonly data: { readonly message?: string };
}

/** Node ends with counts of its own for every kind; ours come once, at the end. */
async function* withoutSummary(events: AsyncIterable<RunnerEvent>): AsyncGenerator<RunnerEvent> {
  const summary = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;
  for await (const event of events) {
    if (event.type !== 'test:diagnostic' || !summary.test(event.data.message ?? '')) yield event;
  }
}

async function runKind(kind: Kind, files: string[], counts: Counts): Promise<void> {
  const strict = process.env['CI'] === 'true';
  const notes: string[] = [];
  const stream = run({ files, concurrency: kind.concurrency, timeout: kind.timeoutMs });
  stream.on('test:pass', (data: Outcome) => {
    if (data.skip === undefined || data.skip === false) {
      // A group is no test of its own, unless it is skipped as a whole.
      if (data.details.type !== 'suite') counts.passed++;
    } else if (strict && !String(data.skip).startsWith(ALLOWED_SKIP)) {
      counts.failed++;
      notes.push(`skipped, which counts as failed here: ${data.name}: ${data.skip}`);
    } else {
      counts.skipped++;
    }
  });
  stream.on('test:fail', (data: Outcome) => {
    // A group fails with its tests, which count; or by itself, in a hook.
    if (data.details.error?.failureType !== 'subtestsFailed') counts.failed++;
  });
  const events = Readable.from(withoutSummary(stream as AsyncIterable<RunnerEvent>));
  await pipeline(events, new spec(), process.stdout, { end: false });
  for (const note of notes) process.stdout.write(`${note}\n`);
}

async function main(words: readonly string[]): Promise<number> {
  const { kinds, filters, seed } = parse(words);
  process.stdout.write(`seed ${seed} (the same again: --seed ${seed})\n`);
  // Node hands its own options on to the process of each file.
  process.execArgv.push('--enable-source-maps', '--require', join(__dirname, 'support', 'seed.js'));
  process.env['XVS_TEST_SEED'] = String(seed);
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  let fileCount = 0;
  for (const name of kinds) {
    const files = filesOf(KINDS[name]!, filters);
    fileCount += files.length;
    if (files.length === 0) continue;
    process.stdout.write(`\n${name}: ${files.length} files\n`);
    await runKind(KINDS[name]!, files, counts);
  }
  if (fileCount === 0) {
    throw new UsageError(`no test file of ${kinds.join(', ')} matches "${filters.join('", "')}"`);
  }
  const { passed, failed, skipped } = counts;
  process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return failed > 0 || passed === 0 ? 1 : 0;
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    const message = error instanceof UsageError ? error.message : String((error as Error).stack);
    process.stderr.write(`test: ${message}\n`);
    process.exitCode = 2;
  },
);
