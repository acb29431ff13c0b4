/**
 * The highest rate without loss (RFC 2544 section 26.1), by halving. Trials are much shorter than
 * the RFC's 60 seconds; the caller repeats the rate that was found for longer.
 */

/** Below this share of the highest rate the search gives up. */
const LEAST = 0.01;
/** How often the rate at which a search ended is tried again, and how far it then may go on. */
const SECOND_LOOKS_MAX = 3;
const FURTHER = 1.5;

/**
 * `highest`: a rate that is not expected to be reached, in frames per second. Ends when the rate is
 * known to `resolution`, a share of it. Returns the highest rate that `isLossless` said yes to; 0
 * when there was none down to a hundredth of `highest`.
 *
 * A machine that lost frames for a reason of its own turns the search away from the right rate once
 * and for all. So where it ends, the lowest rate that failed gets a second look.
 */
export async function findLosslessRate(
  highest: number,
  resolution: number,
  isLossless: (rate: number) => Promise<boolean>,
): Promise<number> {
  let [low, high] = [0, highest];
  for (let look = 0; look <= SECOND_LOOKS_MAX; look++) {
    while (high - low > resolution * high && high > LEAST * highest) {
      const rate = (low + high) / 2;
      if (await isLossless(rate)) {
        low = rate;
      } else {
        high = rate;
      }
    }
    if (high >= highest || !(await isLossless(high))) break;
    low = high;
    high = Math.min(highest, high * FURTHER);
  }
  return low;
}
