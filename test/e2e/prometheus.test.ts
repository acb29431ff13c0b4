/**
 * A real Prometheus scrapes a director under traffic: what the rules and the dashboard of config/
 * ask for is there. test/unit/control/monitoring.test.ts looks at the files themselves.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { type Stand, startNat, VIP_URL } from '../support/director';
import { readDashboard, targetsOf } from '../support/monitoring';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts } from '../support/process';
import { Prometheus } from '../support/prometheus';

const WAIT_MS = 90_000;
const REQUESTS = 4;
const PAUSE_MS = 500;

/** As Grafana would, with everything chosen. */
function withoutVariables(expression: string): string {
  return expression
    .replaceAll('$__rate_interval', '30s')
    .replaceAll('$__interval', '30s')
    .replaceAll(/"\$(?:instance|service|server)"/g, '".*"');
}

describe('prometheus', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  let prometheus: Prometheus;

  before(async () => {
    stand = await startNat();
    prometheus = await Prometheus.start(stand.hosts.topology, stand.hosts.director);
  });
  after(() => stand?.close());

  test('scrapes the exporter, in OpenMetrics', async () => {
    interface Targets {
      readonly activeTargets: readonly { readonly health: string; readonly lastError: string }[];
    }
    let seen: Targets['activeTargets'] = [];
    await eventually(async () => {
      seen = (await prometheus.ask<Targets>('targets')).activeTargets;
      return seen[0]?.health === 'up';
    }, WAIT_MS);
    assert.deepEqual(
      seen.map(({ health, lastError }) => [health, lastError]),
      [['up', '']],
    );
    // Only OpenMetrics has units and the type info.
    type Metadata = Readonly<Record<string, readonly { readonly type: string; unit: string }[]>>;
    const metadata = await prometheus.ask<Metadata>('metadata');
    assert.equal(metadata['xvs_build']?.[0]?.type, 'info');
    assert.equal(metadata['xvs_worker_busy_seconds']?.[0]?.unit, 'seconds');
  });

  test("each panel's query returns data while traffic flows", async () => {
    let open = targetsOf(readDashboard());
    assert.ok(open.length > 40);
    const end = performance.now() + WAIT_MS;
    while (open.length > 0 && performance.now() < end) {
      await fetchTexts(stand.hosts.client, VIP_URL, REQUESTS);
      await sleep(PAUSE_MS);
      const answers = await Promise.all(
        open.map(({ target }) => prometheus.query(withoutVariables(target.expr))),
      );
      open = open.filter(
        (_, at) => !answers[at]!.some(({ value }) => Number.isFinite(Number(value[1]))),
      );
    }
    const silent = open.map(({ panel, target }) => `${panel.title}: ${target.expr}`);
    assert.deepEqual(silent, []);
    const [received] = await prometheus.query('instance:xvs_receive_packets:rate1m');
    assert.ok(Number(received?.value[1]) > 0);
  });

  test("the dashboard's variables offer the director, its services and servers", async () => {
    const expected: Readonly<Record<string, readonly string[]>> = {
      instance: ['127.0.0.1:9420'],
      service: [`${VIP}:7007`, `${VIP}:80`],
      server: ['10', '20'].flatMap((last) => [`192.168.0.${last}:7007`, `192.168.0.${last}:80`]),
    };
    for (const { name, definition } of readDashboard().templating.list) {
      const asked = /^label_values\((.*), (\w+)\)$/.exec(definition ?? '');
      if (asked === null) continue;
      const [, series, label] = asked;
      const match = ['match[]', withoutVariables(series!)] as const;
      const values = await prometheus.ask<readonly string[]>(`label/${label}/values`, [match]);
      assert.deepEqual(values, expected[name], name);
    }
  });

  test('every rule is evaluated, and an alert follows what happens', async () => {
    for (const last of ['10', '20']) {
      const words = ['-e', '-t', `${VIP}:80`, '-r', `192.168.0.${last}:80`, '-m', '-w', '0'];
      assert.equal((await stand.director.xvsadm(words)).status, 0);
    }
    const pending = 'ALERTS{alertname="XvsNoRealServer"}';
    await eventually(async () => (await prometheus.query(pending)).length > 0, WAIT_MS);
    const services = (await prometheus.query(pending)).map(({ metric }) => metric['service']);
    assert.deepEqual(services, [`${VIP}:80`]);
    interface Rules {
      readonly groups: readonly {
        readonly rules: readonly { readonly name: string; health: string; lastError?: string }[];
      }[];
    }
    const { groups } = await prometheus.ask<Rules>('rules');
    const rules = groups.flatMap((group) => group.rules);
    assert.ok(rules.length > 25);
    for (const { name, health, lastError } of rules) assert.equal(health, 'ok', name + lastError);
    assert.doesNotMatch(prometheus.log(), /level=error/);
  });
});
