/** When the report calls a difference a change, and when a target is met. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { benchModule, type SavedResult } from '../../support/benchReport';

interface Change {
  readonly ratio: number | null;
  readonly verdict: string;
}

const { compareReports, compareResults, differs } = benchModule<{
  compareResults(now: SavedResult, then: SavedResult): Change;
  compareReports(
    now: { readonly results: readonly SavedResult[] },
    then: { readonly results: readonly SavedResult[] },
  ): {
    readonly changes: ReadonlyMap<SavedResult, Change>;
    readonly added: readonly SavedResult[];
    readonly gone: readonly SavedResult[];
  };
  differs(now: SavedResult, then: SavedResult): boolean;
}>('report/compare');

const { formatTarget, judge, judgeGoal } = benchModule<{
  formatTarget(target: object): string;
  judge(limit: object, what: string, figure: number | object | null): { readonly isMet: boolean };
  judgeGoal(goal: string, figure: number | object | null): { readonly isMet: boolean };
}>('support/target');

function result(values: readonly number[], unit = 'Mpps', parameters = {}): SavedResult {
  const sorted = [...values].sort((one, other) => one - other);
  const [min, max] = [sorted[0]!, sorted.at(-1)!];
  const median = (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
  return { name: 'xvs', parameters, unit, min, median, max, count: sorted.length };
}

const verdict = (now: readonly number[], then: readonly number[], unit?: string) =>
  compareResults(result(now, unit), result(then, unit)).verdict;

describe('a change', () => {
  test('is one where the ranges do not meet', () => {
    assert.equal(verdict([11, 12, 13], [8, 9, 10]), 'faster');
    assert.equal(verdict([8, 9, 10], [11, 12, 13]), 'slower');
    assert.equal(verdict([8, 9, 10], [10, 11, 12]), 'same');
  });

  test('is one where the medians are further apart than the wider range', () => {
    // They meet at 10, but each keeps close to its own median.
    assert.equal(verdict([10, 11.9, 12, 12], [8, 8, 8.1, 10]), 'faster');
    assert.equal(verdict([10, 10.5, 12], [8, 9.5, 10]), 'same');
  });

  test('means by the unit whether it is for the better', () => {
    assert.equal(verdict([11, 12], [8, 9], 'ns/packet'), 'slower');
    assert.equal(verdict([8, 9], [11, 12], 'us'), 'faster');
    assert.equal(verdict([11, 12], [8, 9], 'requests/s'), 'faster');
    assert.equal(verdict([11, 12], [8, 9], 'packets/CPU-second'), 'faster');
    assert.equal(verdict([11, 12], [8, 9], 'bytes/connection'), 'worse');
    assert.equal(verdict([8, 9], [11, 12], 'CPUs busy'), 'better');
    assert.equal(verdict([11, 12], [8, 9], '% of the CPU'), 'more');
  });

  test('is none where there is one value, or nothing before', () => {
    assert.equal(verdict([12], [8, 9]), 'single values');
    assert.equal(verdict([9], [9]), 'same');
    assert.equal(compareResults(result([1, 2]), result([0, 0])).ratio, null);
  });

  test('is the same seen from both ends, and never one of a run with itself', () => {
    const values = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(values, values, (one, other) => {
        const [now, then] = [result(one), result(other)];
        assert.equal(differs(now, then), differs(then, now));
        assert.equal(compareResults(now, now).verdict, 'same');
        const back = compareResults(then, now).verdict;
        const opposite = { faster: 'slower', slower: 'faster', same: 'same' }[back];
        assert.equal(compareResults(now, then).verdict, opposite);
      }),
    );
  });

  test('is looked for by name, unit and parameters, however long it was measured', () => {
    const now = {
      results: [
        result([11, 12], 'Mpps', { load: 'flood', rounds: 10, seconds: 1.2 }),
        result([1, 2], 'Mpps', { load: 'half' }),
      ],
    };
    const then = {
      results: [
        result([8, 9], 'Mpps', { seconds: 0.3, load: 'flood', rounds: 3 }),
        result([1, 2], 'Mpps', { load: 'lossless' }),
      ],
    };
    const { changes, added, gone } = compareReports(now, then);
    assert.equal(changes.get(now.results[0]!)!.verdict, 'faster');
    assert.equal(changes.size, 1);
    assert.deepEqual(added, [now.results[1]]);
    assert.deepEqual(gone, [then.results[1]]);
  });
});

describe('a target', () => {
  const limit = { relation: 'at most', wanted: 2, unit: 'x' };

  test('is judged by the median', () => {
    assert.equal(judge(limit, 'it', { min: 1.5, median: 2, max: 4 }).isMet, true);
    assert.equal(judge(limit, 'it', { min: 1.5, median: 2.01, max: 4 }).isMet, false);
    assert.equal(judge({ ...limit, relation: 'below' }, 'it', 2).isMet, false);
    assert.equal(judge({ ...limit, relation: 'at least' }, 'it', 2).isMet, true);
  });

  test('is a line that a reader can check', () => {
    const ratio = { min: 0.9, median: 1.094, max: 1.2 };
    const line = 'target: it: at most 2.00 x; measured 1.09 (0.90 to 1.20): met';
    assert.equal(formatTarget(judge(limit, 'it', ratio)), line);
    assert.equal(
      formatTarget(judge(limit, 'it', null)),
      'target: it: at most 2.00 x; not measured',
    );
    assert.match(
      formatTarget(judgeGoal('births', 1_181_578.4)),
      /: at least 2,000,000 a second; measured 1,181,578: missed$/,
    );
  });
});

test('every bench is in the plan of the report, and no other', () => {
  const folder = resolve(__dirname, '..', '..', '..', '..', 'bench');
  const benches = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !['report', 'support'].includes(entry.name))
    .map(({ name }) => name);
  const { PLAN } = benchModule<{ PLAN: Readonly<Record<string, object>> }>('report/plan');
  assert.deepEqual(Object.keys(PLAN).sort(), benches.sort());
  for (const name of benches) {
    const { summary } = benchModule<{ summary: string }>(join(name, name));
    assert.ok(summary.length > 0, name);
  }
});
