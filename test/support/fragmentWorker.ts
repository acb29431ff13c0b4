/**
 * A worker thread for fragmentWorkers.test.ts: notes packets in a shared table and looks for those
 * of its peers. What is found must be whole: every value of a record follows from its key.
 */
import { workerData } from 'node:worker_threads';
import { ADDRESS_WORDS6, FATE_HOST, FATE_UNKNOWN, FragmentTable } from '#xvs/table/fragment';

export interface FragmentWorkerData {
  readonly worker: number;
  readonly workers: number;
  readonly table: SharedArrayBuffer;
  readonly seed: number;
  /** Different packets: more than the buckets that they fall into can hold. */
  readonly keys: number;
  readonly rounds: number;
  readonly timeMs: number;
  /** Word 0: how many are ready; then per worker: rounds, found, wrong, not noted. */
  readonly results: SharedArrayBuffer;
}
export const RESULT_WORDS = 4;

const TICK = 1000;
const IPV6 = 6 << 8;

function run(data: FragmentWorkerData): void {
  const table = new FragmentTable(data.table, data.seed);
  const results = new Int32Array(data.results);
  const own = 8 + data.worker * RESULT_WORDS;
  const view = new DataView(new ArrayBuffer(ADDRESS_WORDS6 * 4));
  const end = Date.now() + data.timeMs;
  Atomics.add(results, 0, 1);
  while (Atomics.load(results, 0) < data.workers) if (Date.now() > end) return;
  let random = data.worker * 7919 + 1;
  for (let round = 0; round < data.rounds; round++) {
    if ((round & 1023) === 0 && Date.now() > end) break;
    random = (Math.imul(random, 1103515245) + 12345) | 0;
    const key = (random >>> 8) % data.keys;
    for (let word = 0; word < ADDRESS_WORDS6; word++) view.setInt32(word * 4, key * 31 + word);
    table.select(IPV6, key, view, 0, ADDRESS_WORDS6);
    if ((random & 0x40000000) !== 0) {
      const version = random & 0xffff;
      const result = table.note(
        FATE_HOST,
        key * 65536 + version,
        ~version,
        8,
        TICK,
        data.worker + 1,
      );
      if (result === 2) results[own + 3]!++;
    } else {
      const fate = table.find(TICK);
      if (fate === FATE_UNKNOWN) continue;
      results[own + 1]!++;
      const version = table.entry & 0xffff;
      const isWhole =
        fate === FATE_HOST && table.entry >>> 16 === key && table.identity === ~version;
      if (!isWhole) results[own + 2]!++;
    }
    results[own]!++;
  }
}

run(workerData as FragmentWorkerData);
