/** One word of shared memory, read and added to, plainly and with Atomics. */
import { FRAMES } from './frames';

const words = new Int32Array(new SharedArrayBuffer(FRAMES * 64));
const doubles = new Float64Array(new SharedArrayBuffer(FRAMES * 64));
const STEP = 16;

export function plainRead(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STEP; at += STEP) sum ^= words[at]!;
  return sum;
}

export function atomicRead(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STEP; at += STEP) sum ^= Atomics.load(words, at);
  return sum;
}

export function plainAdd(): number {
  for (let at = 0; at < FRAMES * STEP; at += STEP) words[at]! += 1;
  return words[0]!;
}

export function doubleAdd(): number {
  for (let at = 0; at < FRAMES * 8; at += 8) doubles[at]! += 1;
  return doubles[0]!;
}

export function atomicAdd(): number {
  let sum = 0;
  for (let at = 0; at < FRAMES * STEP; at += STEP) sum ^= Atomics.add(words, at, 1);
  return sum;
}
