/** Two worker threads that choose at the same time are as fair as one, to the last connection. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Director } from '#xvs/control/director';
import { attachTables, createMemory } from '#xvs/table/memory';
import type { BirthWorkerData } from '../../support/birthWorker';
import { serverKey } from '../../support/scheduling';
import { serverSettings, serviceKey, serviceSettings } from '../../support/simulation';

const WORKERS = 2;
const CONNECTIONS = 10_000;
const TIME_MS = 20_000;
const TICK = 5000;

/** Connections each server got, in the order of `weights`. */
async function run(scheduler: string, weights: readonly number[]): Promise<number[]> {
  const memory = createMemory({
    workers: WORKERS,
    connectionCapacity: CONNECTIONS * 2,
    hashSeed: 99,
  });
  const tables = attachTables(memory, () => {});
  for (const wheel of tables.wheels) wheel.start(TICK);
  const director = new Director(tables);
  const service = serviceKey();
  const settings = serviceSettings({ scheduler });
  director.execute({ command: 'add-service', service, settings });
  weights.forEach((weight, at) => {
    director.execute({
      command: 'add-server',
      service,
      server: serverKey(at + 1),
      settings: serverSettings({ weight }),
    });
  });
  const results = new SharedArrayBuffer((8 + WORKERS * 8) * 4);
  const ends = Array.from({ length: WORKERS }, (_, worker) => {
    const data: BirthWorkerData = {
      worker,
      workers: WORKERS,
      memory,
      service: director.find(service)!.slot,
      connections: CONNECTIONS / WORKERS,
      timeMs: TIME_MS,
      results,
    };
    const thread = new Worker(join(__dirname, '..', '..', 'support', 'birthWorker.js'), {
      workerData: data,
    });
    return new Promise<void>((resolve, reject) => {
      thread.once('error', reject);
      thread.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))));
    });
  });
  await Promise.all(ends);
  const words = new Int32Array(results);
  for (let worker = 0; worker < WORKERS; worker++) {
    const [made, , refused] = words.subarray(8 + worker * 8);
    assert.deepEqual([made, refused], [CONNECTIONS / WORKERS, 0], `worker ${worker}`);
  }
  const { servers } = director.find(service)!;
  return servers.map(({ slot }) => tables.realServers.active(slot)).reverse();
}

test('wrr: 10,000 connections over 5:3:2 are exactly 5000, 3000 and 2000', async () => {
  assert.deepEqual(await run('wrr', [5, 3, 2]), [5000, 3000, 2000]);
});

test('rr: equal shares', async () => {
  assert.deepEqual(await run('rr', [1, 2, 3, 4]), [2500, 2500, 2500, 2500]);
});

test('wlc: connections that last are spread by weight', async () => {
  assert.deepEqual(await run('wlc', [5, 3, 2]), [5000, 3000, 2000]);
});

test('lblc and lblcr: workers share what is remembered', async () => {
  // All go to one address: a server keeps it until it is busier than its weight.
  for (const scheduler of ['lblc', 'lblcr']) {
    const counts = await run(scheduler, [4000, 4000, 4000]);
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      CONNECTIONS,
      scheduler,
    );
    assert.deepEqual(
      counts.toSorted((a, b) => a - b),
      [1998, 4001, 4001],
      scheduler,
    );
  }
});
