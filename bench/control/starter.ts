/** Starts tools from a process of their own (launcher.ts), on the CPU of the control plane. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Launch, Launched } from './launcher';

const STEP_TIMEOUT_MS = 600_000;

export class Starter {
  readonly #launcher: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  /** To be made before the tables are there: a fork of a large process slows the worker down. */
  constructor(cpu: number) {
    const words = ['-c', `${cpu}`, process.execPath, join(__dirname, 'launcher.js')];
    this.#launcher = spawn('taskset', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = createInterface({ input: this.#launcher.stdout! })[Symbol.asyncIterator]();
  }

  /** Runs a tool to its end. */
  async launch(command: readonly string[], input = ''): Promise<Launched> {
    const launch: Launch = { command, input, timeoutMs: STEP_TIMEOUT_MS };
    this.#launcher.stdin!.write(`${JSON.stringify(launch)}\n`);
    const answer = await this.#answers.next();
    if (answer.done === true) throw new Error('the launcher has ended');
    return JSON.parse(answer.value) as Launched;
  }

  close(): void {
    this.#launcher.stdin!.end();
  }
}
