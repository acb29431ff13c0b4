/**
 * The log: pino makes each line, text.ts gives it its form, output.ts writes it at once, so that
 * the last words of a daemon that ends are there. Nothing here waits or throws.
 */
import { type Logger as Pino, pino } from 'pino';
import { type EventName, type Fields, LEVELS, type Level } from './events';
import type { LogOutput } from './output';
import { Repeats } from './repeats';
import { formatLine, type LineFormat, type LogFormat } from './text';

export interface LogSettings {
  readonly level: Level;
  readonly format: LogFormat;
}

/** For the exporter. */
export interface LogCounts {
  /** Lines written, by level. */
  readonly written: Readonly<Record<Level, number>>;
  /** Lines that said what others had just said. */
  readonly suppressed: number;
  /** Lines that nobody took. */
  readonly lost: number;
}

export class Logger implements LogCounts {
  readonly written: Record<Level, number> = { error: 0, warn: 0, info: 0, debug: 0 };
  readonly #output: LogOutput;
  readonly #automatic: LineFormat;
  readonly #repeats: Repeats;
  readonly #pino: Pino;
  /** The same without a level of its own: no setting switches an audit line off. */
  readonly #always: Pino;
  #format: LineFormat;
  #lostTold = 0;

  /** `automatic`: the form that the format "auto" stands for. */
  constructor(output: LogOutput, automatic: LineFormat, repeats = new Repeats()) {
    this.#output = output;
    this.#automatic = automatic;
    this.#format = automatic;
    this.#repeats = repeats;
    this.#pino = pino(
      {
        base: null,
        level: 'info',
        messageKey: 'message',
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line) => this.#write(line) },
    );
    this.#always = this.#pino.child({}, { level: LEVELS[LEVELS.length - 1]! });
  }

  get lost(): number {
    return this.#output.lost;
  }
  get suppressed(): number {
    return this.#repeats.suppressed;
  }

  configure({ level, format }: LogSettings): void {
    this.#pino.level = level;
    this.#format = format === 'auto' ? this.#automatic : format;
  }

  tells(level: Level): boolean {
    return this.#pino.isLevelEnabled(level);
  }

  say(level: Level, event: EventName, message: string, fields: Fields = {}): void {
    if (!this.tells(level)) return;
    const more = (held: number): void => {
      const seconds = this.#repeats.windowMs / 1000;
      this.#put(this.#pino, level, event, `${held} more within ${seconds} s: ${message}`, {
        ...fields,
        suppressed: held,
      });
    };
    if (!this.#repeats.allows(`${event} ${message}`, more)) return;
    this.#put(this.#pino, level, event, message, fields);
  }

  /** A change: at any level, and however often it is made. */
  audit(message: string, fields: Fields): void {
    this.#put(this.#always, 'info', 'audit', message, fields);
  }

  /** Says what is held back, and writes what waits. To be called last. */
  flush(): void {
    this.#repeats.flush();
    this.#output.flush();
  }

  #put(to: Pino, level: Level, event: EventName, message: string, fields: Fields): void {
    this.written[level]++;
    to[level]({ event, ...fields }, message);
  }

  #write(line: string): void {
    const isWritten = this.#output.write(formatLine(line, this.#format));
    const { lost } = this.#output;
    if (!isWritten || lost === this.#lostTold) return;
    const lines = lost - this.#lostTold;
    this.#lostTold = lost;
    this.#put(this.#always, 'warn', 'log_lost', `${lines} lines of this log were lost`, { lines });
  }
}
