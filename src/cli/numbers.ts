/** Counters as listings print them: nine columns, large ones cut to a unit, or in full. */

const UNITS: readonly (readonly [limit: number, divisor: number, unit: string])[] = [
  [1e9, 1e3, 'K'],
  [1e11, 1e6, 'M'],
  [1e14, 1e9, 'G'],
];

/** At least nine columns, of which the first is a space in the exact form. */
export function largeNumber(value: number, exact: boolean): string {
  if (exact) {
    const digits = String(value);
    return digits.padStart(Math.max(9, digits.length + 1));
  }
  if (value < 1e8) return String(value).padStart(9);
  const [, divisor, unit] = UNITS.find(([limit]) => value < limit) ?? [0, 1e12, 'T'];
  return `${String(Math.floor(value / divisor)).padStart(8)}${unit}`;
}
