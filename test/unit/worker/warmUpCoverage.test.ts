/**
 * Code compiled before a branch was ever taken fails when it is taken: so the warm-up's first phase
 * takes the branches of all rooms that a packet goes through. Judged by V8's own count of blocks
 * and no clock. What is left counts per room: control plane, throws, races of two workers, and what
 * the exercise does not reach yet; the numbers may only fall. And other traffic of the same kinds
 * takes nothing that the warm-up has not, but for blocks without an operation that could fail.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';

/** Blocks that were never entered, at most. */
const ALLOWED: Readonly<Record<string, number>> = {
  worker: 127,
  forward: 22,
  scheduler: 22,
  table: 228,
  port: 6,
  net: 9,
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

/** Not what drives them, nor what has V8 compile them. */
const ROOM = /dist\/(\w+)\/(?!exercise|engine|specialize)\w+\.js$/;
/** Calls, properties, operators: what V8 learns about by executing it. */
const OPERATION = /[.([`~*/%^|&<>=+-]|\btypeof\b|\bin\b/;
const OTHER_SEED = 0x1234567;
const OTHER_ROUNDS = 8000;

type Script = Profiler.ScriptCoverage;

class Coverage {
  readonly #session = new Session();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    const options = { callCount: true, detailed: true };
    this.#session.post('Profiler.startPreciseCoverage', options);
  }

  /** What was executed since the last time, of the rooms. */
  take(): Map<string, Script> {
    const scripts = new Map<string, Script>();
    this.#session.post('Profiler.takePreciseCoverage', (_, { result }) => {
      for (const script of result) {
        if ((ROOM.exec(script.url)?.[1] ?? '') in ALLOWED) scripts.set(script.url, script);
      }
    });
    return scripts;
  }

  stop(): void {
    this.#session.disconnect();
  }
}

/** How often the code at a place was executed: what the smallest range around it says. */
function countAt(script: Script, place: number): number {
  let [count, size] = [0, Number.POSITIVE_INFINITY];
  for (const { ranges } of script.functions) {
    for (const { startOffset, endOffset, count: times } of ranges) {
      if (startOffset > place || place >= endOffset || endOffset - startOffset > size) continue;
      [count, size] = [times, endOffset - startOffset];
    }
  }
  return count;
}

/** Blocks that hold an operation and were executed later, but not before: place and text. */
function takenLater(before: Script, later: Script): string[] {
  const path = fileURLToPath(later.url);
  const source = readFileSync(path, 'utf8');
  const ranges = [before, later].flatMap(({ functions }) => functions.flatMap((f) => f.ranges));
  const bounds = ranges.flatMap(({ startOffset, endOffset }) => [startOffset, endOffset]);
  const places = [...new Set(bounds)].sort((one, other) => one - other);
  return places.slice(0, -1).flatMap((place, at) => {
    const text = source.slice(place, places[at + 1]).trim();
    if (!OPERATION.test(text.replace(/\/\/.*/g, ''))) return [];
    if (countAt(before, place) > 0 || countAt(later, place) === 0) return [];
    const line = source.slice(0, place).split('\n').length;
    return [`${path.slice(path.indexOf('dist/'))}:${line} ${text.slice(0, 80)}`];
  });
}

test('the warm-up takes the branches that live traffic takes', async () => {
  const coverage = new Coverage();
  const { Exercise } = await import('#xvs/worker/exercise');
  const { acquaint } = await import('#xvs/worker/warmUp');
  setFlagsFromString('--no-opt');
  acquaint(new Exercise(0x5eed, () => {}));
  acquaint(new Exercise(0xdeed, () => undefined));
  const before = coverage.take();
  const other = new Exercise(OTHER_SEED, () => {});
  for (let round = 0; round < OTHER_ROUNDS; round++) other.round();
  const later = coverage.take();
  coverage.stop();
  const missed = new Map<string, number>();
  for (const { url, functions } of before.values()) {
    const room = ROOM.exec(url)![1]!;
    const ranges = functions.flatMap((one) => one.ranges).filter(({ count }) => count === 0);
    missed.set(room, (missed.get(room) ?? 0) + outermost(ranges));
  }
  for (const [room, allowed] of Object.entries(ALLOWED)) {
    const count = missed.get(room);
    assert.ok(count !== undefined, `${room}: nothing of it was loaded`);
    assert.ok(count <= allowed, `${room}: ${count} blocks never entered, allowed are ${allowed}`);
  }
  const late = [...later.values()].flatMap((script) => {
    const known = before.get(script.url);
    return known === undefined ? [script.url] : takenLater(known, script);
  });
  assert.deepEqual(late, []);
});
