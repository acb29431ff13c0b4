/** Numbers as `xvs top` and the web page write them. NaN: not known yet. */

const UNKNOWN = '-';
const UNITS = ['', 'k', 'M', 'G', 'T', 'P'] as const;

/** Three digits and a decimal unit: "0", "0.4", "12.3", "999", "1.23k", "45.6G". */
export function scaled(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (Number.isInteger(value) && Math.abs(value) < 1000) return String(value);
  let rest = Math.abs(value);
  let unit = 0;
  // 999.5 and more would be written with four digits.
  while (rest >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit++;
  }
  const fine = unit > 0 && rest < 9.995 ? 2 : 1;
  const text = rest >= 99.95 ? rest.toFixed(0) : rest.toFixed(fine);
  return `${value < 0 ? '-' : ''}${text}${UNITS[unit]}`;
}

/** "1,234,567" up to nine digits, then as `scaled`. */
export function whole(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (Math.abs(value) >= 1e9) return scaled(value);
  return String(Math.round(value)).replace(/\B(?=([0-9]{3})+$)/g, ',');
}

/** A share of 1: "0 %", "0.4 %", "12 %". */
export function share(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  const percent = value * 100;
  return `${percent > 0 && percent < 9.95 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}
