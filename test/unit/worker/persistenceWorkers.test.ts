/**
 * Two worker threads on the templates of the same clients, while the control plane removes and
 * adds servers and the defense ends entries: when all is over nothing is left.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Defense } from '#xvs/control/defense';
import { Director } from '#xvs/control/director';
import { attachTables, createMemory } from '#xvs/table/memory';
import { DUE_MAX, Expiry } from '#xvs/worker/expire';
import { type PersistenceWorkerData, RESULTS, TICK } from '../../support/persistenceWorker';
import { serverKey } from '../../support/scheduling';
import { serverSettings, serviceKey, serviceSettings } from '../../support/simulation';

const WORKERS = 2;
const CAPACITY = 8192;
const SERVERS = 4;
const START = 5000;
const CONNECTIONS = 300_000;
const TIME_MS = 20_000;
const ROUNDS_MAX = 2000;
const ATTEMPTS_MAX = 20;

function prepare() {
  const memory = createMemory({ workers: WORKERS, connectionCapacity: CAPACITY, hashSeed: 5 });
  const tables = attachTables(memory, () => {});
  for (const wheel of tables.wheels) wheel.start(START);
  let nowMs = 0;
  const director = new Director(
    tables,
    () => {},
    () => nowMs,
  );
  const service = serviceKey({ protocol: 'udp' });
  const settings = serviceSettings({ persistentTimeout: 2 });
  director.execute({ command: 'add-service', service, settings });
  director.execute({ command: 'set-timeouts', timeouts: { tcp: 0, tcpFin: 0, udp: 3 } });
  director.sysctls.set({ expire_nodest_conn: 1, drop_entry: 3 });
  const server = (number: number, command: 'add-server' | 'delete-server'): void =>
    command === 'add-server'
      ? director.execute({
          command,
          service,
          server: serverKey(number),
          settings: serverSettings(),
        })
      : director.execute({ command, service, server: serverKey(number) });
  for (let number = 1; number <= SERVERS; number++) server(number, 'add-server');
  const forget = (): void => {
    nowMs += 200_000;
    director.emptyTrash();
  };
  return { memory, tables, director, service, server, forget };
}

/** On a busy machine a worker may lose its CPU while it holds the service's lock. */
async function insist(change: () => void): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      change();
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_BUSY' || attempt === ATTEMPTS_MAX) throw error;
      await sleep(10);
    }
  }
}

test('templates, connections and references all come to an end', async () => {
  const { memory, tables, director, service, server, forget } = prepare();
  const defense = new Defense(director);
  const buffer = new SharedArrayBuffer((RESULTS + WORKERS * 8) * 4);
  const shared = new Int32Array(buffer);
  shared[TICK] = START;
  let running = WORKERS;
  const ends = Array.from({ length: WORKERS }, (_, worker) => {
    const data: PersistenceWorkerData = {
      worker,
      memory,
      service: director.find(service)!.slot,
      clients: 50,
      connections: CONNECTIONS,
      timeMs: TIME_MS,
      shared: buffer,
    };
    const file = join(__dirname, '..', '..', 'support', 'persistenceWorker.js');
    const thread = new Worker(file, { workerData: data });
    return new Promise<void>((resolve, reject) => {
      thread.once('error', reject);
      thread.once('exit', (code) => {
        running--;
        if (code === 0) resolve();
        else reject(new Error(`exit ${code}`));
      });
    });
  });
  for (let round = 0; running > 0 && round < ROUNDS_MAX; round++) {
    const number = 1 + (Math.floor(round / 2) % SERVERS);
    await insist(() => server(number, round % 2 === 0 ? 'delete-server' : 'add-server'));
    const tick = Atomics.load(shared, TICK);
    defense.second();
    while (defense.walk(tick) && !defense.isStalled);
    forget();
    await sleep(10);
  }
  await Promise.all(ends);
  for (let worker = 0; worker < WORKERS; worker++) {
    const [made, refused] = shared.subarray(RESULTS + worker * 8);
    assert.equal(made! + refused!, CONNECTIONS);
    assert.ok(made! > CONNECTIONS / 3, `worker ${worker} made ${made}`);
  }
  director.execute({ command: 'flush' });
  const expiries = tables.wheels.map((_, worker) => new Expiry(tables, worker));
  for (let tick = shared[TICK]!, last = tick + 2000; tick < last; tick++) {
    for (const expiry of expiries) while (expiry.run(tick, DUE_MAX) > 0);
  }
  const { entries, usedEnd } = tables.connections;
  const left: number[] = [];
  for (let entry = 1; entry < usedEnd; entry++) {
    if (tables.connections.isInUse(entry)) left.push(entry);
  }
  const shown = left.slice(0, 2).map((entry) => [...entries.slice(entry << 4, (entry + 1) << 4)]);
  assert.deepEqual([left.length, shown], [0, []]);
  assert.equal(tables.connections.freeCount, CAPACITY);
  forget();
  assert.deepEqual(director.trash, []);
});
