/**
 * Two worker threads insert and remove the same connections in one shared table: no entry is lost,
 * none is double, no lock stays taken.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { CONNECTIONS_MIN, ConnectionTable } from '#xvs/table/connection';
import { keyOf, RESULT_WORDS } from '../../support/connectionKeys';
import {
  crowdedBuffers,
  findByClient,
  findByReply,
  indexState,
  SEED,
} from '../../support/connections';
import type { ConnectionWorkerData } from '../../support/connectionWorker';

const WORKERS = 2;
const ROUNDS = 400_000;
const TIME_MS = 3000;

interface Run {
  readonly table: ConnectionTable;
  readonly held: Int32Array[];
  readonly results: number[][];
}

async function run(buckets: number, keys: number): Promise<Run> {
  const buffers = crowdedBuffers(CONNECTIONS_MIN, buckets);
  const results = new SharedArrayBuffer((8 + WORKERS * RESULT_WORDS) * 4);
  const held = Array.from({ length: WORKERS }, () => new SharedArrayBuffer(keys * 4));
  const ends = held.map((own, worker) => {
    const data: ConnectionWorkerData = {
      worker,
      buffers,
      keys,
      rounds: ROUNDS,
      timeMs: TIME_MS,
      results,
      workers: WORKERS,
      held: own,
    };
    const thread = new Worker(join(__dirname, '..', '..', 'support', 'connectionWorker.js'), {
      workerData: data,
    });
    return new Promise<void>((resolve, reject) => {
      thread.once('error', reject);
      thread.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`exit ${code}`))));
    });
  });
  await Promise.all(ends);
  const words = [...new Int32Array(results)];
  return {
    table: new ConnectionTable(buffers, SEED),
    held: held.map((own) => new Int32Array(own)),
    results: held.map((_own, worker) =>
      words.slice(8 + worker * RESULT_WORDS, 8 + (worker + 1) * RESULT_WORDS),
    ),
  };
}

function check({ table, held, results }: Run, keys: number): void {
  for (const [rounds, inserted, existed, , faults] of results) {
    assert.ok(rounds! > 10_000, `only ${rounds} rounds`);
    assert.ok(inserted! > 1000 && existed! > 100, `inserted ${inserted}, existed ${existed}`);
    assert.equal(faults, 0, 'an own connection was not found, or a lock not to be had');
  }
  let live = 0;
  const entries = new Set<number>();
  for (let number = 0; number < keys; number++) {
    const owners = held.filter((own) => own[number] !== 0);
    assert.ok(owners.length <= 1, `key ${number} is held twice`);
    const entry = owners[0]?.[number] ?? 0;
    assert.equal(findByClient(table, keyOf(number), 1000), entry, `key ${number}`);
    assert.equal(findByReply(table, keyOf(number), 1000), entry, `key ${number}, reply`);
    if (entry === 0) continue;
    assert.ok(!entries.has(entry), `entry ${entry} serves two keys`);
    entries.add(entry);
    live++;
  }
  assert.equal(indexState(table).slots, live * 2, 'nothing else stands in the index');
  for (const entry of entries) table.remove(entry, true);
  assert.deepEqual(indexState(table), { slots: 0, heads: 0 }, 'no lock, no overflow count is left');
}

test('two workers in a roomy index', async () => {
  check(await run(64, 64), 64);
});

test('two workers where most entries overflow into other buckets', async () => {
  // 56 connections at most of 60 that 8 buckets can hold.
  check(await run(8, 56), 56);
});
