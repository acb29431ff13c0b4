/** The report really runs benches: what it leaves, and what an interrupt does. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ended, runCommand } from '#xvs/lab/process';
import { assertWellFormed, RUN } from '../../support/benchReport';

const RUN_MS = 120_000;
const PNG = Buffer.from('\x89PNG\r\n', 'latin1');

interface Run {
  readonly isQuick: boolean;
  readonly benches: readonly {
    readonly name: string;
    readonly state: string;
    readonly seconds: number;
  }[];
}

describe('report', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'xvs-report-test-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const command = (...words: string[]) => [
    ...[process.execPath, RUN, 'report', '--quick', '--out', directory, ...words],
  ];
  const states = () => {
    const run = JSON.parse(readFileSync(join(directory, 'run.json'), 'utf8')) as Run;
    assert.equal(run.isQuick, true);
    return run.benches.map(({ name, state }) => [name, state]);
  };
  const page = () => readFileSync(join(directory, 'report.html'), 'utf8');

  test('a quick run of one bench: page, picture, JSON, table and log', async () => {
    const { status, stdout, stderr } = await runCommand(command('--benches', 'stages'), {
      timeoutMs: RUN_MS,
    });
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^bench stages \(1 of 1\)\n(.|\n)*^bench stages: measured in /m);
    assert.match(stdout, /^target: stage timing, of the pipeline: below 2\.00 %; measured /m);
    assert.deepEqual(states(), [['stages', 'measured']]);
    assertWellFormed(page());
    assert.match(page(), /Its figures mean nothing/);
    const saved = JSON.parse(readFileSync(join(directory, 'stages.json'), 'utf8')) as {
      readonly results: readonly object[];
      readonly targets: readonly { readonly goal: string; readonly measured: number }[];
    };
    assert.equal(saved.results.length, 4);
    assert.equal(saved.targets[0]!.goal, 'stages');
    // Below zero as well: the difference of two short runs.
    assert.ok(Number.isFinite(saved.targets[0]!.measured));
    const picture = readFileSync(join(directory, 'stages.png'));
    assert.deepEqual(picture.subarray(0, PNG.length), PNG);
    assert.ok(picture.readUInt32BE(16) >= 2000, 'two columns, two pixels a point');
    for (const name of ['stages.txt', 'stages.log']) assert.ok(existsSync(join(directory, name)));
  });

  test('an interrupt ends the running bench; the page says so, the others do not run', async () => {
    const words = command('--no-pictures', '--benches', 'micro,stages');
    const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
    const over = ended(child);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      // When the first question is answered, others are still to come.
      if (!said.includes('own constants:')) {
        said += text;
        if (said.includes('own constants:')) child.kill('SIGINT');
      }
    });
    assert.equal(await over, 1);
    assert.deepEqual(states(), [
      ['micro', 'interrupted'],
      ['stages', 'not run'],
    ]);
    assertWellFormed(page());
    assert.match(page(), /It was interrupted\./);
    assert.match(page(), /It did not run\./);
  });
});
