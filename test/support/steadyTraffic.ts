/**
 * Child process of steadyState.test.ts: warms the worker's code up, then has other traffic of the
 * same kinds go through it for as long as asked, between two marks on stdout. With a fault named
 * it misbehaves: `allocation` makes an object for each frame, `deoptimisation` puts a
 * fraction where all code has only seen integers.
 *
 *   node steadyTraffic.js MILLISECONDS [FAULT]
 */
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { COUNTER, DROP } from '#xvs/table/counter';
import { prefetchByReading } from '#xvs/table/prefetch';
import { collectGarbage, tuneEngine } from '#xvs/worker/engine';
import { Exercise } from '#xvs/worker/exercise';
import { Specializer } from '#xvs/worker/specialize';
import { warmUp } from '#xvs/worker/warmUp';

/** Of other flows and in another order than what the warm-up uses. */
const SEED = 0x1234567;
/** Rounds before the clock is looked at, which allocates. */
const ROUNDS_AT_ONCE = 1024;
/** Rounds of the exercise before the mark, so that its own code is compiled too. */
const ROUNDS_BEFORE = 16384;

/** So many that even a starved CPU makes garbage enough for a collection. */
const ALLOCATED_WORDS = 512;
const kept: object[] = [];
const FAULTS: Readonly<Record<string, (exercise: Exercise) => void>> = {
  allocation: () => {
    kept[0] = new Array(ALLOCATED_WORDS).fill(0);
  },
  deoptimisation: ({ clients }) => {
    clients.flood = 0.5;
  },
};

function runFor(exercise: Exercise, milliseconds: number): number {
  const end = performance.now() + milliseconds;
  let frames = 0;
  while (performance.now() < end) {
    for (let round = 0; round < ROUNDS_AT_ONCE; round++) frames += exercise.round();
  }
  return frames;
}

function main(milliseconds: number, fault: string): void {
  tuneEngine();
  warmUp();
  const specializer = new Specializer();
  const exercise = new Exercise(SEED, () => {}, prefetchByReading, specializer.join);
  assert.deepEqual(specializer.compile(), []);
  for (let round = 0; round < ROUNDS_BEFORE; round++) exercise.round();
  runFor(exercise, 200);
  collectGarbage();
  // Often and short, so that this loop itself has settled as well.
  for (let time = 0; time < 50; time++) runFor(exercise, 10);
  const misbehave = FAULTS[fault];
  if (misbehave !== undefined) exercise.clients.disturb = () => misbehave(exercise);
  writeSync(1, 'steady state begins\n');
  const frames = runFor(exercise, milliseconds);
  writeSync(1, 'steady state ends\n');
  const [first, second] = exercise.tables.counters;
  const total = (counter: number) => first![counter]! + second![counter]!;
  const counted = {
    frames,
    created: total(COUNTER.connections_created),
    expired: total(COUNTER.connections_expired),
    foreign: total(COUNTER.foreign_packets),
    tableFull: total(DROP.table_full),
    malformed: total(DROP.malformed),
    icmp: total(COUNTER.icmp_sent),
    waited: total(COUNTER.neighbour_waited),
    rejoined: total(COUNTER.fragments_rejoined),
    split: total(COUNTER.packets_split),
    told: total(COUNTER.toa_inserted),
  };
  writeSync(1, `${JSON.stringify(counted)}\n`);
}

main(Number(process.argv[2]), process.argv[3] ?? '');
