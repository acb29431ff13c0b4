/**
 * Code compiled before a branch was ever taken fails when it is taken: so the warm-up's first phase
 * takes the branches of all rooms that a packet goes through. Judged by V8's own count of blocks
 * and no clock. What is left counts per room: control plane, throws, races of two workers, and what
 * the exercise does not reach yet; the numbers may only fall.
 */
import assert from 'node:assert/strict';
import { Session } from 'node:inspector';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';

/** Blocks that were never entered, at most. */
const ALLOWED: Readonly<Record<string, number>> = {
  worker: 172,
  forward: 22,
  scheduler: 28,
  table: 222,
  port: 6,
  net: 8,
};

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

/** Of ranges, those that lie in no other. */
function outermost(ranges: readonly Range[]): number {
  const sorted = [...ranges].sort(
    (one, other) => one.startOffset - other.startOffset || other.endOffset - one.endOffset,
  );
  let [count, end] = [0, -1];
  for (const range of sorted) {
    if (range.endOffset <= end) continue;
    end = range.endOffset;
    count++;
  }
  return count;
}

test('the warm-up takes the branches that live traffic takes', async () => {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const { Exercise } = await import('#xvs/worker/exercise');
  const { acquaint } = await import('#xvs/worker/warmUp');
  setFlagsFromString('--no-opt');
  acquaint(new Exercise(0x5eed, () => {}));
  acquaint(new Exercise(0xfeed, () => undefined));
  const missed = new Map<string, number>();
  session.post('Profiler.takePreciseCoverage', (_, { result }) => {
    for (const { url, functions } of result) {
      const room = /dist\/(\w+)\/(?!exercise)\w+\.js$/.exec(url)?.[1] ?? '';
      if (!(room in ALLOWED)) continue;
      const ranges = functions.flatMap((one) => one.ranges).filter(({ count }) => count === 0);
      missed.set(room, (missed.get(room) ?? 0) + outermost(ranges));
    }
  });
  session.disconnect();
  for (const [room, allowed] of Object.entries(ALLOWED)) {
    const count = missed.get(room);
    assert.ok(count !== undefined, `${room}: nothing of it was loaded`);
    assert.ok(count <= allowed, `${room}: ${count} blocks never entered, allowed are ${allowed}`);
  }
});
