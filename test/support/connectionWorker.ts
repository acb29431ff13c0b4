/**
 * A worker thread for connectionWorkers.test.ts: inserts and removes the connections of a shared
 * list of keys against its peers, and writes into `owners` which one of them it holds at the end.
 */
import { workerData } from 'node:worker_threads';
import {
  type ConnectionBuffers,
  ConnectionTable,
  INSERT_EXISTS,
  INSERT_FULL,
} from '#xvs/table/connection';
import { keyOf, RESULT_WORDS } from './connectionKeys';
import { findByClient, findByReply, SEED, vacancyOf, writeEntry } from './connections';

export interface ConnectionWorkerData {
  readonly worker: number;
  readonly buffers: ConnectionBuffers;
  readonly keys: number;
  readonly rounds: number;
  readonly timeMs: number;
  /** Word 0: how many are ready; then per worker: rounds, inserted, existed, full, faults, busy. */
  readonly results: SharedArrayBuffer;
  readonly workers: number;
  /** Per key: the entry this worker holds. */
  readonly held: SharedArrayBuffer;
}

const TICK = 1000;
const EXPIRES = 100_000;

function run(data: ConnectionWorkerData): void {
  const table = new ConnectionTable(data.buffers, SEED);
  const results = new Int32Array(data.results);
  const held = new Int32Array(data.held);
  const own = 8 + data.worker * RESULT_WORDS;
  const end = Date.now() + data.timeMs;
  Atomics.add(results, 0, 1);
  while (Atomics.load(results, 0) < data.workers) if (Date.now() > end) return;
  let random = data.worker * 7919 + 1;
  for (let round = 0; round < data.rounds; round++) {
    if ((round & 1023) === 0 && Date.now() > end) break;
    random = (Math.imul(random, 1103515245) + 12345) | 0;
    const number = (random >>> 8) % data.keys;
    if (held[number] === 0) insert(table, data.worker, number, held, results, own);
    else remove(table, data.worker, number, held, results, own);
    results[own]!++;
  }
}

function insert(
  table: ConnectionTable,
  worker: number,
  number: number,
  held: Int32Array,
  results: Int32Array,
  own: number,
): void {
  const key = keyOf(number);
  const vacancy = vacancyOf(table, key);
  const entry = table.allocate(worker);
  if (entry === 0) {
    results[own + 3]!++;
    return;
  }
  writeEntry(table, entry, key, worker + 1, EXPIRES);
  const result = table.insert(entry, worker + 1, true, TICK, vacancy);
  if (result === 0) {
    held[number] = entry;
    results[own + 1]!++;
    return;
  }
  table.entries[(entry << 4) + 6] = table.entries[(entry << 4) + 6]! & ~0xffff;
  table.free(entry, worker);
  if (result === INSERT_EXISTS) results[own + 2]!++;
  else if (result === INSERT_FULL) results[own + 3]!++;
  else results[own + 5]!++;
}

function remove(
  table: ConnectionTable,
  worker: number,
  number: number,
  held: Int32Array,
  results: Int32Array,
  own: number,
): void {
  const key = keyOf(number);
  const entry = held[number]!;
  // Only its owner ends a connection: until then both directions lead to this entry.
  if (findByClient(table, key, TICK) !== entry) results[own + 4]!++;
  if (findByReply(table, key, TICK) !== entry) results[own + 4]!++;
  table.remove(entry, true);
  table.free(entry, worker);
  held[number] = 0;
}

run(workerData as ConnectionWorkerData);
