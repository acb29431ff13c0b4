/**
 * Worker threads on their way: made together, they warm up in lockstep (worker/lockstep.ts) and are
 * ready together, or none of them is.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { WorkerData, WorkerReady } from '../worker/contract';
import { Lockstep } from '../worker/lockstep';

const MAIN = join(__dirname, '..', 'worker', 'main.js');
/** For each worker of a CPU: some five seconds are usual. After that the start has failed. */
const START_MS = 60_000;
/** Young generation that a worker never fills: nothing is allocated once it runs. */
const YOUNG_MB = 16;

export type SpawnData = Omit<WorkerData, 'lockstep'>;

export interface Spawned {
  readonly thread: Worker;
  readonly ready: WorkerReady;
  /** Why it ended, when it has: an error that nobody listens for would be the daemon's. */
  readonly end: { reason: string };
}

export class Spawning {
  readonly #threads: Worker[] = [];
  #isReady = false;
  /** In the order of what was asked for. Rejects when one fails; none is left then. */
  readonly ready: Promise<readonly Spawned[]>;

  constructor(all: readonly SpawnData[]) {
    this.ready = this.#start(all);
  }

  /** Ends all, unless they are ready. */
  async endUnready(): Promise<void> {
    if (!this.#isReady) await this.#end();
  }

  async #end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  async #start(all: readonly SpawnData[]): Promise<readonly Spawned[]> {
    const timer = setTimeout(() => void this.#end(), START_MS * mostOnOneCpu(all));
    const lockstep = Lockstep.memory(all.length);
    const ready: Promise<Spawned>[] = [];
    try {
      for (const data of all) ready.push(this.#spawn({ ...data, lockstep }));
      const spawned = await Promise.all(ready);
      this.#isReady = true;
      return spawned;
    } catch (error) {
      await Promise.allSettled([this.#end(), ...ready]);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #spawn(data: WorkerData): Promise<Spawned> {
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
    const thread = new Worker(MAIN, { workerData: data, resourceLimits });
    this.#threads.push(thread);
    const end = { reason: 'ended' };
    return new Promise((resolve, reject) => {
      thread.once('message', (ready: WorkerReady) => resolve({ thread, ready, end }));
      thread.once('error', (error) => {
        end.reason = error.stack ?? error.message;
        reject(error);
      });
      thread.once('exit', (code) => reject(new Error(`worker ${data.index} ended with ${code}`)));
    });
  }
}

function mostOnOneCpu(all: readonly SpawnData[]): number {
  const counts = new Map<number, number>();
  for (const { cpu } of all) counts.set(cpu, (counts.get(cpu) ?? 0) + 1);
  return Math.max(1, ...counts.values());
}
