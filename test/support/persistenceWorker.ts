/**
 * A worker thread for worker/persistenceWorkers.test.ts: makes connections of a few clients to a
 * persistent service, and ends those that are due, against its peers, on a clock that all of them
 * move on.
 */
import { workerData } from 'node:worker_threads';
import { MemoryPort } from '#xvs/port/memoryPort';
import { Umem } from '#xvs/port/umem';
import { attachTables, type DirectorMemory } from '#xvs/table/memory';
import { UDP_NORMAL } from '#xvs/table/state';
import { Birth } from '#xvs/worker/birth';
import { DUE_MAX, Expiry } from '#xvs/worker/expire';
import { PacketMaker } from './packetInHand';

export interface PersistenceWorkerData {
  readonly worker: number;
  readonly memory: DirectorMemory;
  readonly service: number;
  readonly clients: number;
  readonly connections: number;
  readonly timeMs: number;
  /** Words of `shared`: the tick, and per worker from 8 on: connections made, refused. */
  readonly shared: SharedArrayBuffer;
}

export const TICK = 0;
export const RESULTS = 8;
const UDP = 17;
const VIRTUAL = 0xc6336401 | 0;
const CLIENTS = 0x0a000000;
/** Connections after which a worker moves the clock on. */
const PACE = 40;

function run(data: PersistenceWorkerData): void {
  const tables = attachTables(data.memory, () => {});
  const maker = new PacketMaker(
    new MemoryPort('none', 0, new Umem(new SharedArrayBuffer(0), 0, 2048, 0)),
  );
  const birth = new Birth(tables, data.worker, maker.view);
  const expiry = new Expiry(tables, data.worker);
  const shared = new Int32Array(data.shared);
  const own = RESULTS + data.worker * 8;
  const end = Date.now() + data.timeMs;
  const seed = tables.settings.hashSeed;
  for (let i = 0; i < data.connections && Date.now() < end; i++) {
    const tick = Atomics.load(shared, TICK);
    const client = CLIENTS + (Math.imul(i, 7919) % data.clients);
    const ports = (((1024 + i + data.worker * 30_000) % 64_000) << 16) | 80;
    const packet = maker.make(seed, UDP, client, VIRTUAL, ports, tick);
    const entry = birth.connect(packet, data.service, UDP_NORMAL);
    shared[own + (entry === 0 ? 1 : 0)]! += 1;
    expiry.run(tick, DUE_MAX);
    if (i % PACE === 0) Atomics.add(shared, TICK, 1);
  }
}

if (workerData !== null) run(workerData as PersistenceWorkerData);
