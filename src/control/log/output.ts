/**
 * Where log lines go: a file descriptor that may be gone, full, or read by nobody. Writing never
 * waits and never throws. What a full pipe does not take is kept, up to a bound, and tried again;
 * what is beyond that, or has nobody left to read it, is counted.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';

const WAITING_BYTES_MAX = 1 << 20;
const RETRY_MS = 100;

/** The same pipe or terminal, opened anew: only so can it be not to wait without others' notice. */
function openedAnew(fd: number): number | null {
  const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
  try {
    return openSync(`/proc/self/fd/${fd}`, flags);
  } catch {
    return null;
  }
}

/** Stderr, as something whose writing does not wait. */
export function openStderr(): number {
  const stderr = 2;
  try {
    const stat = fstatSync(stderr);
    // A file takes what comes, and is written from where the one who opened it says.
    if (stat.isFile()) return stderr;
    const anew = stat.isSocket() ? null : openedAnew(stderr);
    if (anew !== null) return anew;
    // Node makes it one that does not wait; its own errors are none of ours.
    process.stderr.on('error', () => undefined);
  } catch {
    // There is none: lines are lost, and counted.
  }
  return stderr;
}

export class LogOutput {
  /** Lines that nobody will read. */
  lost = 0;
  readonly #fd: number;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #retry: NodeJS.Timeout | undefined;

  /** `fd`: open for writing, O_NONBLOCK unless it is a file. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** True: all that was to be written is. `line` ends with a newline. */
  write(line: string): boolean {
    this.flush();
    const bytes = Buffer.from(line);
    if (this.#waiting.length === 0) {
      const left = this.#put(bytes);
      if (left === null) return false;
      if (left.length === 0) return true;
      this.#wait(left);
    } else if (this.#waitingBytes + bytes.length <= WAITING_BYTES_MAX) this.#wait(bytes);
    else this.lost++;
    return false;
  }

  /** Tries what waits; the rest goes on waiting. */
  flush(): void {
    for (let line = this.#waiting[0]; line !== undefined; line = this.#waiting[0]) {
      const left = this.#put(line);
      if (left === null) {
        this.lost += this.#waiting.length - 1;
        this.#waiting = [];
        this.#waitingBytes = 0;
        return;
      }
      this.#waitingBytes -= line.length - left.length;
      if (left.length > 0) {
        this.#waiting[0] = left;
        return;
      }
      this.#waiting.shift();
    }
  }

  #wait(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#schedule();
  }

  #schedule(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.flush();
      if (this.#waiting.length > 0) this.#schedule();
    }, RETRY_MS).unref();
  }

  /** What it did not take; null, and a line lost: nobody is there to take it. */
  #put(bytes: Buffer): Buffer | null {
    try {
      return bytes.subarray(writeSync(this.#fd, bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return bytes;
      this.lost++;
      return null;
    }
  }
}
