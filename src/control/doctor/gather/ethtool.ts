/** What ethtool(8) prints, read: rings, the RSS indirection table, offloads. Pure functions. */

/** `ethtool -g`; null when the driver does not say. */
export function parseRings(text: string): { rx: number; rxMax: number } | null {
  const [maximums = '', current = ''] = text.split('Current hardware settings:');
  const rx = (part: string) => Number(/^RX:\s+(\d+)$/m.exec(part)?.[1] ?? Number.NaN);
  const found = { rx: rx(current), rxMax: rx(maximums) };
  return Number.isNaN(found.rx) || Number.isNaN(found.rxMax) ? null : found;
}

/** `ethtool -x`: how many entries lead to each of `queues` queues; null without a table. */
export function parseRssShares(text: string, queues: number): number[] | null {
  const shares = new Array<number>(queues).fill(0);
  let entries = 0;
  for (const [, row] of text.matchAll(/^\s+\d+:((?:\s+\d+)+)$/gm)) {
    for (const queue of row!.trim().split(/\s+/).map(Number)) {
      entries++;
      if (queue < queues) shares[queue]!++;
    }
  }
  return entries === 0 ? null : shares;
}

/** `ethtool -k`: "large-receive-offload: off [fixed]". */
export function parseOffloads(text: string): ReadonlyMap<string, boolean> {
  return new Map(
    [...text.matchAll(/^\s*([\w-]+): (on|off)\b/gm)].map(([, name, value]) => [
      name!,
      value === 'on',
    ]),
  );
}
