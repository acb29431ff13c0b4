/**
 * A process of a bench that is asked for one thing at a time and answers each with one message:
 * what it measured, or what went wrong. It dies with the bench.
 */
import { type ChildProcess, fork } from 'node:child_process';

export type Answer<Measured> = { readonly measured: Measured } | { readonly error: string };

const ANSWER_MS = 300_000;

export class AskedProcess<Command extends object, Measured> {
  readonly #name: string;
  readonly #child: ChildProcess;

  /** `module`: its compiled file, which calls `answerWith`. */
  constructor(name: string, module: string) {
    this.#name = name;
    this.#child = fork(module);
  }

  async ask(command: Command): Promise<Measured> {
    const child = this.#child;
    const answer = await new Promise<Answer<Measured>>((resolve) => {
      const finish = (given: Answer<Measured>) => {
        clearTimeout(timer);
        child.removeListener('message', finish);
        child.removeListener('close', ended);
        resolve(given);
      };
      const ended = () => finish({ error: 'ended without an answer' });
      const timer = setTimeout(() => finish({ error: `no answer in ${ANSWER_MS} ms` }), ANSWER_MS);
      child.once('message', finish);
      child.once('close', ended);
      child.send(command);
    });
    if ('error' in answer) throw new Error(`${this.#name}: ${answer.error}`);
    return answer.measured;
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}

/** The process's side. */
export function answerWith<Command, Measured>(
  execute: (command: Command) => Measured | Promise<Measured>,
): void {
  process.on('message', async (command: Command) => {
    let answer: Answer<Measured>;
    try {
      answer = { measured: await execute(command) };
    } catch (error) {
      answer = { error: error instanceof Error ? error.message : String(error) };
    }
    process.send?.(answer);
  });
}
