/** Memory of the connection table: made by the main thread, handed to every worker. */
import { LINE_BYTES } from '../layout/record';
import { ENTRY_SHIFT } from './connectionEntry';
import { INDEX } from './connectionIndex';
import { ConnectionStock } from './connectionStock';

const SHIFT = ENTRY_SHIFT;
const BUCKET_SHIFT = INDEX.bucketShift;
export const CONNECTIONS_MIN = 1024;
export const CONNECTIONS_MAX = (1 << 24) - 1;

export interface ConnectionBuffers {
  readonly capacity: number;
  readonly buckets: number;
  readonly entries: SharedArrayBuffer;
  /** Where entry 0 begins in its buffer: at a cache line's start, as bucket 0 does. */
  readonly entriesOffset: number;
  readonly index: SharedArrayBuffer;
  readonly indexOffset: number;
  readonly extension: SharedArrayBuffer;
  readonly extensionOffset: number;
  readonly born: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
}

/** Bytes from a buffer's start to the first cache line that begins in it. */
export type LineOffset = (buffer: SharedArrayBuffer) => number;
/**
 * glibc's large allocations begin 16 bytes into a page; others anywhere in one, so whoever has the
 * addon asks that (port/addon.ts).
 */
const usualLineOffset: LineOffset = () => LINE_BYTES - 16;

/** Memory for `capacity` connections. What straddles cache lines costs twice the misses. */
export function connectionBuffers(
  capacity: number,
  lineOffset: LineOffset = usualLineOffset,
): ConnectionBuffers {
  if (capacity < CONNECTIONS_MIN || capacity > CONNECTIONS_MAX) {
    throw new RangeError(
      `connection capacity ${capacity}: ${CONNECTIONS_MIN} to ${CONNECTIONS_MAX} are allowed`,
    );
  }
  let buckets = 64;
  while (buckets * 9 < capacity * 2) buckets *= 2;
  const entries = new SharedArrayBuffer(((capacity + 1) << SHIFT) * 4 + LINE_BYTES);
  const extension = new SharedArrayBuffer(((capacity + 1) << SHIFT) * 4 + LINE_BYTES);
  const index = new SharedArrayBuffer((buckets << BUCKET_SHIFT) * 4 + LINE_BYTES);
  return {
    capacity,
    buckets,
    entries,
    entriesOffset: lineOffset(entries),
    index,
    indexOffset: lineOffset(index),
    extension,
    extensionOffset: lineOffset(extension),
    born: new SharedArrayBuffer((capacity + 1) * 4),
    control: ConnectionStock.buffer(),
  };
}
