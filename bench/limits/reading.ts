/**
 * What is read of a director under load, twice: run times of all threads that work for it from the
 * scheduler (exact), the worker's own stages from its metrics, the CPU's busy time from /proc/stat.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { STAGES, type Stage } from '#xvs/table/stage';
import type { Child } from '../support/child';
import { readCpuTimes, readProcessSeconds } from '../support/cpuTime';
import type { TracedLab } from './tracedLab';

const METRICS = 'http://127.0.0.1:9420/metrics';
const ANSWER_MS = 10_000;

export interface ThreadTime {
  readonly ran: number;
  /** Runnable, but something else had the CPU. */
  readonly waited: number;
}

/** All times in seconds. */
export interface Reading {
  /** When the threads were read. The metrics are of another moment: all stages together are it. */
  readonly time: number;
  readonly cpuBusy: number;
  readonly threads: ReadonlyMap<string, ThreadTime>;
  /** Receive threads of the interfaces, in the lab's order: client, front, back, server. */
  readonly receive: readonly number[];
  readonly stages: Readonly<Record<Stage, number>>;
  readonly frames: number;
  readonly bursts: number;
  readonly wakeUps: number;
}

function readThreads(pid: number): Map<string, ThreadTime> {
  const threads = new Map<string, ThreadTime>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
    const [ran = 0, waited = 0] = text.split(' ').map(Number);
    threads.set(thread, { ran: ran / 1e9, waited: waited / 1e9 });
  }
  return threads;
}

/** Samples of a page of metrics, summed over all labels that `match` does not name. */
function total(page: string, name: string, match = ''): number {
  let sum = 0;
  for (const line of page.split('\n')) {
    if (!line.startsWith(`${name}{`) || !line.includes(match)) continue;
    sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}

/** Asks for metrics: scraper.ts, in the director's namespace. */
export function startScraper(lab: TracedLab): Child {
  const command = [process.execPath, join(__dirname, 'scraper.js'), METRICS];
  return lab.spawn('front', 'generatorCpu', 'scraper', command);
}

/** `pid`: of xvsd; `receivePids`: as WireLab.pinReceiveThreads gives them. */
export async function read(
  lab: TracedLab,
  scraper: Child,
  pid: number,
  receivePids: readonly number[],
): Promise<Reading> {
  scraper.write('\n');
  const page = JSON.parse(await scraper.line(ANSWER_MS)) as string;
  const stages = Object.fromEntries(
    STAGES.map((stage) => [stage, total(page, 'xvs_worker_stage_seconds_sum', `stage="${stage}"`)]),
  ) as Record<Stage, number>;
  return {
    time: performance.now() / 1000,
    cpuBusy: readCpuTimes().get(lab.settings.contenderCpu)?.busySeconds ?? 0,
    threads: readThreads(pid),
    receive: receivePids.map(readProcessSeconds),
    stages,
    frames: total(page, 'xvs_worker_receive_packets_total'),
    bursts: total(page, 'xvs_worker_bursts_total'),
    wakeUps: total(page, 'xvs_socket_tx_wakeups_total'),
  };
}
