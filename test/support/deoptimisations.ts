/**
 * Which code of a real daemon's workers fell back to slower code while they served: V8 writes a
 * log for each isolate, with the place of each function it gives up.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Director } from '#xvs/lab/director';

const LOG = /^isolate0?.*\.log$/;
const DEOPTIMISATION = /^code-deopt,\d+,.*<\/.*\/dist\/\w+\/.*>/;

export class Deoptimisations {
  readonly #directory: string;
  readonly #seen = new Map<string, number>();

  /** Call this before the director is started; `directory` is for the logs. */
  constructor(director: Director, directory: string) {
    this.#directory = directory;
    director.engineFlags.push('--log-deopt', `--logfile=${join(directory, 'v8.log')}`);
  }

  /** Those of the workers since this was last called: place in the source, and V8's reason. */
  take(): string[] {
    const [, ...workers] = this.#logs();
    if (workers.length === 0) throw new Error(`${this.#directory}: no log of a worker's isolate`);
    return workers.flatMap((file) => {
      const text = readFileSync(file, 'utf8');
      const lines = text.slice(this.#seen.get(file) ?? 0).split('\n');
      this.#seen.set(file, text.length);
      return lines.filter((line) => DEOPTIMISATION.test(line));
    });
  }

  /** In the order in which they were begun: the main thread's is the first. */
  #logs(): string[] {
    const names = readdirSync(this.#directory).filter((name) => LOG.test(name));
    const files = names.map((name) => join(this.#directory, name));
    const begun = new Map(files.map((file) => [file, statSync(file).birthtimeMs]));
    return files.sort((one, other) => begun.get(one)! - begun.get(other)!);
  }
}
