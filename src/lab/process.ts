/**
 * Child processes of a lab: run to the end, or started and tracked by their own pid. Nothing here
 * ends a process by name.
 */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

/** Longest time a command of a lab may take when the caller names none. */
const COMMAND_TIMEOUT_MS = 120_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export interface CommandResult {
  /** Exit status; 128 + signal number is not used: a killed command has status -1. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface StartOptions {
  /** File that gets stdout and stderr; without it both are dropped. */
  readonly log?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** True: the child outlives this process (a lab that is left standing). */
  readonly detached?: boolean;
}

export class CommandError extends Error {
  readonly result: CommandResult;

  constructor(command: readonly string[], result: CommandResult) {
    const said = result.stderr.trim() || result.stdout.trim() || 'it said nothing';
    super(`${command.join(' ')}: exit status ${result.status}: ${said}`);
    this.name = 'CommandError';
    this.result = result;
  }
}

function environmentWith(extra: Readonly<Record<string, string>> | undefined): NodeJS.ProcessEnv {
  return extra === undefined ? process.env : { ...process.env, ...extra };
}

/** Runs a command to its end while this process waits. Throws CommandError unless it exits 0. */
export function commandSync(command: readonly string[]): string {
  const result = tryCommandSync(command);
  if (result.status !== 0) throw new CommandError(command, result);
  return result.stdout;
}

/** Runs a command to its end while this process waits; a command that is not there throws. */
export function tryCommandSync(command: readonly string[]): CommandResult {
  const [file, ...parameters] = command;
  const done = spawnSync(file!, parameters, {
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (done.error !== undefined) {
    throw new Error(`${command.join(' ')}: ${done.error.message}`, { cause: done.error });
  }
  return { status: done.status ?? -1, stdout: done.stdout, stderr: done.stderr };
}

/** Runs a command while the event loop goes on. One past its time is killed: status -1. */
export function runCommand(
  command: readonly string[],
  options: RunOptions = {},
): Promise<CommandResult> {
  const [file, ...parameters] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(file!, parameters, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: environmentWith(options.environment),
      timeout: options.timeoutMs ?? COMMAND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status: status ?? -1, stdout, stderr }));
    // A command that ends before it has read its input is judged by its status, not by the pipe.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** Starts a command that goes on by itself. */
export function startCommand(command: readonly string[], options: StartOptions = {}): ChildProcess {
  const [file, ...parameters] = command;
  const log = options.log === undefined ? -1 : openSync(options.log, 'a');
  const stdio: StdioOptions = log < 0 ? 'ignore' : ['ignore', log, log];
  try {
    const child = spawn(file!, parameters, {
      stdio,
      env: environmentWith(options.environment),
      detached: options.detached ?? false,
    });
    if (options.detached) child.unref();
    return child;
  } finally {
    if (log >= 0) closeSync(log);
  }
}

/** Waits for the child's end. Resolves with its exit status, or -1 when a signal ended it. */
export function ended(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  if (child.signalCode !== null) return Promise.resolve(-1);
  // One that was started to outlive this process would not keep it waiting.
  child.ref();
  return new Promise((resolve) => child.once('exit', (status) => resolve(status ?? -1)));
}

/** Blocks this thread: for clean-up, which also runs where no event loop is left. */
export function sleepSync(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}

/** Polls `condition` until it holds. False when `timeoutMs` is over first. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  intervalMs = 25,
): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
