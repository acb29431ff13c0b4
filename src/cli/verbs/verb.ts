/**
 * What every verb of `xvs` is made of: its shape, the options it reads, the one way to ask the
 * director, and the errors that end it. A verb is one file that exports `verb`; index.ts lists it.
 *
 * Exit status: 0 done; 1 refused, failed or no director; 2 the line makes no sense.
 */
import type { ErrorBody } from '../../control/protocol';
import { AdminClient } from '../client';
import type { ToolIo } from '../io';

export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

/** The director refused, or something else went wrong: status 1. */
export class FailedError extends Error {
  override readonly name = 'FailedError';
}

/** The line makes no sense: status 2. */
export class LineError extends Error {
  override readonly name = 'LineError';
}

export interface VerbContext {
  readonly io: ToolIo;
  /** Given by --socket or XVS_SOCKET; null: neither. */
  readonly socketGiven: string | null;
  /** `socketGiven`, or the default. */
  readonly socketPath: string;
}

export interface Verb {
  /** The whole help text, beginning with "usage: xvs NAME". */
  readonly help: string;
  /** `words`: what follows the verb, --socket taken out. Exit status. */
  run(words: readonly string[], context: VerbContext): Promise<number>;
}

export interface OptionsRead {
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  /** Words that are no options, in order. */
  readonly rest: readonly string[];
}

/**
 * Reads `--flag`, `--name VALUE` and `--name=VALUE`; `--` ends the options and "-" is a word.
 * `known`: name to "flag" or, for one that takes a value, what that is ("N", "FILE").
 */
export function readOptions(
  words: readonly string[],
  known: Readonly<Record<string, string>>,
): OptionsRead {
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (word === '--') {
      rest.push(...words.slice(at + 1));
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      rest.push(word);
      continue;
    }
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const kind = word.startsWith('--') && Object.hasOwn(known, name) ? known[name]! : undefined;
    if (kind === undefined) {
      const allowed = Object.keys(known).map((one) => `--${one}`);
      throw new LineError(`${word}: unknown option; allowed are ${allowed.join(', ')}`);
    }
    if (kind === 'flag') {
      if (equals >= 0) throw new LineError(`--${name}: takes no value`);
      flags.add(name);
      continue;
    }
    const value = equals < 0 ? words[++at] : word.slice(equals + 1);
    if (value === undefined) throw new LineError(`--${name}: ${kind} is missing`);
    if (values.has(name)) throw new LineError(`--${name}: is given twice`);
    values.set(name, value);
  }
  return { flags, values, rest };
}

/** A whole number of an option. */
export function wholeNumber(name: string, text: string, minimum: number, maximum: number): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= minimum && value <= maximum) return value;
  throw new LineError(`--${name} ${text}: ${minimum} to ${maximum} are allowed`);
}

/** One request to the director; its answer. Throws FailedError, UnreachableError. */
export async function ask(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body: unknown = null,
): Promise<unknown> {
  const client = await AdminClient.connect(socketPath);
  try {
    const answer = await client.request(method, path, body);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    const { message } = (answer.body ?? {}) as Partial<ErrorBody>;
    throw new FailedError(message ?? `the director answered with status ${answer.status}`);
  } finally {
    client.close();
  }
}
