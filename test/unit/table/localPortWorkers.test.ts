/**
 * Two worker threads take and give back local ports of the same keys: no port is given twice, none
 * is lost, maps that are emptied and renamed under way included.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { LOCAL_PORTS, LocalPortTable } from '#xvs/table/localPort';
import {
  chooseKey,
  type LocalPortWorkerData,
  RESULT_WORDS,
  SEED,
} from '../../support/localPortWorker';

const WORKERS = 2;
const FILE = join(__dirname, '..', '..', 'support', 'localPortWorker.js');

interface Run {
  readonly table: LocalPortTable;
  readonly results: readonly (readonly number[])[];
}

async function run(
  maps: number,
  keys: number,
  hold: number,
  prepare: (table: LocalPortTable) => void = () => {},
): Promise<Run> {
  const buffers = LocalPortTable.buffers(maps);
  const table = new LocalPortTable(buffers, SEED);
  prepare(table);
  const results = new SharedArrayBuffer((1 + WORKERS * RESULT_WORDS) * 4);
  const owners = new SharedArrayBuffer(keys * 65536 * 4);
  const ends = Array.from({ length: WORKERS }, (_, worker) => {
    const data: LocalPortWorkerData = {
      ...{ worker, buffers, keys, results, owners, hold },
      ...{ rounds: 300_000, timeMs: 3000, workers: WORKERS },
    };
    const thread = new Worker(FILE, { workerData: data });
    return new Promise<void>((resolve, reject) => {
      thread.once('error', reject);
      thread.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))));
    });
  });
  await Promise.all(ends);
  const words = [...new Int32Array(results)].slice(1);
  return {
    table,
    results: Array.from({ length: WORKERS }, (_, worker) =>
      words.slice(worker * RESULT_WORDS, (worker + 1) * RESULT_WORDS),
    ),
  };
}

test('two workers, roomy maps', async () => {
  const { table, results } = await run(8, 4, 500);
  for (const [rounds, taken, refused, faults] of results) {
    assert.ok(rounds! > 10_000 && taken! > 4000, `${rounds} rounds, ${taken} taken`);
    assert.deepEqual([refused, faults], [0, 0]);
  }
  for (let key = 0; key < 4; key++) {
    chooseKey(table, key);
    assert.equal(table.used, 0, `key ${key}`);
  }
});

test('two workers, 20 ports left', async () => {
  const left = 20;
  const { table, results } = await run(1, 1, 15, (ports) => {
    chooseKey(ports, 0);
    for (let taken = 0; taken < LOCAL_PORTS - left; taken++) assert.ok(ports.allocate(9) > 0);
  });
  for (const [rounds, taken, , faults] of results) {
    assert.ok(rounds! > 10_000 && taken! > 4000, `${rounds} rounds, ${taken} taken`);
    assert.equal(faults, 0);
  }
  assert.ok(
    results.some(([, , refused]) => refused! > 0),
    'they never ran out',
  );
  chooseKey(table, 0);
  assert.equal(table.used, LOCAL_PORTS - left);
  const rest = Array.from({ length: left }, () => table.allocate(9));
  assert.ok(
    rest.every((port) => port > 0),
    'every free port is found',
  );
  assert.equal(table.allocate(9), 0);
});

test('two workers, more keys than maps', async () => {
  const keys = 6;
  const { table, results } = await run(3, keys, 2);
  for (const [rounds, taken, , faults] of results) {
    assert.ok(rounds! > 10_000 && taken! > 2000, `${rounds} rounds, ${taken} taken`);
    assert.equal(faults, 0);
  }
  assert.equal(table.mapsMade, 3);
  for (let key = 0; key < keys; key++) {
    chooseKey(table, key);
    assert.equal(table.used, 0, `key ${key}`);
  }
  for (let key = 0; key < 3; key++) {
    chooseKey(table, 100 + key);
    assert.ok(table.allocate(9) > 0, `map ${key}: one is lost`);
  }
});
