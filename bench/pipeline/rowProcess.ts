/**
 * A process that measures rows: on one CPU, made ready as a worker makes itself ready. Its parent
 * says `open` with a row, then `run` as often as it likes; each is answered by one message.
 */
import { execFileSync } from 'node:child_process';
import { addon } from '#xvs/port/addon';
import { type MakePrefetcher, prefetchByReading } from '#xvs/table/prefetch';
import { tuneEngine } from '#xvs/worker/engine';
import { warmUp } from '#xvs/worker/warmUp';
import { answerWith } from '../support/askedProcess';
import { check } from './check';
import type { Row } from './row';
import type { PrefetchName } from './settings';
import { Workload } from './workload';
import { World } from './world';

export type RowCommand =
  | { readonly command: 'prepare'; readonly cpu: number; readonly prefetch: PrefetchName }
  | { readonly command: 'open'; readonly row: Row }
  | { readonly command: 'run'; readonly name: string; readonly packets: number };

let prefetcher: MakePrefetcher = prefetchByReading;
const workloads = new Map<string, Workload>();

/** Nanoseconds a packet, where that was asked for. */
function execute(command: RowCommand): number {
  switch (command.command) {
    case 'prepare':
      // This thread only: V8's own threads may work elsewhere, as they do in the daemon.
      execFileSync('taskset', ['-p', '-c', String(command.cpu), String(process.pid)], {
        stdio: 'ignore',
      });
      if (command.prefetch === 'native') prefetcher = addon.createPrefetcher;
      tuneEngine();
      warmUp(prefetcher);
      return 0;
    case 'open': {
      const world = new World(command.row, prefetcher);
      const workload = new Workload(world);
      check(world, workload);
      workloads.set(command.row.name, workload);
      return 0;
    }
    case 'run': {
      const workload = workloads.get(command.name);
      if (workload === undefined) throw new Error(`row ${command.name} is not open`);
      return workload.run(command.packets);
    }
  }
}

answerWith(execute);
