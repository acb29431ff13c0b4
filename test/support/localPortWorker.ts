/**
 * A worker thread for localPortWorkers.test.ts: takes and gives back local ports of a few keys
 * against its peers. A byte of `owners` for each key and port says who holds it: a port that is
 * held already is a fault.
 */
import { workerData } from 'node:worker_threads';
import { type LocalPortBuffers, LocalPortTable } from '#xvs/table/localPort';

export interface LocalPortWorkerData {
  readonly worker: number;
  readonly buffers: LocalPortBuffers;
  readonly keys: number;
  readonly rounds: number;
  readonly timeMs: number;
  /** Word 0: how many are ready; then per worker RESULT_WORDS: rounds, taken, refused, faults. */
  readonly results: SharedArrayBuffer;
  readonly owners: SharedArrayBuffer;
  readonly workers: number;
  /** Most ports a worker holds at a time. */
  readonly hold: number;
}
export const RESULT_WORDS = 4;
export const SEED = 42;

export function chooseKey(ports: LocalPortTable, number: number): void {
  const words = Int32Array.from([0x0a000001 + number, 0, 0, 0, 0x0a000100, 0, 0, 0]);
  ports.setKey(words, 0, words, 4, 80, 6);
}

function run(data: LocalPortWorkerData): void {
  const ports = new LocalPortTable(data.buffers, SEED);
  const owners = new Int32Array(data.owners);
  const results = new Int32Array(data.results);
  const own = 1 + data.worker * RESULT_WORDS;
  const held: { key: number; port: number }[] = [];
  const end = Date.now() + data.timeMs;
  Atomics.add(results, 0, 1);
  while (Atomics.load(results, 0) < data.workers) if (Date.now() > end) return;
  let random = data.worker * 7919 + 1;
  const next = (): number => {
    random = (Math.imul(random, 1103515245) + 12345) | 0;
    return random >>> 8;
  };
  const give = (): void => {
    const [{ key, port }] = held.splice(next() % held.length, 1) as [(typeof held)[number]];
    chooseKey(ports, key);
    const place = key * 65536 + port;
    if (Atomics.exchange(owners, place, 0) !== data.worker + 1) results[own + 3]!++;
    if (!ports.release(port)) results[own + 3]!++;
  };
  for (let round = 0; round < data.rounds; round++) {
    if ((round & 1023) === 0 && Date.now() > end) break;
    results[own]!++;
    if (held.length >= data.hold || (held.length > 0 && (next() & 1) === 0)) {
      give();
      continue;
    }
    const key = next() % data.keys;
    chooseKey(ports, key);
    const port = ports.allocate(data.worker + 1);
    if (port === 0) {
      results[own + 2]!++;
      continue;
    }
    results[own + 1]!++;
    const place = key * 65536 + port;
    if (Atomics.exchange(owners, place, data.worker + 1) !== 0) results[own + 3]!++;
    held.push({ key, port });
  }
  while (held.length > 0) give();
}

if (workerData !== null) run(workerData as LocalPortWorkerData);
