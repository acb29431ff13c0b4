/** The main thread's side of the stalls bench's worker: its start, its figures, its end. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { DirectorMemory } from '#xvs/table/memory';
import { REPORT, REPORT_DOUBLES, type StallData, type StallReady } from './stallReport';

/** One during which the CPU is another's does not count. */
const PROVOCATIONS_MAX = 50;
const PROVOCATION_MS = 100;

export interface Figures {
  readonly rounds: number;
  readonly frames: number;
  readonly stalls: number;
  readonly taken: number;
}

export class StallWorker {
  readonly #report = new Float64Array(new SharedArrayBuffer(REPORT_DOUBLES * 8));
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #ready: Promise<StallReady>;
  /** Rejects when the worker has died. */
  readonly failed: Promise<never>;

  constructor(options: Omit<StallData, 'report'>) {
    const report = this.#report.buffer as SharedArrayBuffer;
    const workerData: StallData = { ...options, report };
    this.#worker = new Worker(join(__dirname, 'stallThread.js'), { workerData });
    this.failed = new Promise((_, reject) => this.#worker.once('error', reject));
    this.failed.catch(() => undefined);
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    this.#ready = new Promise((resolve) => this.#worker.once('message', resolve));
  }

  /** Resolves when it has settled and traffic flows. */
  async memory(): Promise<DirectorMemory> {
    return (await Promise.race([this.#ready, this.failed])).memory;
  }

  get figures(): Figures {
    const report = this.#report;
    return {
      rounds: report[REPORT.rounds]!,
      frames: report[REPORT.frames]!,
      stalls: report[REPORT.stalls]!,
      taken: report[REPORT.taken]!,
    };
  }

  get tick(): number {
    return this.#report[REPORT.tick]!;
  }

  /** Milliseconds of the longest round that was not taken, since this was last asked. */
  takeLongest(): number {
    const longest = this.#report[REPORT.longest]!;
    this.#report[REPORT.longest] = 0;
    return longest / 1e6;
  }

  /** Has the worker stall on purpose. Throws when that is not noticed. */
  async provoke(): Promise<void> {
    const before = this.figures.stalls;
    for (let attempt = 0; attempt < PROVOCATIONS_MAX; attempt++) {
      this.#report[REPORT.provoke] = 1;
      await Promise.race([sleep(PROVOCATION_MS), this.failed]);
      if (this.figures.stalls > before) return;
    }
    throw new Error('a stall on purpose was not noticed: what follows would mean nothing');
  }

  async stop(): Promise<void> {
    this.#report[REPORT.stop] = 1;
    await this.#exited;
  }
}
