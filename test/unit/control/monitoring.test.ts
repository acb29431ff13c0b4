/**
 * What config/prometheus and config/grafana hold: taken by Prometheus' own tool, and about metrics
 * that the exporter has. test/e2e/prometheus.test.ts asks a real Prometheus the same queries.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Director } from '#xvs/control/director';
import { DROP_REASONS } from '#xvs/table/counter';
import { attachTables, createMemory } from '#xvs/table/memory';
import { ROOT } from '../../support/document';
import { exporterOf, textOf, workerState } from '../../support/exporter';
import {
  type Panel,
  PROMETHEUS_FOLDER,
  readDashboard,
  rulesOf,
  targetsOf,
} from '../../support/monitoring';
import { metricsOf } from '../../support/promql';

/** Prometheus makes these itself. */
const OF_PROMETHEUS = ['up'];
const ALERTS = rulesOf('alerts.yml');
const RECORDINGS = rulesOf('recording.yml');
const DASHBOARD = readDashboard();

function makeExporter() {
  const memory = createMemory({ workers: 1, connectionCapacity: 1024, hashSeed: 1 });
  const director = new Director(attachTables(memory, () => {}));
  return exporterOf(director, [workerState(['eth0', 'eth1'])]);
}

/** Runs promtool in the rules' folder; fails the test, with what it said, unless it is content. */
function promtool(words: readonly string[], input = ''): string {
  const options = { cwd: PROMETHEUS_FOLDER, input, encoding: 'utf8' } as const;
  const done = spawnSync('promtool', words, options);
  assert.equal(done.error, undefined, 'promtool comes with the Debian package prometheus');
  assert.equal(done.status, 0, done.stdout + done.stderr);
  return done.stdout + done.stderr;
}

describe('promtool', () => {
  test('finds nothing wrong with the names and the text of metrics', async () => {
    assert.equal(promtool(['check', 'metrics'], await textOf(makeExporter().page())), '');
  });

  test('takes the configuration and the rules', () => {
    promtool(['check', 'config', 'prometheus.yml']);
    promtool(['check', 'rules', 'recording.yml', 'alerts.yml']);
  });

  test('finds that rules record and alert as test.yml says', () => {
    promtool(['test', 'rules', 'test.yml']);
  });

  test('does so for each rule', () => {
    const text = readFileSync(join(PROMETHEUS_FOLDER, 'test.yml'), 'utf8');
    for (const { alert, record } of [...ALERTS, ...RECORDINGS]) {
      assert.ok(text.includes((alert ?? record)!), `test.yml does not ask for ${alert ?? record}`);
    }
  });
});

describe('metrics that are named', () => {
  const known = new Set<string>(OF_PROMETHEUS);

  before(async () => {
    for (const { name, type } of await makeExporter().describe()) {
      const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      for (const suffix of suffixes) known.add(name + suffix);
    }
    for (const { record } of RECORDINGS) known.add(record!);
  });

  function check(where: string, expression: string): void {
    const names = metricsOf(expression);
    assert.ok(names.length > 0, `${where} asks for nothing: ${expression}`);
    for (const name of names) assert.ok(known.has(name), `${where}: there is no metric ${name}`);
  }

  test('by rules are there', () => {
    for (const { alert, record, expr } of [...ALERTS, ...RECORDINGS]) {
      check(alert ?? record!, expr);
    }
  });

  test('by the dashboard are there', () => {
    for (const { panel, target } of targetsOf(DASHBOARD)) check(panel.title, target.expr);
    for (const { name, definition } of DASHBOARD.templating.list) {
      const asked = /^label_values\((.*), \w+\)$/.exec(definition ?? '')?.[1];
      if (definition !== undefined) check(`variable ${name}`, asked ?? definition);
    }
    for (const { expr } of DASHBOARD.annotations.list) check('annotation', expr);
  });

  test('by docs/monitoring.md are there', () => {
    const text = readFileSync(join(ROOT, 'docs', 'monitoring.md'), 'utf8');
    const named = text.matchAll(/`((?:xvs|nodejs|process)_\w+)`/g);
    const names = [...named].map(([, name]) => name!);
    assert.ok(names.length > 3);
    for (const name of names) assert.ok(known.has(name), name);
  });

  test('are found in expressions of every shape', () => {
    assert.deepEqual(
      metricsOf(
        'sum by (job, a_b) (rate(m_one_total{a=~"b|c{d}",e!=\'f\'}[1m:5s])) ' +
          '/ on (x) group_left () (level:m_two:rate1m > bool 0.5e3) or vector(0) ' +
          'unless m_three offset 5m # of m_four',
      ),
      ['m_one_total', 'level:m_two:rate1m', 'm_three'],
    );
  });
});

