/**
 * One thread for work that would stall the main thread (piscina): listing many connections,
 * building many Maglev tables. It begins with the first task and ends when idle.
 */
import type { Piscina } from 'piscina';

const IDLE_MS = 10_000;

export class Pool {
  #piscina: Promise<Piscina> | undefined;

  /** Has the default export of module `filename` work on `task`. */
  async run<Task, Result>(filename: string, task: Task): Promise<Result> {
    this.#piscina ??= create();
    return (await this.#piscina).run(task, { filename }) as Promise<Result>;
  }

  async close(): Promise<void> {
    await (await this.#piscina)?.destroy();
    this.#piscina = undefined;
  }
}

async function create(): Promise<Piscina> {
  const { Piscina } = await import('piscina');
  return new Piscina({ minThreads: 0, maxThreads: 1, idleTimeout: IDLE_MS });
}
