/** Traffic counters of services and real servers, added up over the workers. */
import { TRAFFIC_STRIDE } from '../table/counter';

/** Of what has none, as most of what is added: shared, and never written. */
const NO_TRAFFIC = new Float64Array(TRAFFIC_STRIDE);

/** The counters at `at` of all workers: TRAFFIC_STRIDE doubles, not to be written. */
export function sumTraffic(counters: readonly Float64Array[], at: number): Float64Array {
  let total = NO_TRAFFIC;
  for (const one of counters) {
    for (let which = 0; which < TRAFFIC_STRIDE; which++) {
      const value = one[at + which]!;
      if (value === 0) continue;
      if (total === NO_TRAFFIC) total = new Float64Array(TRAFFIC_STRIDE);
      total[which]! += value;
    }
  }
  return total;
}
