/** The daemon's log: on stderr, in the journal's form where that is the journal. */
import type { EventName, Log } from '../control/log/events';
import { Logger } from '../control/log/logger';
import { LogOutput, openStderr } from '../control/log/output';
import { isJournal } from '../control/log/text';

export const logger = new Logger(new LogOutput(openStderr()), isJournal(2) ? 'journal' : 'text');

process.on('exit', () => logger.flush());

export const log: Log = (level, event, message, fields) =>
  logger.say(level, event, message, fields);

/** For what only has warnings of one kind to give. */
export function warner(event: EventName): (message: string) => void {
  return (message) => log('warn', event, message);
}
