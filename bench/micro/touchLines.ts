/**
 * 64 cache lines of a 64 MB table, in random order, read before they are needed: one read in a
 * loop's step, and eight.
 */
import { FRAMES } from './frames';

const LINE_WORDS = 16;
const LINES = 1 << 20;
/** Of the next places; long enough that none is still in a cache when it comes again. */
const ORDER = 1 << 18;

/** Made when it is first asked for. */
let table: Int32Array | null = null;
const order = new Int32Array(ORDER);
let position = 0;

function lines(): Int32Array {
  if (table === null) {
    table = new Int32Array(new SharedArrayBuffer(LINES * LINE_WORDS * 4 + 64), 48);
    for (let line = 0; line < LINES; line++) table[line * LINE_WORDS] = line;
    let state = 0x2545f491;
    for (let at = 0; at < ORDER; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      order[at] = state & (LINES - 1);
    }
  }
  position = (position + FRAMES) & (ORDER - 1);
  return table;
}

export function oneInAStep(): number {
  const words = lines();
  let seen = 0;
  for (let at = position; at < position + FRAMES; at++) seen ^= words[order[at]! << 4]!;
  return seen;
}

export function eightInAStep(): number {
  const words = lines();
  let seen = 0;
  for (let at = position; at < position + FRAMES; at += 8) {
    seen ^=
      words[order[at]! << 4]! ^
      words[order[at + 1]! << 4]! ^
      words[order[at + 2]! << 4]! ^
      words[order[at + 3]! << 4]! ^
      words[order[at + 4]! << 4]! ^
      words[order[at + 5]! << 4]! ^
      words[order[at + 6]! << 4]! ^
      words[order[at + 7]! << 4]!;
  }
  return seen;
}
