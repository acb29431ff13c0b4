/**
 * Which code of a real daemon's workers fell back to slower code, or was thrown away, while they
 * served: V8 writes a log for each isolate, with the place of each function it gives up.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const LOG = /^isolate.*\.log$/;
/** Of whatever script but Node's own: also of those made for one worker. */
const DEOPTIMISATION = /^code-deopt,(?!.*<node:)/;

export const deoptimisationsIn = (log: string): string[] =>
  log.split('\n').filter((line) => DEOPTIMISATION.test(line));

export class Deoptimisations {
  readonly #directory: string;
  readonly #seen = new Map<string, number>();

  /** Logs are in `directory`, which is to be the daemon's alone. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** For Node.js, when it runs the daemon. */
  get flags(): readonly string[] {
    return ['--log-deopt', `--logfile=${join(this.#directory, 'v8.log')}`];
  }

  /** To be called when the daemon is ready: what is logged until then does not count. */
  begin(workers: number): void {
    const [, ...logs] = this.#logs();
    assert.equal(logs.length, workers, `${this.#directory}: logs of isolates beside the first`);
    for (const log of logs) this.#seen.set(log, readFileSync(log, 'utf8').length);
  }

  /** Those of the workers since this or `begin` was last called. */
  take(): string[] {
    return [...this.#seen].flatMap(([log, seen]) => {
      const text = readFileSync(log, 'utf8');
      this.#seen.set(log, text.length);
      return deoptimisationsIn(text.slice(seen));
    });
  }

  /** In the order in which they were begun: the main thread's is the first. */
  #logs(): string[] {
    const names = readdirSync(this.#directory).filter((name) => LOG.test(name));
    const files = names.map((name) => join(this.#directory, name));
    const begun = new Map(files.map((file) => [file, statSync(file).birthtimeMs]));
    const [first, second] = [...begun.values()].sort((one, other) => one - other);
    assert.notEqual(first, second, 'the file system tells no birth times');
    return files.sort((one, other) => begun.get(one)! - begun.get(other)!);
  }
}
