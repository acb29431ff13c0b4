/**
 * Before a worker opens its sockets it has V8 see every kind of packet, on private tables: the
 * optimising compiler then knows every branch, and the first malformed frame or full table on the
 * wire does not throw the pipeline back into slower code. Takes some five seconds.
 *
 * What V8 optimises while it still learns leaves out each branch that was not taken by then, and
 * fails when it is; so all of that goes once everything has been seen, and is compiled afresh. V8's
 * flags are the process's: workers that warm up together do so in lockstep, and other threads' code
 * is compiled by the same flags for that moment, which harms nobody.
 */
import { type MakePrefetcher, prefetchByReading } from '../table/prefetch';
import { collectGarbage, compileForGood, discardOptimizedCode, withoutOptimizing } from './engine';
import { CYCLE, Exercise } from './exercise';
import { Specializer } from './specialize';

/** Rounds in which V8 counts who calls whom how often, which optimised code does not. */
const COUNTED_ROUNDS = CYCLE / 4;
/** Settings meet in other combinations in each cycle. */
const SOUND_ROUNDS = 2 * CYCLE;
/** Then every second frame has a wrong bit or more. */
const DAMAGED_MASK = 1;
const NOT_DAMAGED = -1;
const DAMAGED_ROUNDS = 768;

const DIRECTORS: readonly (readonly [seed: number, ring: () => void])[] = [
  [0x5eed, () => {}],
  [0xdeed, () => undefined],
];
const REHEARSAL_SEED = 0xbeef;

/**
 * The last one stays, for what V8 learnt is tied to the shapes of these objects: were they
 * collected before others of the same shapes exist, all of it would be forgotten.
 */
const kept: Exercise[] = [];

/** `prefetch`: what the worker's own pipeline will use. */
export function warmUp(prefetch: MakePrefetcher = prefetchByReading): void {
  const exercises = learn(prefetch);
  discardOptimizedCode();
  compileForGood(() => {
    for (const exercise of exercises) run(exercise, CYCLE);
  });
  rehearse(prefetch);
  collectGarbage();
}

/**
 * Two directors, and two functions to ring with: what V8 has seen only one of it takes for
 * constant, and the worker's own would be another. The second is made when the first has worked:
 * V8 knows by then what all fields may hold, and objects made later have the shapes that stay.
 */
function learn(prefetch: MakePrefetcher): readonly Exercise[] {
  return DIRECTORS.map(([seed, ring]) => {
    const exercise = new Exercise(seed, ring, prefetch);
    acquaint(exercise);
    return exercise;
  });
}

/** Takes every branch: sound traffic, then much of it damaged. */
export function acquaint(exercise: Exercise): void {
  withoutOptimizing(() => run(exercise, COUNTED_ROUNDS));
  run(exercise, SOUND_ROUNDS - COUNTED_ROUNDS);
  exercise.replaceRoutes();
  exercise.damage(DAMAGED_MASK);
  run(exercise, DAMAGED_ROUNDS);
  exercise.damage(NOT_DAMAGED);
}

/**
 * A director whose code is its own, as a worker's is (specialize.ts): what that calls instead of
 * taking it into itself is compiled here, and not in the first seconds under load.
 */
function rehearse(prefetch: MakePrefetcher): void {
  const specializer = new Specializer();
  const exercise = new Exercise(REHEARSAL_SEED, () => undefined, prefetch, specializer.join);
  specializer.compile();
  compileForGood(() => {
    run(exercise, CYCLE);
    exercise.damage(DAMAGED_MASK);
    run(exercise, CYCLE);
  });
  kept.push(exercise);
}

function run(exercise: Exercise, rounds: number): void {
  for (let round = 0; round < rounds; round++) exercise.round();
}
