/** The bench's side of one of its two workers: what it is told, and its answers. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Preparation, RunCommand, WorkerAnswer, WorkerCommand } from './workerContract';

/** A million connections take seconds to make; on a busy machine many. */
const ANSWER_MS_MAX = 120_000;

export class BenchThread {
  readonly #worker: Worker;
  readonly #name: string;
  /** Rejects when the thread has ended. */
  readonly #ended: Promise<never>;

  constructor(cpu: number) {
    this.#name = `worker thread on CPU ${cpu}`;
    this.#worker = new Worker(join(__dirname, 'workerThread.js'), { workerData: { cpu } });
    this.#ended = new Promise((_, reject) => {
      this.#worker.once('error', reject);
      this.#worker.once('exit', () => reject(new Error(`${this.#name}: ended without an answer`)));
    });
    this.#ended.catch(() => undefined);
  }

  /** Resolves when it has warmed up. */
  async ready(): Promise<void> {
    await this.#answer();
  }

  async prepare(preparation: Preparation): Promise<void> {
    await this.#ask({ prepare: preparation });
  }

  async run(command: RunCommand): Promise<WorkerAnswer> {
    return await this.#ask({ run: command });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(command: WorkerCommand): Promise<WorkerAnswer> {
    const answer = this.#answer();
    this.#worker.postMessage(command);
    return answer;
  }

  async #answer(): Promise<WorkerAnswer> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`${this.#name}: no answer in ${ANSWER_MS_MAX} ms`);
      timer = setTimeout(() => reject(error), ANSWER_MS_MAX);
    });
    const answer = new Promise<WorkerAnswer>((resolve) => this.#worker.once('message', resolve));
    try {
      return await Promise.race([answer, this.#ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
