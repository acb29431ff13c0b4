/**
 * A command on a pseudo-terminal, as an operator has it: keys go in, what it draws is held by a
 * TerminalScreen. Made by script(1).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { commandSync, ended, eventually } from '#xvs/lab/process';
import { TerminalScreen } from './terminalScreen';

const WAIT_MS = 30_000;
/** What the shell prints before the command, and after it. */
const BEFORE = /^(\/dev\/[\w/]+)\r\n/;
const AFTER = /\r?\nended with ([0-9]+)\r\n([\s\S]*)$/;

function childrenOf(pid: number): number[] {
  const listed = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return listed.trim().split(' ').map(Number);
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

export class PseudoTerminal {
  screen: TerminalScreen;
  readonly #child: ChildProcess;
  #device = '';
  #said = '';
  #taken = 0;

  private constructor(child: ChildProcess, columns: number, rows: number) {
    this.#child = child;
    this.screen = new TerminalScreen(columns, rows);
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      if (this.#device !== '') this.#take();
    });
  }

  static async start(
    command: readonly string[],
    columns: number,
    rows: number,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<PseudoTerminal> {
    const line = command.map(quoted).join(' ');
    const shell =
      `stty cols ${columns} rows ${rows}; tty; ${line}; status=$?; ` +
      'echo; echo ended with $status; stty -a';
    const child = spawn('script', ['-q', '-c', shell, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...environment, SHELL: '/bin/sh', TERM: 'xterm-256color' },
    });
    const terminal = new PseudoTerminal(child, columns, rows);
    try {
      await terminal.#until('the terminal to tell its name', () => BEFORE.test(terminal.#said));
    } catch (error) {
      await terminal.kill();
      throw error;
    }
    terminal.#device = BEFORE.exec(terminal.#said)![1]!;
    terminal.#taken = BEFORE.exec(terminal.#said)![0].length;
    terminal.#take();
    return terminal;
  }

  /** All bytes that the command has written. */
  get said(): string {
    return this.#said;
  }

  /** Pid of the command. */
  get pid(): number {
    const [shell] = childrenOf(this.#child.pid!);
    const [command] = childrenOf(shell!);
    return command!;
  }

  press(keys: string): void {
    this.#child.stdin!.write(keys);
  }

  /** The window gets another size; the screen begins blank. */
  resize(columns: number, rows: number): void {
    this.screen = new TerminalScreen(columns, rows);
    commandSync(['stty', '-F', this.#device, 'cols', String(columns), 'rows', String(rows)]);
  }

  /** Waits until the screen's text fits; returns it. */
  async shows(pattern: RegExp): Promise<string> {
    await this.#until(`the screen to show ${pattern}`, () => pattern.test(this.screen.text));
    return this.screen.text;
  }

  /** Waits for the command's end: its status, and what `stty -a` then says of the terminal. */
  async end(): Promise<{ readonly status: number; readonly settings: string }> {
    await this.#until('the command to end', () => AFTER.test(this.#said));
    await ended(this.#child);
    const [, status, settings] = AFTER.exec(this.#said)!;
    return { status: Number(status), settings: settings! };
  }

  /** For clean-up, whatever became of the command. */
  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGKILL');
      await ended(this.#child);
    }
  }

  #take(): void {
    const text = this.#said.slice(this.#taken).replace(AFTER, '');
    this.#taken += text.length;
    this.screen.write(text);
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    if (await eventually(condition, WAIT_MS)) return;
    throw new Error(`waited ${WAIT_MS / 1000} s for ${what}; it shows:\n${this.screen.text}`);
  }
}
