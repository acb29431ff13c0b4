/**
 * The two forms of a page of metrics: Prometheus' text format 0.0.4, and OpenMetrics 1.0.0. The
 * lines of samples are the same in both. Heads differ: OpenMetrics names a family without `_total`
 * and `_info`, tells its unit, knows the type info, and marks the page's end. The library can write
 * both, but changes its metrics' names when it writes the second; so both are written here.
 */
import type { Registry } from 'prom-client';

export type MetricsFormat = 'text' | 'openMetrics';

/** What stands in front of a metric's samples. */
export interface MetricHead {
  readonly name: string;
  readonly help: string;
  readonly type: string;
}

export interface MetricDescription extends MetricHead {
  /** Names of the labels. */
  readonly labels: readonly string[];
}

/** What the library says of a metric at a scrape. */
interface Metric extends MetricHead {
  readonly values: readonly {
    readonly value: number;
    readonly labels: Readonly<Record<string, string | number>>;
    /** Of a histogram: its name with _bucket, _sum or _count. */
    readonly metricName?: string;
  }[];
}

export const CONTENT_TYPES: Readonly<Record<MetricsFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openMetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** Base units; what is counted in pieces has none. */
const UNIT = /_(seconds|bytes|ratio)$/;

/** The last line of a page. */
export function pageEnd(format: MetricsFormat): string {
  return format === 'openMetrics' ? '# EOF\n' : '';
}

/** HELP and TYPE of a metric, and UNIT where there is one to tell. */
export function familyHead(metric: MetricHead, format: MetricsFormat): string {
  const { name, type } = metric;
  const help = metric.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  if (format === 'text') return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  const isInfo = type === 'gauge' && name.endsWith('_info');
  const family = type === 'counter' ? name.replace(/_total$/, '') : name.replace(/_info$/, '');
  const unit = UNIT.exec(family)?.[1];
  return (
    `# HELP ${family} ${help.replaceAll('"', '\\"')}\n` +
    `# TYPE ${family} ${isInfo ? 'info' : type}\n` +
    (unit === undefined ? '' : `# UNIT ${family} ${unit}\n`)
  );
}

function escapeLabel(value: string | number): string {
  return String(value).replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

/** Boundaries of histograms are floats in OpenMetrics: 1.0, and not 1. */
function boundary(value: string | number, format: MetricsFormat): string {
  const text = String(value);
  return format === 'openMetrics' && /^\d+$/.test(text) ? `${text}.0` : text;
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

function metricText(metric: Metric, format: MetricsFormat): string {
  let text = familyHead(metric, format);
  for (const { value, labels, metricName = metric.name } of metric.values) {
    const pairs = Object.entries(labels).map(([name, label]) =>
      name === 'le' ? `le="${boundary(label, format)}"` : `${name}="${escapeLabel(label)}"`,
    );
    const braces = pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
    text += `${metricName}${braces} ${numberText(value)}\n`;
  }
  return text;
}

async function metricsOf(registry: Registry): Promise<readonly Metric[]> {
  return (await registry.getMetricsAsJSON()) as unknown as readonly Metric[];
}

/** All metrics of the library's registry, as they are now. */
export async function registryText(registry: Registry, format: MetricsFormat): Promise<string> {
  return (await metricsOf(registry)).map((metric) => metricText(metric, format)).join('');
}

/** Of a metric that the library did not make: as its samples have them. */
function labelsOf(values: Metric['values']): readonly string[] {
  const names = new Set(values.flatMap((value) => Object.keys(value.labels)));
  names.delete('le');
  return [...names];
}

export async function describeRegistry(registry: Registry): Promise<MetricDescription[]> {
  const labels = new Map<string, readonly string[]>();
  for (const metric of registry.getMetricsAsArray()) {
    // The library keeps them, and does not declare that it does.
    const { name, labelNames } = metric as unknown as { name: string; labelNames?: string[] };
    if (labelNames !== undefined) labels.set(name, labelNames);
  }
  return (await metricsOf(registry)).map(({ name, help, type, values }) => ({
    ...{ name, help, type },
    labels: labels.get(name) ?? labelsOf(values),
  }));
}
