/**
 * `xvs VERB ...`: everything ipvsadm has no word for. Finds the verb, gives it its words, and turns
 * what it throws into a message and an exit status.
 */
import { join } from 'node:path';
import { UnreachableError } from '../client';
import type { ToolIo } from '../io';
import { VERBS } from './index';
import { EXIT_FAILED, EXIT_USAGE, LineError, type VerbContext } from './verb';

const DEFAULT_SOCKET = '/run/xvs/xvs.sock';

function overview(): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length));
  const lines = Object.entries(VERBS).map(
    ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}\n`,
  );
  return `usage: xvs [--socket PATH] VERB ...

${lines.join('')}
"xvs VERB --help" tells more. The director is asked over the socket that --socket or XVS_SOCKET
names, else ${DEFAULT_SOCKET}. Exit status: 0 done, 1 refused or failed, 2 the line makes no sense.
`;
}

function version(): string {
  const { readFileSync } = require('node:fs') as typeof import('node:fs');
  const text = readFileSync(join(__dirname, '..', '..', '..', 'package.json'), 'utf8');
  return `xvs ${(JSON.parse(text) as { version: string }).version}\n`;
}

interface Line {
  readonly socketGiven: string | null;
  readonly words: readonly string[];
}

/** Takes --socket out of the line, wherever it stands. */
function takeSocket(line: readonly string[], environment: ToolIo['environment']): Line {
  const words: string[] = [];
  let socketGiven: string | null = environment['XVS_SOCKET'] || null;
  for (let at = 0; at < line.length; at++) {
    const word = line[at]!;
    if (word !== '--socket' && !word.startsWith('--socket=')) {
      words.push(word);
      continue;
    }
    const path = word === '--socket' ? line[++at] : word.slice('--socket='.length);
    if (path === undefined || path === '') throw new LineError('--socket: a path is missing');
    socketGiven = path;
  }
  return { socketGiven, words };
}

function unreachable(error: UnreachableError, socketPath: string): string {
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such socket; is xvsd running?',
    ECONNREFUSED: 'nobody answers on it; is xvsd running?',
    EACCES: 'you may not use it',
    ETIMEDOUT: 'xvsd does not answer',
    ECONNRESET: 'xvsd closed the connection',
  };
  return `${socketPath}: ${reasons[error.errno] ?? error.errno}`;
}

async function runLine(words: readonly string[], context: VerbContext): Promise<number> {
  const { io } = context;
  const [name = '', ...rest] = words;
  if (name === '--version') {
    io.stdout(version());
    return 0;
  }
  const asksHelp = name === '--help' || name === '-h' || name === 'help';
  const wanted = asksHelp ? rest[0] : name;
  if (wanted === undefined) {
    io.stdout(overview());
    return 0;
  }
  if (wanted === '') throw new LineError(`a verb is missing\n${overview().trimEnd()}`);
  const entry = Object.hasOwn(VERBS, wanted) ? VERBS[wanted] : undefined;
  if (entry === undefined) {
    const known = Object.keys(VERBS).join(', ');
    throw new LineError(`"${wanted}" is no verb; known are ${known}`);
  }
  const verb = entry.load();
  if (asksHelp || rest.includes('--help')) {
    io.stdout(verb.help);
    return 0;
  }
  return verb.run(rest, context);
}

/** Runs `xvs` on the words after its name; its exit status. */
export async function runXvs(line: readonly string[], io: ToolIo): Promise<number> {
  let socketPath = DEFAULT_SOCKET;
  try {
    const { socketGiven, words } = takeSocket(line, io.environment);
    socketPath = socketGiven ?? DEFAULT_SOCKET;
    return await runLine(words, { io, socketGiven, socketPath });
  } catch (error) {
    const { name, message } = error as Error;
    if (name === 'LineError') {
      io.stderr(`xvs: ${message}\n`);
      return EXIT_USAGE;
    }
    if (error instanceof UnreachableError) {
      io.stderr(`xvs: ${unreachable(error, socketPath)}\n`);
      return EXIT_FAILED;
    }
    // What is wrong with a file comes as FILE:LINE lines, as compilers write them.
    if (name === 'ConfigError') io.stderr(`${message}\n`);
    else if (name === 'FailedError') io.stderr(`xvs: ${message}\n`);
    else throw error;
    return EXIT_FAILED;
  }
}
