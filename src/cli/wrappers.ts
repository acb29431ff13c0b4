/** xvsadm-save and xvsadm-restore: the two scripts around the tool that boot scripts call. */
import type { ToolIo } from './io';
import { UsageError } from './request';
import { type OwnOptions, runXvsadm, takeOwnOptions } from './xvsadm';

const SAVE_HELP = `Prints the table as commands for xvsadm-restore.
Usage: xvsadm-save [-n] [--socket PATH]
  -n    numeric addresses and ports
`;
const RESTORE_HELP = `Replaces the table by the commands on standard input (made by xvsadm-save).
Usage: xvsadm-restore [--socket PATH]
`;

type Run = (own: OwnOptions) => Promise<number>;

/** Own options taken out, their errors reported as the tool does. */
async function wrapped(line: readonly string[], io: ToolIo, run: Run): Promise<number> {
  try {
    return await run(takeOwnOptions(line, io.environment));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.stderr(`${error.message}\n`);
    return error.exitStatus;
  }
}

function withSocket(socketPath: string, words: readonly string[]): readonly string[] {
  return ['--socket', socketPath, ...words];
}

export function runSave(line: readonly string[], io: ToolIo): Promise<number> {
  return wrapped(line, io, (own) => save(own, io));
}

/** Comment lines, which the tool itself does not know, are taken out here. */
export function runRestore(line: readonly string[], io: ToolIo): Promise<number> {
  return wrapped(line, io, (own) => restore(own, io));
}

async function save({ socketPath, words }: OwnOptions, io: ToolIo): Promise<number> {
  const wrong = words.find((word) => word.startsWith('-') && word !== '-n');
  if (wrong !== undefined) {
    io.stderr(SAVE_HELP);
    return 1;
  }
  const numeric = words.includes('-n') ? ['-n'] : [];
  return runXvsadm(withSocket(socketPath, ['-S', ...numeric]), io);
}

async function restore({ socketPath, words }: OwnOptions, io: ToolIo): Promise<number> {
  // ipvsadm's script takes any word and heeds none; -n is what people give it.
  if (words.some((word) => word !== '-n')) {
    io.stderr(RESTORE_HELP);
    return 1;
  }
  const text = io.stdin();
  const cleared = await runXvsadm(withSocket(socketPath, ['-C']), io);
  if (cleared !== 0) return cleared;
  const rules = text
    .split('\n')
    .filter((rule) => !rule.startsWith('#'))
    .join('\n');
  return runXvsadm(withSocket(socketPath, ['-R']), { ...io, stdin: () => `${rules}\n` });
}