describe('alerts', () => {
  test('are about each drop reason once', () => {
    const seen = ALERTS.flatMap(({ expr }) =>
      expr.includes('xvs_drops')
        ? [...expr.matchAll(/reason=~?"([^"]*)"/g)].flatMap(([, reasons]) => reasons!.split('|'))
        : [],
    );
    assert.deepEqual(seen.sort(), [...DROP_REASONS].sort());
  });

  test('say how bad it is, what it is, and what to do; docs/monitoring.md lists them', () => {
    const text = readFileSync(join(ROOT, 'docs', 'monitoring.md'), 'utf8');
    for (const { alert, labels, annotations } of ALERTS) {
      assert.match(labels?.['severity'] ?? '', /^(warning|critical)$/, alert);
      assert.ok(annotations?.['summary']?.includes('{{ $labels.instance }}'), alert);
      assert.ok((annotations?.['description'] ?? '').length > 20, alert);
      assert.ok(text.includes(`| \`${alert}\` | ${labels?.['severity']} |`), alert);
    }
  });
});

describe('the dashboard', () => {
  const { panels } = DASHBOARD;
  const drawn = panels.filter(({ type }) => type !== 'row');

  test('is one that Grafana takes: ids, places, sources', () => {
    assert.equal(DASHBOARD.uid, 'xvs');
    assert.ok(DASHBOARD.schemaVersion >= 36);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    assert.ok(drawn.length >= 30);
    for (const { title, gridPos, datasource } of drawn) {
      assert.ok(gridPos.x >= 0 && gridPos.w > 0 && gridPos.x + gridPos.w <= 24, title);
      assert.equal(datasource?.type, 'prometheus', title);
      assert.match(datasource.uid, /^\$\{datasource\}$/, title);
    }
    const overlap = ({ gridPos: a }: Panel, { gridPos: b }: Panel): boolean =>
      a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
    panels.forEach((panel, at) => {
      for (const other of panels.slice(at + 1)) {
        assert.ok(!overlap(panel, other), `${panel.title} lies over ${other.title}`);
      }
    });
  });

  test('says of each panel what it shows, in which unit, and whose line is whose', () => {
    for (const { title, description, fieldConfig, targets = [] } of drawn) {
      assert.ok((description ?? '').length > 10, title);
      assert.ok((fieldConfig?.defaults.unit ?? '') !== '', title);
      assert.ok(targets.length > 0, title);
      assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
      for (const { expr, legendFormat } of targets) {
        assert.ok(expr !== '' && legendFormat !== '', title);
        // A legend names only labels that the expression keeps.
        const kept = /^(?:8 \* )?(?:sum|max) by \(([^)]*)\)/.exec(expr)?.[1]?.split(', ');
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
          assert.ok(kept === undefined || kept.includes(label!), `${title}: ${label}`);
        }
      }
    }
  });

  test('has variables for the source, the director, the service and the server', () => {
    const names = DASHBOARD.templating.list.map(({ name }) => name);
    assert.deepEqual(names, ['datasource', 'instance', 'service', 'server']);
    const text = JSON.stringify(panels);
    for (const name of names) assert.ok(text.includes(`$${name}`) || text.includes(`\${${name}}`));
  });
});
