/**
 * Before a worker opens its sockets it has V8 see every kind of packet, on private tables: the
 * optimising compiler then knows every branch, and the first malformed frame or full table on the
 * wire does not throw the pipeline back into slower code. Takes about four seconds.
 *
 * First without optimising: code compiled before a branch was ever taken leaves it out, and fails
 * when it is taken. V8's flags are the process's: other threads' code is not optimised anew for
 * that moment, which harms nobody.
 */
import { setFlagsFromString } from 'node:v8';
import { type MakePrefetcher, prefetchByReading } from '../table/prefetch';
import { collectGarbage } from './engine';
import { CYCLE, Exercise } from './exercise';

/** Rounds until V8 has compiled what it will. */
const ROUNDS = CYCLE;
/** Then every second frame has a wrong bit or more. */
const DAMAGED_MASK = 1;
const NOT_DAMAGED = -1;
const DAMAGED_ROUNDS = 768;
/** Settings meet in other combinations in each cycle. */
const SOUND_ROUNDS = 2 * CYCLE;

const DIRECTORS: readonly (readonly [seed: number, ring: () => void])[] = [
  [0x5eed, () => {}],
  [0xdeed, () => undefined],
];

/**
 * The last one stays, for what V8 learnt is tied to the shapes of these objects: were they
 * collected before others of the same shapes exist, all of it would be forgotten.
 */
const kept: Exercise[] = [];

/** `prefetch`: what the worker's own pipeline will use. */
export function warmUp(prefetch: MakePrefetcher = prefetchByReading): void {
  exerciseAll(prefetch);
  collectGarbage();
}

/**
 * Two directors, and two functions to ring with: what V8 has seen only one of it takes for
 * constant, and the worker's own would be another. The second is made when the first has worked:
 * V8 knows by then what all fields may hold, and objects made later have the shapes that stay.
 */
function exerciseAll(prefetch: MakePrefetcher): void {
  const exercises: Exercise[] = [];
  withFlag('--no-opt', '--opt', () => {
    for (const [seed, ring] of DIRECTORS) {
      const exercise = new Exercise(seed, ring, prefetch);
      acquaint(exercise);
      exercises.push(exercise);
    }
  });
  kept.push(exercises.at(-1)!);
  // Not for its name: what is compiled under it does not fail at a branch that was never taken.
  withFlag('--always-turbofan', '--no-always-turbofan', () => {
    for (const exercise of exercises) run(exercise, ROUNDS);
  });
}

function withFlag(on: string, off: string, work: () => void): void {
  setFlagsFromString(on);
  try {
    work();
  } finally {
    setFlagsFromString(off);
  }
}

/** Takes every branch, without optimised code: sound traffic, then much of it damaged. */
export function acquaint(exercise: Exercise): void {
  run(exercise, SOUND_ROUNDS);
  exercise.replaceRoutes();
  exercise.damage(DAMAGED_MASK);
  run(exercise, DAMAGED_ROUNDS);
  exercise.damage(NOT_DAMAGED);
}

function run(exercise: Exercise, rounds: number): void {
  for (let round = 0; round < rounds; round++) exercise.round();
}
