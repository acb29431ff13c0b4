/**
 * The forms of a log line, each made from pino's JSON: text with time and level; for the journal,
 * which keeps the time itself, with a syslog priority that journald takes off (sd-daemon(3)); JSON
 * as it is.
 */
import { fstatSync } from 'node:fs';
import type { Level } from './events';

export const FORMATS = ['auto', 'text', 'json', 'journal'] as const;
export type LogFormat = (typeof FORMATS)[number];
export type LineFormat = Exclude<LogFormat, 'auto'>;

const PRIORITY: Readonly<Record<Level, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

interface LineRecord {
  readonly time: string;
  readonly level: Level;
  readonly event: string;
  readonly message: string;
}

/** One line an event, whatever was in it: no line and no terminal command of somebody else's. */
function onOneLine(message: string): string {
  return message.replace(/\s*\n\s*/g, ' | ').replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    return `\\x${character.codePointAt(0)!.toString(16).padStart(2, '0')}`;
  });
}

/** `line`: JSON with its newline. */
export function formatLine(line: string, format: LineFormat): string {
  if (format === 'json') return line;
  const { time, level, event, message } = JSON.parse(line) as LineRecord;
  const head = format === 'journal' ? `<${PRIORITY[level]}>` : `${time} ${level} `;
  return `${head}event=${event} ${onOneLine(message)}\n`;
}

/**
 * Is `fd` the journal's? systemd names the stream by device and inode, for a process may have been
 * given another one since (systemd.exec(5), JOURNAL_STREAM).
 */
export function isJournal(fd: number, environment: NodeJS.ProcessEnv = process.env): boolean {
  const stream = environment['JOURNAL_STREAM'];
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
