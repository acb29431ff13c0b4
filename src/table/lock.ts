/**
 * A lock is one shared word, or its low byte: 0 free, else the owner's number (1..255), so that
 * what a dead worker held can be found and broken. Held for a few hundred nanoseconds, never
 * across a call into the kernel; taken for new connections and configuration only.
 */

/** Owner number of the control plane; worker i is owner i + 1. */
export const CONTROL_OWNER = 255;
/** Workers there may be: each has an owner's number. */
export const WORKERS_MAX = CONTROL_OWNER - 1;
/** Tries before a taker sleeps: about a millisecond, far longer than a lock is held. */
const SPINS_MAX = 100_000;
/** Sleeps of a millisecond: the owner has lost its CPU, perhaps to the taker. Then it gives up. */
const SLEEPS_MAX = 50;
const SLEEP_MS = 1;
const OWNER_BITS = 0xff;

/** Takes the lock in the low byte of `array[at]`; the other bits stay. False: gave up. */
export function acquire(array: Int32Array, at: number, owner: number): boolean {
  for (let spin = 0; spin < SPINS_MAX; spin++) {
    const word = array[at]!;
    if ((word & OWNER_BITS) !== 0) continue;
    if (Atomics.compareExchange(array, at, word, word | owner) === word) return true;
  }
  return acquireSleeping(array, at, owner);
}

function acquireSleeping(array: Int32Array, at: number, owner: number): boolean {
  for (let sleep = 0; sleep < SLEEPS_MAX; sleep++) {
    const word = Atomics.load(array, at);
    if ((word & OWNER_BITS) !== 0) Atomics.wait(array, at, word, SLEEP_MS);
    else if (Atomics.compareExchange(array, at, word, word | owner) === word) return true;
  }
  return false;
}

/** Gives the lock back. Bits above the low byte may have been changed by others meanwhile. */
export function release(array: Int32Array, at: number, owner: number): void {
  Atomics.sub(array, at, owner);
}

/** Frees a lock that a dead owner held. True when it was held by it. */
export function breakLock(array: Int32Array, at: number, owner: number): boolean {
  if ((array[at]! & OWNER_BITS) !== owner) return false;
  Atomics.sub(array, at, owner);
  return true;
}
