/** Programs of the host, asked while this process waits. */
import { spawnSync } from 'node:child_process';

const OUTPUT_BYTES_MAX = 1 << 27;
const TIMEOUT_MS = 20_000;

export interface Said {
  readonly stdout: string;
  readonly stderr: string;
  /** -1: it is not installed, or did not end. */
  readonly status: number;
}

export function run(command: readonly string[], input = ''): Said {
  const [program = '', ...words] = command;
  const { error, status, stdout, stderr } = spawnSync(program, words, {
    encoding: 'utf8',
    input,
    maxBuffer: OUTPUT_BYTES_MAX,
    timeout: TIMEOUT_MS,
  });
  if (error !== undefined) return { stdout: '', stderr: error.message, status: -1 };
  return { stdout, stderr, status: status ?? -1 };
}
