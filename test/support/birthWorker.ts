/**
 * A worker thread for scheduler/workers.test.ts: makes its share of connections to one service on
 * shared tables, against its peers. Waits until all are ready.
 */
import { workerData } from 'node:worker_threads';
import { connectionHash } from '#xvs/table/connection';
import { DROP } from '#xvs/table/counter';
import { attachTables, type DirectorMemory } from '#xvs/table/memory';
import { ESTABLISHED } from '#xvs/table/state';
import { Birth } from '#xvs/worker/birth';

export interface BirthWorkerData {
  readonly worker: number;
  readonly workers: number;
  readonly memory: DirectorMemory;
  readonly service: number;
  readonly connections: number;
  readonly timeMs: number;
  /** Word 0: how many workers are ready; then per worker: made, lock was busy, refused. */
  readonly results: SharedArrayBuffer;
}

const TCP = 6;
const TICK = 5000;
const VIRTUAL = 0xc6336401 | 0;
const CLIENTS = 0x0a000000;

function run(data: BirthWorkerData): void {
  const tables = attachTables(data.memory, () => {});
  const birth = new Birth(tables, data.worker);
  const results = new Int32Array(data.results);
  const own = 8 + data.worker * 8;
  const end = Date.now() + data.timeMs;
  Atomics.add(results, 0, 1);
  while (Atomics.load(results, 0) < data.workers) if (Date.now() > end) return;
  const seed = tables.settings.hashSeed;
  for (let i = 0; i < data.connections; ) {
    const client = CLIENTS | (data.worker << 16) | i;
    const ports = (40000 << 16) | 80;
    const hash = connectionHash(seed, TCP, client, VIRTUAL, ports);
    const entry = birth.connect(data.service, TCP, client, VIRTUAL, ports, hash, ESTABLISHED, TICK);
    if (entry === 0 && birth.refusal === DROP.lock_busy) {
      // The other lost its CPU while it held the lock: as a client would, once more.
      results[own + 1]!++;
      if (Date.now() > end) return;
      continue;
    }
    results[own + (entry === 0 ? 2 : 0)]!++;
    i++;
  }
}

run(workerData as BirthWorkerData);
