/** All recorded ipvsadm sessions, with the real tool on a model of the table. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  describeDifferences,
  goldenNames,
  readGolden,
  runCliGoldens,
  runInProcess,
  simpleWords,
} from '../../support/cliGolden';
import { serveModel, TableModel } from './tableModel';

const model = new TableModel();
let folder = '';
let socketPath = '';
let served: Awaited<ReturnType<typeof serveModel>>;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'xvs-cli-'));
  socketPath = join(folder, 'xvs.sock');
  served = await serveModel(model, socketPath);
});

after(async () => {
  await served.close();
  rmSync(folder, { recursive: true, force: true });
});

test('there are recordings to compare with', () => {
  assert.ok(goldenNames().length >= 37);
});

for (const name of goldenNames()) {
  test(`recorded session ${name}`, async () => {
    const reset = (): void => model.reset();
    const report = await runCliGoldens({ socketPath, names: [name], reset });
    assert.equal(report.differences.length, 0, describeDifferences(report.differences));
    assert.ok(report.compared > 0 || name === 'unprivileged');
  });
}

/** Every line that ipvsadm refused before it asked the kernel. */
test('lines wrong in themselves are refused without a director', async () => {
  let refused = 0;
  for (const name of goldenNames()) {
    for (const recorded of readGolden(name)) {
      const words = simpleWords(recorded.cmd);
      const beforeTheKernel =
        recorded.rc === 2 || /Try `|unknown option|missing argument/.test(recorded.stderr);
      if (words === null || words[0] !== 'ipvsadm' || !beforeTheKernel) continue;
      const outcome = await runInProcess(words.slice(1), join(folder, 'nobody.sock'));
      const { rc, stdout, stderr } = recorded;
      assert.deepEqual(outcome, { rc, stdout, stderr }, recorded.cmd);
      refused += 1;
    }
  }
  assert.ok(refused > 150, `only ${refused} lines`);
});

test('all lines of a restore go over one connection', async () => {
  model.reset();
  const earlier = served.connections();
  const rules = Array.from({ length: 50 }, (_, index) => `-A -t 10.1.1.${index}:80 -s rr\n`);
  const outcome = await runInProcess(['-R'], socketPath, rules.join(''));
  assert.deepEqual(outcome, { rc: 0, stdout: '', stderr: '' });
  assert.equal(served.connections(), earlier + 1);
  assert.equal(model.list().services.length, 50);
});

/** Compared with ipvsadm 1.31 itself on a table of its own; no recording has these lines. */
test('what ends a restore, and what it goes on after', async () => {
  const add = '-A -t 10.1.1.1:80 -s rr\n';
  const unknown = '--bogus: unknown option\n';
  const cases: readonly (readonly [string, number, string, number])[] = [
    [`-A --bogus\n${add}`, 0, unknown, 1],
    [`${add}-A --bogus\n`, 255, unknown, 1],
    [`-A -t\n${add}-D -f 1\n`, 255, '-t: missing argument\nNo such service\n', 1],
    [`-A --ops=1\n${add}`, 0, '--ops=1: option does not take an argument\n', 1],
    [`-L -n -t 10.1.1.9:80\n${add}`, 1, 'No such service\n', 0],
    [`-A -t 10.1.1.9:80 -s\nnosuch\n${add}`, 255, '-s: missing argument\n', 0],
    [`-A -t x\n${add}`, 2, 'illegal virtual server address[:port] specified\n', 0],
    ['-A -t 10.1.1.1:80 -s rr', 0, '', 1],
    ['-A -t 10.1.1.1:80 -s rr ', 0, '', 1],
    ['-A -t 10.1.1.1:80 -s rr  ', 0, '', 0],
  ];
  for (const [rules, rc, stderr, services] of cases) {
    model.reset();
    const outcome = await runInProcess(['-R'], socketPath, rules);
    assert.equal(outcome.rc, rc, rules);
    assert.ok(outcome.stderr.startsWith(stderr), `${rules}: ${outcome.stderr}`);
    assert.equal(model.list().services.length, services, rules);
  }
});
