/** The whole grammar in one call: words of a line to the Request they make. */
import type { NameSource } from './names';
import { parseLine } from './parse';
import type { Request } from './request';
import { validateLine } from './validate';

/** Throws UsageError, or UnresolvedHost when a host name must be looked up first. */
export function parseRequest(
  words: readonly string[],
  program: string,
  names: NameSource,
  json = false,
): Request {
  const line = parseLine(words, program, names);
  return line === 'help' || line === 'version' ? { kind: line } : validateLine(line, json);
}
