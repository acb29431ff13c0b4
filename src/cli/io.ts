/** What a command-line tool needs of its surroundings, so that tests can give their own. */
import { readFileSync, writeSync } from 'node:fs';
import type { NameSource, NameView } from './names';

export interface ToolIo {
  /** Own name in messages. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
  /** All of standard input. */
  stdin(): string;
  /** Has the reader of standard output gone? */
  isOutputGone?(): boolean;
  /** Other names than the system's; for tests. */
  readonly names?: { readonly source: NameSource; readonly view: NameView };
}

/**
 * Writes all of `text`, also to a pipe that is full for the moment and non-blocking. False: its
 * reader has gone.
 */
function writeAll(descriptor: number, text: string): boolean {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A reader that has gone (`xvsadm -Ln | head -1`) wants no more.
      if (code === 'EPIPE') return false;
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
  return true;
}

/** Name of the running program as it was called, without the directory and `.js`. */
export function programName(scriptPath: string): string {
  return scriptPath.slice(scriptPath.lastIndexOf('/') + 1).replace(/\.js$/, '');
}

export function processIo(): ToolIo {
  let isOutputGone = false;
  return {
    program: programName(process.argv[1] ?? 'xvsadm'),
    environment: process.env,
    stdout: (text) => {
      isOutputGone = !writeAll(1, text) || isOutputGone;
    },
    stderr: (text) => void writeAll(2, text),
    isOutputGone: () => isOutputGone,
    stdin: () => readFileSync(0, 'utf8'),
  };
}
