/**
 * One of two workers: a pinned thread with ports, chunks and flows of its own, on tables that the
 * other one uses at the same time, or on tables of its own.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';
import { tuneEngine } from '#xvs/worker/engine';
import { warmUp } from '#xvs/worker/warmUp';
import { Churn } from '../connections/churn';
import { BATCH_FRAMES } from './settings';
import type { WorkerAnswer, WorkerCommand, WorkerThreadData } from './workerContract';
import { Workload } from './workload';
import { World } from './world';

const SERVERS = 8;

/** Does so much; nanoseconds of one. */
type Run = (count: number) => number;

function prepare({ worker, memory, row, work }: WorkerThreadData): Run {
  if (work === 'hits') {
    const workload = new Workload(new World(row, addon.createPrefetcher, { memory, worker }));
    return (count) => workload.run(count);
  }
  const options = { row, scheduler: 'rr', servers: SERVERS, live: row.flows };
  const churn = new Churn(memory, worker, options, addon.createPrefetcher);
  churn.fill();
  return (count) => {
    const { birth, end } = churn.run(Math.ceil(count / BATCH_FRAMES));
    return birth + end;
  };
}

function main(data: WorkerThreadData): void {
  addon.pinThread(data.cpu);
  tuneEngine();
  warmUp(addon.createPrefetcher);
  const run = prepare(data);
  const answer = (nanoseconds: number) =>
    parentPort!.postMessage({ nanoseconds } satisfies WorkerAnswer);
  answer(0);
  parentPort!.on('message', ({ count }: WorkerCommand) => answer(run(count)));
}

main(workerData as WorkerThreadData);
