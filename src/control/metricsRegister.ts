/** How a metric whose samples are made at each scrape is put into the library's registry. */
import { Counter, Gauge, type Registry } from 'prom-client';

export type Labels = Record<string, string>;
export type Sample = readonly [Labels, number];

/** `samples`: of counters the totals, of gauges the levels, as they are when it is called. */
export function register(
  registry: Registry,
  kind: 'counter' | 'gauge',
  name: string,
  help: string,
  labelNames: readonly string[],
  samples: () => Iterable<Sample>,
): void {
  const options = { name, help, labelNames: [...labelNames], registers: [registry] };
  if (kind === 'counter') {
    new Counter({
      ...options,
      collect() {
        this.reset();
        for (const [labels, value] of samples()) this.inc(labels, value);
      },
    });
    return;
  }
  new Gauge({
    ...options,
    collect() {
      this.reset();
      for (const [labels, value] of samples()) this.set(labels, value);
    },
  });
}
