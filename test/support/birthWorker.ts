/**
 * A worker thread for scheduler/workers.test.ts: makes its share of connections to one service on
 * shared tables, against its peers. Waits until all are ready.
 */
import { workerData } from 'node:worker_threads';
import { MemoryPort } from '#xvs/port/memoryPort';
import { Umem } from '#xvs/port/umem';
import { DROP } from '#xvs/table/counter';
import { attachTables, type DirectorMemory } from '#xvs/table/memory';
import { ESTABLISHED } from '#xvs/table/state';
import { Birth } from '#xvs/worker/birth';
import { PacketMaker } from './packetInHand';

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
  const maker = new PacketMaker(
    new MemoryPort('none', 0, new Umem(new SharedArrayBuffer(0), 0, 2048, 0)),
  );
  const birth = new Birth(tables, data.worker, maker.view);
  const results = new Int32Array(data.results);
  const own = 8 + data.worker * 8;
  const end = Date.now() + data.timeMs;
  Atomics.add(results, 0, 1);
  while (Atomics.load(results, 0) < data.workers) if (Date.now() > end) return;
  const seed = tables.settings.hashSeed;
  for (let i = 0; i < data.connections; ) {
    const client = CLIENTS | (data.worker << 16) | i;
    const ports = (40000 << 16) | 80;
    const packet = maker.make(seed, TCP, client, VIRTUAL, ports, TICK);
    const entry = birth.connect(packet, data.service, ESTABLISHED);
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
