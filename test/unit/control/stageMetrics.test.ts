/** The exporter's histograms of stages, bursts and rings: what workers counted, for Prometheus. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { Director } from '#xvs/control/director';
import { registerStages } from '#xvs/control/stageMetrics';
import { attachTables, createMemory } from '#xvs/table/memory';
import { BURST_FRAMES, RING_LEVELS, STAGE } from '#xvs/table/stage';

function makeStand() {
  const memory = createMemory({ workers: 2, connectionCapacity: 1024, hashSeed: 1 });
  const tables = attachTables(memory, () => {});
  const registry = new Registry();
  registerStages(registry, { director: new Director(tables) });
  return { stages: tables.stages, registry };
}

/** Value of a line of the page, by what stands before it. */
async function lineOf(registry: Registry, name: string): Promise<number> {
  const line = (await registry.metrics()).split('\n').find((text) => text.startsWith(`${name} `));
  assert.ok(line, `no line ${name}`);
  return Number(line.slice(name.length));
}

test('times are in seconds, cumulated, each in the bucket that its length says', async () => {
  const { stages, registry } = makeStand();
  for (const nanoseconds of [0, 100, 128, 129, 5000, 2 ** 27, 2 ** 27 + 1]) {
    stages[1]!.add(STAGE.pipeline, nanoseconds);
  }
  const bucket = (le: string) =>
    lineOf(registry, `xvs_worker_stage_seconds_bucket{worker="1",stage="pipeline",le="${le}"}`);
  assert.equal(await bucket('1.28e-7'), 3);
  assert.equal(await bucket('2.56e-7'), 4);
  assert.equal(await bucket('0.000004096'), 4);
  assert.equal(await bucket('0.000008192'), 5);
  assert.equal(await bucket('0.134217728'), 6);
  assert.equal(await bucket('+Inf'), 7);
  const labels = '{worker="1",stage="pipeline"}';
  assert.equal(await lineOf(registry, `xvs_worker_stage_seconds_count${labels}`), 7);
  const sum = await lineOf(registry, `xvs_worker_stage_seconds_sum${labels}`);
  assert.ok(Math.abs(sum - (5357 + 2 ** 28 + 1) * 1e-9) < 1e-12, `${sum} s`);
  const other = '{worker="0",stage="pipeline"}';
  assert.equal(await lineOf(registry, `xvs_worker_stage_seconds_count${other}`), 0);
});

test('bursts and rings are in frames and entries', async () => {
  const { stages, registry } = makeStand();
  for (const frames of [1, 2, 3, 128]) stages[0]!.add(BURST_FRAMES, frames);
  for (const entries of [0, 0, 1, 2048]) stages[0]!.add(RING_LEVELS + 2, entries);
  const burst = (le: string) =>
    lineOf(registry, `xvs_worker_burst_frames_bucket{worker="0",le="${le}"}`);
  assert.deepEqual([await burst('1'), await burst('64'), await burst('128')], [1, 3, 4]);
  assert.equal(await lineOf(registry, 'xvs_worker_burst_frames_sum{worker="0"}'), 134);
  const fill = (le: string) =>
    lineOf(registry, `xvs_worker_ring_entries_bucket{worker="0",ring="fill",le="${le}"}`);
  assert.deepEqual([await fill('0'), await fill('1'), await fill('2048')], [2, 3, 4]);
});

test('idle is what was slept and what was asked for in vain', async () => {
  const { stages, registry } = makeStand();
  for (const stage of ['receive', 'pipeline', 'transmit', 'timers'] as const) {
    stages[0]!.add(STAGE[stage], 1_000_000);
  }
  stages[0]!.add(STAGE.poll, 250_000_000);
  stages[0]!.add(STAGE.sleep, 500_000_000);
  assert.equal(await lineOf(registry, 'xvs_worker_idle_seconds_total{worker="0"}'), 0.75);
});
