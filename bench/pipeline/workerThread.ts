/**
 * One of two workers: a pinned thread that warms up once, then takes several works in turns, each
 * with ports, chunks and flows of its own, on tables that the other one uses at the same time, or
 * on tables of its own.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';
import { tuneEngine } from '#xvs/worker/engine';
import { warmUp } from '#xvs/worker/warmUp';
import { Churn } from '../connections/churn';
import { timeArithmetic } from './arithmetic';
import { BATCH_FRAMES } from './settings';
import type { Preparation, WorkerAnswer, WorkerCommand, WorkerThreadData } from './workerContract';
import { Workload } from './workload';
import { World } from './world';

const SERVERS = 8;

/** Does so much. */
type Run = (count: number) => WorkerAnswer;

const NOTHING_TIMED: WorkerAnswer = { nanoseconds: 0, busy: 0 };

const prepared: Run[] = [];

function prepare({ worker, memory, row, work }: Preparation): Run {
  if (work === 'hits') {
    const workload = new Workload(new World(row, addon.createPrefetcher, { memory, worker }));
    return (count) => ({ nanoseconds: workload.run(count), busy: 0 });
  }
  const options = { row, scheduler: 'rr', servers: SERVERS, live: row.flows };
  const churn = new Churn(memory, worker, options, addon.createPrefetcher);
  churn.fill();
  return (count) => {
    const before = churn.busy;
    const { birth, end } = churn.run(Math.ceil(count / BATCH_FRAMES));
    return { nanoseconds: birth + end, busy: churn.busy - before };
  };
}

function execute(command: WorkerCommand): WorkerAnswer {
  if ('run' in command) {
    const { at, count } = command.run;
    return at < 0 ? { nanoseconds: timeArithmetic(count), busy: 0 } : prepared[at]!(count);
  }
  prepared.push(prepare(command.prepare));
  return NOTHING_TIMED;
}

function main({ cpu }: WorkerThreadData): void {
  addon.pinThread(cpu);
  tuneEngine();
  warmUp(addon.createPrefetcher);
  const answer = (said: WorkerAnswer) => parentPort!.postMessage(said);
  parentPort!.on('message', (command: WorkerCommand) => answer(execute(command)));
  answer(NOTHING_TIMED);
}

main(workerData as WorkerThreadData);
