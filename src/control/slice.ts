/**
 * Long answers of the main thread, made in slices of a few milliseconds with the event loop in
 * between, and no faster than the reader takes them.
 */
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';

const SLICE_MS = 4;
/** Rows between two looks at the clock. */
const ROWS = 64;
/** Characters that are handed on at once. */
const PIECE_LENGTH = 1 << 16;

/** Text in pieces of some length; ends a turn of the event loop when its slice of time is over. */
export async function* inSlices(rows: Iterable<string>): AsyncGenerator<string> {
  let piece = '';
  let count = 0;
  let began = performance.now();
  for (const row of rows) {
    piece += row;
    if (piece.length >= PIECE_LENGTH) {
      yield piece;
      piece = '';
    }
    if (++count % ROWS !== 0 || performance.now() - began < SLICE_MS) continue;
    await nextTurn();
    began = performance.now();
  }
  if (piece !== '') yield piece;
}

/** Writes the pieces to `out` and ends it; throws when its reader has gone before the end. */
export function send(out: Writable, pieces: AsyncIterable<string | Uint8Array>): Promise<void> {
  return pipeline(Readable.from(pieces), out);
}
