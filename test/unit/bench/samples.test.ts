/** Ratios within rounds, and between which values their median lies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchModule } from '../../support/benchReport';

interface Measure {
  readonly name: string;
  readonly parameters: Readonly<Record<string, string | number>>;
  readonly unit: string;
}
interface Ratio {
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly interval: readonly [number, number] | null;
}
interface Module {
  readonly Samples: new () => {
    add(round: number, measure: Measure, value: number): void;
    ratio(one: Measure, other: Measure): Ratio | null;
  };
  formatRatio(ratio: Ratio): string;
  medianInterval(values: readonly number[]): readonly [number, number] | null;
}

const { Samples, formatRatio, medianInterval } = benchModule<Module>('support/samples');
const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

// Conover, Practical Nonparametric Statistics, binomial table: ranks 40 and 61 of 100.
test('the interval of a median has the ranks of the sign test', () => {
  assert.deepEqual(medianInterval(range(100)), [40, 61]);
  assert.deepEqual(medianInterval(range(20).reverse()), [6, 15]);
  assert.equal(medianInterval(range(19)), null);
});

test('ratios are of the rounds that both have, and say how sure they are from 20 on', () => {
  const [one, other] = ['one', 'other'].map((name) => ({ name, parameters: {}, unit: 'Mpps' }));
  const samples = new Samples();
  for (const round of range(21)) samples.add(round, one!, 3 * round);
  for (const round of range(20)) samples.add(round, other!, 2 * round);
  const ratio = samples.ratio(one!, other!)!;
  assert.equal(formatRatio(ratio), 'median 1.50 (1.50 to 1.50; 1.50 to 1.50)');
  assert.equal(formatRatio({ ...ratio, interval: null }), 'median 1.50 (1.50 to 1.50)');
  assert.equal(samples.ratio(one!, { ...other!, unit: 'us' }), null);
});
