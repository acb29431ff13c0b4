/** The stopwatch: which stage gets which time, from words as the addon writes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CLOCK_NANOSECONDS, CLOCK_TRANSMIT } from '#xvs/port/umem';
import {
  BURST_FRAMES,
  bucketOf,
  RING_LEVELS,
  STAGE,
  STAGES,
  StageHistograms,
} from '#xvs/table/stage';
import { Stopwatch } from '#xvs/worker/stopwatch';

interface Stand {
  readonly clock: Int32Array;
  readonly histograms: StageHistograms;
  readonly stopwatch: Stopwatch;
}

function makeStand(start: number): Stand {
  const clock = new Int32Array(4);
  clock[CLOCK_NANOSECONDS] = start;
  const histograms = new StageHistograms(StageHistograms.buffer());
  return { clock, histograms, stopwatch: new Stopwatch(clock, histograms) };
}

const sums = ({ histograms }: Stand) =>
  Object.fromEntries(STAGES.map((stage) => [stage, histograms.sum(STAGE[stage])]));

test('a round of a busy worker', () => {
  const stand = makeStand(1000);
  const { clock, stopwatch, histograms } = stand;
  clock[CLOCK_NANOSECONDS] = 1300;
  stopwatch.received(5);
  clock[CLOCK_TRANSMIT] = 2300;
  clock[CLOCK_NANOSECONDS] = 4300;
  stopwatch.processed();
  stopwatch.transmitted();
  clock[CLOCK_NANOSECONDS] = 4400;
  stopwatch.polled();
  clock[CLOCK_NANOSECONDS] = 4900;
  stopwatch.timed();
  clock[CLOCK_NANOSECONDS] = 1_004_900;
  stopwatch.slept();
  assert.deepEqual(sums(stand), {
    ...{ receive: 300, pipeline: 1000, transmit: 2000, poll: 100, timers: 500 },
    sleep: 1_000_000,
  });
  assert.equal(histograms.sum(BURST_FRAMES), 5);
  assert.equal(histograms.count(BURST_FRAMES, bucketOf(5)), 1);
});

test('a burst of which nothing is transmitted ends with a reading of its own', () => {
  const stand = makeStand(0);
  stand.clock[CLOCK_TRANSMIT] = 77; // of an earlier burst
  stand.clock[CLOCK_NANOSECONDS] = 900;
  stand.stopwatch.consumed();
  assert.equal(sums(stand)['pipeline'], 900);
});

test('stages add up to the whole, also where the clock wraps', () => {
  const length = fc.integer({ min: 0, max: 0x7fffffff });
  const start = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  const stages = ['polled', 'consumed', 'transmitted', 'timed', 'slept'] as const;
  const step = fc.tuple(fc.constantFrom(...stages), length);
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 50 }), (first, steps) => {
      const stand = makeStand(first);
      for (const [stage, nanoseconds] of steps) {
        stand.clock[CLOCK_NANOSECONDS]! += nanoseconds;
        stand.stopwatch[stage]();
      }
      const whole = steps.reduce((sum, [, nanoseconds]) => sum + nanoseconds, 0);
      assert.equal(
        Object.values(sums(stand)).reduce((sum, part) => sum + part, 0),
        whole,
      );
    }),
  );
});

test('levels of rings are filed ring by ring', () => {
  const { stopwatch, histograms } = makeStand(0);
  for (const [ring, level] of [3, 0, 2048, 17].entries()) stopwatch.levels[ring] = level;
  stopwatch.sampled();
  for (const [ring, level] of [3, 0, 2048, 17].entries()) {
    assert.equal(histograms.sum(RING_LEVELS + ring), level);
    assert.equal(histograms.count(RING_LEVELS + ring, bucketOf(level)), 1);
  }
});
