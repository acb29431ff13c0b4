/**
 * Before a worker opens its sockets it has V8 see every kind of packet, on private tables: the
 * optimising compiler then knows every branch, and the first malformed frame or full table on the
 * wire does not throw the pipeline back into the interpreter. Takes about half a second.
 */
import { Exercise } from './exercise';

/** Rounds until V8 has compiled what it will: a few whole cycles of the exercise. */
const ROUNDS = 16384;
const SEED = 0x5eed;

export function warmUp(): void {
  const exercise = new Exercise(SEED);
  for (let round = 0; round < ROUNDS; round++) exercise.round();
}
