/** The daemon's log: one line an event on stderr, with a syslog level that journald understands. */
export type Level = 'error' | 'warn' | 'info';
const PRIORITY: Readonly<Record<Level, number>> = { error: 3, warn: 4, info: 6 };
/** journald sets it: then lines carry a priority and no time. */
const underJournal = process.env['JOURNAL_STREAM'] !== undefined;

export function log(level: Level, message: string): void {
  const head = underJournal ? `<${PRIORITY[level]}>` : `${new Date().toISOString()} ${level} `;
  process.stderr.write(`${head}${message}\n`);
}
