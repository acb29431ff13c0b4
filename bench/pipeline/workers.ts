/**
 * Two workers beside one, on one table: threads on two CPUs, each with flows of its own, in turns
 * alone and together. The same with a table for each: what the machine's two CPUs, which share
 * caches, memory and perhaps a core, give two workers that have nothing to do with each other. The
 * difference between the two ratios is what sharing costs.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Result, summarize } from '../support/report';
import { formatTarget } from '../support/target';
import { makeRow, type Protocol } from './row';
import type { Settings } from './settings';
import type { Work, WorkerAnswer, WorkerCommand, WorkerThreadData } from './workerContract';
import { worldMemory } from './world';

const WANTED = 1.9;
const WARM_UP_ROUNDS = 3;
const ANSWER_MS = 300_000;

class BenchThread {
  readonly #worker: Worker;

  constructor(data: WorkerThreadData) {
    this.#worker = new Worker(join(__dirname, 'workerThread.js'), { workerData: data });
  }

  answer(): Promise<number> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#worker.removeAllListeners();
        settle();
      };
      const fail = (error: Error) => finish(() => reject(error));
      const timer = setTimeout(
        () => fail(new Error(`worker thread: no answer in ${ANSWER_MS} ms`)),
        ANSWER_MS,
      );
      this.#worker.once('message', ({ nanoseconds }: WorkerAnswer) =>
        finish(() => resolve(nanoseconds)),
      );
      this.#worker.once('error', fail);
      this.#worker.once('exit', () => fail(new Error('worker thread: ended without an answer')));
    });
  }

  run(count: number): Promise<number> {
    const answer = this.answer();
    this.#worker.postMessage({ count } satisfies WorkerCommand);
    return answer;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

interface Pair {
  readonly work: Work;
  readonly tables: 'shared' | 'own';
  readonly threads: readonly BenchThread[];
  /** Millions a second, of one worker and of both. */
  readonly alone: number[];
  readonly together: number[];
}

async function openPair(
  work: Work,
  tables: Pair['tables'],
  protocol: Protocol,
  flows: number,
  { cpu, otherCpu }: Settings,
): Promise<Pair> {
  const row = makeRow('nat', 4, protocol, flows);
  // Twice as much as there will be: a table that is half full.
  const room = { ...row, flows: work === 'births' ? Math.max(2 * flows, 65536) : flows };
  const shared = worldMemory(room, 2);
  const threads: BenchThread[] = [];
  for (const [worker, on] of [cpu, otherCpu].entries()) {
    const memory = tables === 'shared' ? shared : worldMemory(room, 1);
    const number = tables === 'shared' ? worker : 0;
    const thread = new BenchThread({ cpu: on, worker: number, memory, row, work });
    threads.push(thread);
    // One after the other: V8's flags, which the warm-up sets, are the process's.
    await thread.answer();
  }
  return { work, tables, threads, alone: [], together: [] };
}

async function measureRound(pair: Pair, count: number, counts: boolean): Promise<void> {
  const rate = (nanoseconds: number) => 1000 / nanoseconds;
  const [first, second] = pair.threads;
  const alone = (rate(await first!.run(count)) + rate(await second!.run(count))) / 2;
  const both = await Promise.all(pair.threads.map((thread) => thread.run(count)));
  if (!counts) return;
  pair.alone.push(alone);
  pair.together.push(both.reduce((sum, nanoseconds) => sum + rate(nanoseconds), 0));
}

interface Measured {
  readonly results: readonly Result[];
  readonly notes: readonly string[];
}

export async function measureWorkers(
  settings: Settings,
  protocol: Protocol,
  flows: number,
  say: (text: string) => void,
): Promise<Measured> {
  const pairs: Pair[] = [];
  try {
    for (const work of ['hits', 'births'] as const) {
      for (const tables of ['shared', 'own'] as const) {
        say(`two workers, ${work}, ${tables} table, ${flows} flows each: making connections`);
        pairs.push(await openPair(work, tables, protocol, flows, settings));
      }
    }
    for (let round = 0; round < settings.rounds + WARM_UP_ROUNDS; round++) {
      for (const pair of pairs) {
        const count = pair.work === 'hits' ? settings.packets : settings.packets >> 2;
        await measureRound(pair, count, round >= WARM_UP_ROUNDS);
      }
      say(`  round ${round}: ${pairs.map(describe).join(', ')}`);
    }
  } finally {
    for (const { threads } of pairs) for (const thread of threads) await thread.close();
  }
  return summarizePairs(pairs, protocol, flows);
}

function ratiosOf({ alone, together }: Pair): number[] {
  return together.map((rate, round) => rate / alone[round]!);
}

function describe(pair: Pair): string {
  const ratio = ratiosOf(pair).at(-1);
  return `${pair.work} ${pair.tables} ${ratio === undefined ? '-' : ratio.toFixed(2)}`;
}

function summarizePairs(pairs: readonly Pair[], protocol: Protocol, flows: number): Measured {
  const results: Result[] = [];
  const notes: string[] = [];
  for (const pair of pairs) {
    const { work, tables, alone, together } = pair;
    const name = `${work}, ${tables} table`;
    const add = (workers: number, values: readonly number[]) =>
      results.push(summarize(name, { workers, flows, protocol }, 'million/second', values));
    add(1, alone);
    add(2, together);
    const { min, median, max } = summarize(name, {}, 'ratio', ratiosOf(pair));
    const [low, middle, high] = [min, median, max].map((ratio) => ratio.toFixed(2));
    const measured = `${middle} (${low} to ${high})`;
    const what = `two workers against one, ${name}, ${flows} flows each`;
    if (tables === 'own') notes.push(`${what}: ${measured}: what the machine gives`);
    else {
      const isMet = median >= WANTED;
      notes.push(formatTarget({ what, wanted: `at least ${WANTED} x`, measured, isMet }));
    }
  }
  return { results, notes };
}
