/**
 * Child processes of a bench: pinned to one CPU, in a namespace, dead when the bench dies, never
 * outliving `stop`. Output is read by the line.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const STOP_MS = 3000;

export interface ChildPlace {
  readonly namespace: string;
  readonly cpu: number;
}

export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #ended: Promise<void>;
  #errors = '';
  #wanted: (() => void) | null = null;
  #isOver = false;

  constructor(name: string, place: ChildPlace, command: readonly string[]) {
    const { namespace, cpu } = place;
    const prefix = ['netns', 'exec', namespace, 'taskset', '-c', String(cpu)];
    this.name = name;
    this.#process = spawn('ip', [...prefix, 'setpriv', '--pdeathsig', 'KILL', ...command]);
    this.#process.stdin?.on('error', () => {}); // a dead child is told by its end
    this.#process.stderr?.on('data', (text) => {
      this.#errors = `${this.#errors}${text}`.slice(-4000);
    });
    const { stdout } = this.#process;
    if (stdout) {
      createInterface({ input: stdout }).on('line', (line) => {
        this.#lines.push(line);
        this.#wanted?.();
      });
    }
    this.#ended = new Promise((resolve) => {
      const end = () => {
        this.#isOver = true;
        this.#wanted?.();
        resolve();
      };
      this.#process.on('close', end);
      this.#process.on('error', end);
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What it wrote to stderr, the last of it. */
  get errors(): string {
    return this.#errors.trim();
  }

  /** The next line of output. Throws when it ends first, or after `timeoutMs`. */
  async line(timeoutMs: number): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    while (this.#lines.length === 0) {
      const left = deadline - Date.now();
      if (this.#isOver) throw new Error(`${this.name} ended: ${this.errors || 'no message'}`);
      if (left <= 0) throw new Error(`${this.name}: no output within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wanted = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#lines.shift() ?? '';
  }

  write(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** SIGTERM, and SIGKILL when that is not enough. Returns once it is gone. */
  async stop(): Promise<void> {
    if (this.#isOver) return;
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), STOP_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Waits for its own end. */
  async end(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.kill(), timeoutMs);
    await this.#ended;
    clearTimeout(timer);
  }

  kill(): void {
    if (!this.#isOver) this.#process.kill('SIGKILL');
  }
}
