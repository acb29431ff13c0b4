/**
 * Percentiles of the delays that the sink noted. Its buckets are numbered as in bench/wire/sink.h:
 * 64 to each power of two of nanoseconds, so that a percentile is at most 1.6 % too high.
 */
import type { Delays } from '../wire/stand';

const BITS = 6;
const PER_POWER = 1 << BITS;

/** The largest delay that falls into a bucket, in nanoseconds. */
export function bucketEnd(bucket: number): number {
  if (bucket < 2 * PER_POWER) return bucket;
  const width = 2 ** ((bucket >> BITS) - 1);
  return (PER_POWER + (bucket & (PER_POWER - 1)) + 1) * width - 1;
}

/** The delay, in nanoseconds, that this share of the frames (0.999) does not exceed. */
export function percentile({ count, max, buckets }: Delays, share: number): number {
  const wanted = Math.ceil(share * count);
  let seen = 0;
  for (const [bucket, frames] of buckets) {
    seen += frames;
    if (seen >= wanted) return Math.min(bucketEnd(bucket), max);
  }
  return max;
}
