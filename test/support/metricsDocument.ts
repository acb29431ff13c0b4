/**
 * docs/metrics.md, made from the exporter itself: `node dist/test/support/metricsDocument.js`
 * writes it, test/unit/control/metricsDocument.test.ts compares.
 */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Director } from '#xvs/control/director';
import { DROP_MEANINGS, PASS_MEANINGS } from '#xvs/control/reasons';
import { addon } from '#xvs/port/addon';
import { attachTables, createMemory } from '#xvs/table/memory';
import { exporterOf } from './exporter';

export const METRICS_FILE = join(resolve(__dirname, '..', '..', '..'), 'docs', 'metrics.md');

const HEAD = `# Metrics

Served at \`http://127.0.0.1:9420/metrics\` (config key \`metrics\`), beside \`/healthz\` and
\`/readyz\`; in OpenMetrics for who prefers it. [monitoring.md](monitoring.md) is about Prometheus,
alerts and the dashboard. This page is made from the exporter
(\`node dist/test/support/metricsDocument.js\`).

`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return `${line(head)}${line(head.map(() => '---'))}${rows.map(line).join('')}\n`;
}

export async function metricsDocument(): Promise<string> {
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const exporter = exporterOf(new Director(attachTables(memory, () => {})));
  const metrics = await exporter.describe();
  const meanings = (of: Readonly<Record<string, string>>): string[][] =>
    Object.entries(of).map(([reason, meaning]) => [`\`${reason}\``, meaning]);
  return [
    HEAD,
    table(
      ['metric', 'type', 'labels', 'what'],
      metrics.map(({ name, type, labels, help }) => [
        `\`${name}\``,
        type,
        labels.map((label) => `\`${label}\``).join(' '),
        help,
      ]),
    ),
    '## Reasons of `xvs_drops_total`\n\n',
    table(['reason', 'meaning'], meanings(DROP_MEANINGS)),
    '## Reasons of `xvs_host_passes_total`\n\n',
    table(['reason', 'meaning'], meanings(PASS_MEANINGS)),
    '## Verdicts of the XDP program (`xvs_xdp_verdicts_total`)\n\n',
    '`pass_*` went to the kernel, `redirect_*` to a worker: ',
    `${addon.XDP_VERDICTS.map((name) => `\`${name}\``).join(', ')}.\n`,
  ].join('');
}

if (require.main === module) {
  void metricsDocument().then((text) => writeFileSync(METRICS_FILE, text));
}
