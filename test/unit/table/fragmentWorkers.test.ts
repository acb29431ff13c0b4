/** Two worker threads write and read the same few buckets: nobody finds half of one record. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { FragmentTable } from '#xvs/table/fragment';
import type { FragmentWorkerData } from '../../support/fragmentWorker';

const WORKERS = 2;
const RESULT_WORDS = 4;
const ROUNDS = 400_000;
const TIME_MS = 3000;

function start(data: FragmentWorkerData): Promise<void> {
  const script = join(__dirname, '..', '..', 'support', 'fragmentWorker.js');
  const thread = new Worker(script, { workerData: data });
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))));
  });
}

async function run(keys: number): Promise<number[][]> {
  const table = FragmentTable.buffer();
  const results = new SharedArrayBuffer((8 + WORKERS * RESULT_WORDS) * 4);
  const common = { workers: WORKERS, table, seed: 77, keys, rounds: ROUNDS, timeMs: TIME_MS };
  const ends = Array.from({ length: WORKERS }, (_, worker) =>
    start({ ...common, worker, results }),
  );
  await Promise.all(ends);
  // No lock is left.
  for (let owner = 1; owner <= WORKERS; owner++) {
    assert.equal(new FragmentTable(table, 77).breakLocks(owner), 0);
  }
  const words = [...new Int32Array(results)];
  return Array.from({ length: WORKERS }, (_, worker) =>
    words.slice(8 + worker * RESULT_WORDS, 8 + (worker + 1) * RESULT_WORDS),
  );
}

test('one packet, written by both again and again', async () => {
  for (const [rounds, found, wrong, busy] of await run(1)) {
    assert.ok(rounds! > 10_000 && found! > 1000, `${rounds} rounds, ${found} found`);
    assert.deepEqual([wrong, busy], [0, 0]);
  }
});

test('more packets than the table holds, which displace each other', async () => {
  for (const [rounds, found, wrong, busy] of await run(60_000)) {
    assert.ok(rounds! > 10_000 && found! > 100, `${rounds} rounds, ${found} found`);
    assert.deepEqual([wrong, busy], [0, 0]);
  }
});
