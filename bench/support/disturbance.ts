/** Measurements on a machine that has other work: which ones that disturbed, and what then. */

/** Share of a CPU that others may use before a measurement counts as disturbed. */
export const OTHERS_MAX = 0.05;

/** Repeats a disturbed measurement up to `retries` times; the least disturbed one counts. */
export async function leastDisturbed<T>(
  retries: number,
  disturbanceOf: (measured: T) => number,
  measure: () => Promise<T>,
): Promise<T> {
  let best = await measure();
  for (let retry = 0; retry < retries && disturbanceOf(best) > OTHERS_MAX; retry++) {
    const next = await measure();
    if (disturbanceOf(next) < disturbanceOf(best)) best = next;
  }
  return best;
}

/** A line for the reader, or none. */
export function describeDisturbed(disturbed: number, measured: number): string[] {
  if (disturbed === 0) return [];
  return [
    `${disturbed} of ${measured} measurements were disturbed: others used more than ` +
      `${OTHERS_MAX * 100} % of a CPU; repeat this on a machine that does nothing else`,
  ];
}
