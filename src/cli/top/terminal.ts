/**
 * The terminal that `xvs top` draws on: its other screen, without a cursor, keys one by one; given
 * back as it was however the command ends. Only lines that changed are written, all of a frame at
 * once, between the marks of synchronized output (mode 2026) for terminals that know them.
 */
import type { ReadStream, WriteStream } from 'node:tty';
import { keysOf } from './keys';
import type { Line, Size, Style } from './layout';

const SGR: Readonly<Record<Style, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  bar: '7',
  title: '1;4',
  warning: '1;31',
};
const COLOUR = /;31$/;
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[0m\x1b[?25h\x1b[?1049l';
const CLEAR = '\x1b[2J';
const BEGIN = '\x1b[?2026h';
const END = '\x1b[?2026l';
const ENDING_SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;
/** What a terminal is taken for that does not tell its size. */
const DEFAULT_SIZE: Size = { columns: 80, rows: 24 };

export interface TerminalEvents {
  onKey(key: string): void;
  onResize(): void;
  /** A signal asks for the end, or the terminal has gone. */
  onEnd(): void;
}

/** One line with its styles. `colours`: false under NO_COLOR. */
export function encodeLine(line: Line, colours: boolean): string {
  return line
    .map(({ text, style }) => {
      const codes = colours ? SGR[style] : SGR[style].replace(COLOUR, '');
      return codes === '' || text === '' ? text : `\x1b[${codes}m${text}\x1b[0m`;
    })
    .join('');
}

/** What turns `before` into `lines`: '' when nothing changed. */
export function difference(before: readonly string[], lines: readonly string[]): string {
  let text = '';
  for (const [at, line] of lines.entries()) {
    if (before[at] !== line) text += `\x1b[${at + 1};1H${line}\x1b[K`;
  }
  return text === '' ? '' : BEGIN + text + END;
}

export class Terminal {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #colours: boolean;
  readonly #events: TerminalEvents;
  readonly #onData = (data: Buffer) => {
    for (const key of keysOf(data.toString('utf8'))) this.#events.onKey(key);
  };
  readonly #onResize = () => {
    this.#shown = [];
    this.#isDirty = true;
    this.#events.onResize();
  };
  readonly #onEnd = () => this.#events.onEnd();
  readonly #onContinue = () => {
    this.#take();
    this.#onResize();
  };
  /** Should all else fail: the last thing that the process does. */
  readonly #onExit = () => this.#giveBack();
  #shown: readonly string[] = [];
  /** What is on the screen is not what was drawn. */
  #isDirty = false;
  #taken = false;

  constructor(input: ReadStream, output: WriteStream, colours: boolean, events: TerminalEvents) {
    this.#input = input;
    this.#output = output;
    this.#colours = colours;
    this.#events = events;
  }

  get size(): Size {
    const { columns, rows } = this.#output;
    return { columns: columns || DEFAULT_SIZE.columns, rows: rows || DEFAULT_SIZE.rows };
  }

  open(): void {
    this.#take();
    this.#input.on('data', this.#onData);
    this.#input.on('end', this.#onEnd);
    this.#output.on('resize', this.#onResize);
    this.#output.on('error', this.#onEnd);
    for (const signal of ENDING_SIGNALS) process.on(signal, this.#onEnd);
    process.on('SIGCONT', this.#onContinue);
    process.on('exit', this.#onExit);
  }

  draw(lines: readonly Line[]): void {
    const texts = lines.map((line) => encodeLine(line, this.#colours));
    const text = difference(this.#shown, texts);
    this.#shown = texts;
    if (this.#isDirty) this.#output.write(BEGIN + CLEAR + text + END);
    else if (text !== '') this.#output.write(text);
    this.#isDirty = false;
  }

  /** Forgets what is on the screen: the next frame is drawn whole. */
  redraw(): void {
    this.#onResize();
  }

  /** As Control-Z has it: the shell has the terminal until it continues this process. */
  suspend(): void {
    this.#giveBack();
    process.kill(process.pid, 'SIGTSTP');
    // Here again: continued, or there is no shell that could, and nothing was stopped.
    this.#onContinue();
  }

  close(): void {
    this.#giveBack();
    this.#input.off('data', this.#onData);
    this.#input.off('end', this.#onEnd);
    this.#input.pause();
    this.#output.off('resize', this.#onResize);
    for (const signal of ENDING_SIGNALS) process.off(signal, this.#onEnd);
    process.off('SIGCONT', this.#onContinue);
    process.off('exit', this.#onExit);
  }

  #take(): void {
    if (this.#taken) return;
    this.#taken = true;
    this.#input.setRawMode(true);
    this.#input.resume();
    this.#output.write(ENTER);
    this.#shown = [];
  }

  #giveBack(): void {
    if (!this.#taken) return;
    this.#taken = false;
    try {
      this.#output.write(LEAVE);
      this.#input.setRawMode(false);
    } catch {
      // The terminal has gone: there is nothing to give back.
    }
  }
}
