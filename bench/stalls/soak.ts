/**
 * The soak: a process of its own, in which V8 tells of every garbage collection and every
 * deoptimisation, and the main thread does nothing while the worker forwards and connections come
 * and go. A collection's line begins with its isolate; the worker's is the one that collected on
 * demand. A deoptimisation does not say whose it is: all count.
 */
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { COUNTER } from '#xvs/table/counter';
import { StallWorker } from './stallWorker';

const BEGIN = 'soak begins';
const END = 'soak ends';
/** Start, and what is slow on a busy machine, beyond the soak itself. */
const START_MS = 300_000;
const SETTLE_MS = 2000;
const MINUTE_MS = 60_000;
const COLLECTION = /^\[\d+:(0x[0-9a-f]+)\].*(Scavenge|Mark-Compact)/;

export interface Soak {
  readonly collections: readonly string[];
  readonly deoptimisations: readonly string[];
  readonly frames: number;
  readonly created: number;
  readonly expired: number;
}

/** What the process says of itself at its end. */
type Counted = Pick<Soak, 'frames' | 'created' | 'expired'>;

export async function soak(milliseconds: number, flows: number, cpu: number): Promise<Soak> {
  const flags = ['--trace-gc', '--trace-deopt'];
  const words = [...flags, __filename, String(milliseconds), String(flows), String(cpu)];
  const command = ['stdbuf', '-oL', process.execPath, ...words];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: milliseconds + START_MS,
  });
  let text = '';
  let progress: NodeJS.Timeout | undefined;
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    if (text.includes(BEGIN)) progress ??= showProgress(milliseconds);
  });
  const status = await new Promise((resolve, reject) => {
    child.on('close', resolve);
    child.on('error', reject);
  }).finally(() => clearInterval(progress));
  if (status !== 0) throw new Error(`the soak ended with ${status}: ${text.slice(-500)}`);
  return judge(text.split('\n'));
}

/** Here, not in the process: what its main thread does would be traced too. */
function showProgress(milliseconds: number): NodeJS.Timeout {
  const minutes = (milliseconds / MINUTE_MS).toFixed(1);
  let minute = 0;
  return setInterval(() => {
    minute++;
    process.stderr.write(`  minute ${minute} of ${minutes}\n`);
  }, MINUTE_MS);
}

/** Lines between the marks, and what was counted, on the line after them. */
export function judge(lines: readonly string[]): Soak {
  const [begin, end] = [lines.indexOf(BEGIN), lines.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error('the soak left no marks');
  const worker = lines
    .slice(0, begin)
    .filter((line) => line.includes('testing'))
    .map((line) => COLLECTION.exec(line)?.[1])
    .at(-1);
  if (worker === undefined) throw new Error('the trace does not say which isolate is the worker');
  const traces = lines.slice(begin + 1, end);
  return {
    collections: traces.filter((line) => COLLECTION.exec(line)?.[1] === worker),
    deoptimisations: traces.filter((line) => /bailout|deoptimiz/.test(line)),
    ...(JSON.parse(lines[end + 1] ?? '') as Counted),
  };
}

/** The process. */
async function main(milliseconds: number, flows: number, cpu: number): Promise<void> {
  const worker = new StallWorker({ flows, cpu, watches: false });
  const memory = await worker.memory();
  const counters = new Float64Array(memory.counters[0]!);
  const count = (): Counted => ({
    frames: worker.figures.frames,
    created: counters[COUNTER.connections_created]!,
    expired: counters[COUNTER.connections_expired]!,
  });
  await sleep(SETTLE_MS);
  const before = count();
  writeSync(1, `${BEGIN}\n`);
  await Promise.race([sleep(milliseconds), worker.failed]);
  writeSync(1, `${END}\n`);
  const after = count();
  const counted: Counted = {
    frames: after.frames - before.frames,
    created: after.created - before.created,
    expired: after.expired - before.expired,
  };
  writeSync(1, `${JSON.stringify(counted)}\n`);
  await worker.stop();
}

if (require.main === module) {
  const [milliseconds = 0, flows = 0, cpu = 0] = process.argv.slice(2).map(Number);
  main(milliseconds, flows, cpu).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    process.exit(1);
  });
}
