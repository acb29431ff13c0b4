/**
 * Starts the tools for the control bench: one JSON line {command, input} on stdin is one command to
 * its end, answered with {status, stderr}. The bench must not start them itself: a fork of the
 * process with the tables would make the worker's next write to each page a page fault.
 */
import { createInterface } from 'node:readline';
import { runCommand } from '#xvs/lab/process';

export interface Launch {
  readonly command: readonly string[];
  readonly input: string;
  readonly timeoutMs: number;
}
export interface Launched {
  readonly status: number;
  readonly stderr: string;
}

async function main(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const { command, input, timeoutMs } = JSON.parse(line) as Launch;
    const { status, stderr } = await runCommand(command, { input, timeoutMs });
    process.stdout.write(`${JSON.stringify({ status, stderr } satisfies Launched)}\n`);
  }
}

if (require.main === module) void main();
