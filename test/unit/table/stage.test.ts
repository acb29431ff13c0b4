/** Histograms of a worker's stages: buckets against their bounds, and a model of plain arrays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  BUCKETS,
  BURST_FRAMES,
  bucketBound,
  bucketOf,
  RING_LEVELS,
  RINGS,
  STAGE,
  STAGES,
  StageHistograms,
} from '#xvs/table/stage';

const VALUE = fc.integer({ min: 0, max: 0x7fffffff });
/** Buckets differ most among small values: as many of them as of all others. */
const ANY_VALUE = fc.oneof(VALUE, fc.integer({ min: 0, max: 70 }));
const HISTOGRAMS = RING_LEVELS + RINGS.length;

test('a value is in the first bucket whose bound it does not exceed', () => {
  fc.assert(
    fc.property(ANY_VALUE, (value) => {
      const bucket = bucketOf(value);
      assert.ok(bucket < BUCKETS);
      assert.ok(value <= bucketBound(bucket));
      if (bucket > 0) assert.ok(value > bucketBound(bucket - 1));
    }),
  );
});

test('bounds and the values beside them', () => {
  for (let power = 0; power < 31; power++) {
    const bound = 2 ** power;
    assert.equal(bucketOf(bound), power + 1, `${bound}`);
    assert.equal(bucketBound(power + 1), bound);
    if (power < 30) assert.equal(bucketOf(bound + 1), power + 2, `${bound + 1}`);
  }
  assert.equal(bucketOf(0), 0);
  assert.equal(bucketOf(0x7fffffff), BUCKETS - 1);
});

test('the number of each stage is its place among the names', () => {
  for (const [number, stage] of STAGES.entries()) assert.equal(STAGE[stage], number);
  assert.equal(BURST_FRAMES, STAGES.length);
});

test('histograms count and sum what they were given, each for itself', () => {
  const entry = fc.tuple(fc.integer({ min: 0, max: HISTOGRAMS - 1 }), ANY_VALUE);
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 200 }), (entries) => {
      const buffer = StageHistograms.buffer();
      const written = new StageHistograms(buffer);
      for (const [histogram, value] of entries) written.add(histogram, value);
      const read = new StageHistograms(buffer);
      for (let histogram = 0; histogram < HISTOGRAMS; histogram++) {
        const values = entries.filter(([of]) => of === histogram).map(([, value]) => value);
        assert.equal(
          read.sum(histogram),
          values.reduce((sum, value) => sum + value, 0),
        );
        assert.equal(read.total(histogram), values.length);
        for (let bucket = 0; bucket < BUCKETS; bucket++) {
          const expected = values.filter((value) => bucketOf(value) === bucket).length;
          assert.equal(read.count(histogram, bucket), expected);
        }
      }
    }),
  );
});
