/**
 * The bench `connections`: how many new connections a second one worker makes, with what ends
 * meanwhile, by scheduler and by how full the table is; and the memory of one connection.
 */
import { join } from 'node:path';
import { makeRow } from '../pipeline/row';
import { AskedProcess } from '../support/askedProcess';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report, type Result } from '../support/report';
import { judgeGoal, type Target } from '../support/target';
import type { MemoryCommand, MemoryMeasured } from './memoryProcess';
import { measureRates, type RateRow } from './rates';
import { OPTIONS, readSettings, type Settings } from './settings';

export const summary = 'new connections a second of a worker, by scheduler; memory of one';
export const help = () => describeOptions(OPTIONS);

/** For which the memory of a connection is a target. */
const CAPACITY_WANTED = 10_000_000;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function rowsOf(settings: Settings): RateRow[] {
  const { method, family, protocol, capacity, servers } = settings;
  const row = makeRow(method, family, protocol, 1);
  return settings.full.flatMap((full) =>
    settings.schedulers.map((scheduler) => ({
      name: `${scheduler}, ${full} % full`,
      parameters: { method, family, protocol, capacity, servers },
      capacity,
      options: { row, scheduler, servers, live: Math.round((capacity * full) / 100) },
    })),
  );
}

function rateTarget(rate: Result): Target {
  return judgeGoal('births', rate, `new connections of a worker, ${rate.name}`);
}

/** Fewer connections say nothing: what does not grow with the table weighs on each. */
function memoryTarget(capacity: number, { byLayout, resident }: MemoryMeasured): Target {
  const isTelling = capacity >= CAPACITY_WANTED;
  const what = `memory of an IPv4 connection, capacity ${capacity.toLocaleString('en-US')}`;
  const remark = `${byLayout.toFixed(1)} allocated, ${resident.toFixed(1)} resident when full`;
  return judgeGoal('memory', isTelling ? Math.max(byLayout, resident) : null, what, remark);
}

async function measureMemory(capacity: number): Promise<MemoryMeasured> {
  say(`filling a table of ${capacity} connections`);
  const child = new AskedProcess<MemoryCommand, MemoryMeasured>(
    'memory of a connection',
    join(__dirname, 'memoryProcess.js'),
  );
  try {
    return await child.ask({ capacity });
  } finally {
    child.close();
  }
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  const results: Result[] = [];
  const targets: Target[] = [];
  if (settings.parts.includes('rates')) {
    const rates = await measureRates(rowsOf(settings), settings, say);
    results.push(...rates);
    const both = rates.filter(({ parameters }) => parameters['step'] === 'both');
    targets.push(...both.map(rateTarget));
  }
  if (settings.parts.includes('memory')) {
    const { memoryCapacity } = settings;
    const measured = await measureMemory(memoryCapacity);
    results.push(...measured.results);
    targets.push(memoryTarget(memoryCapacity, measured));
  }
  const machine = describeMachine('memory', 'none', { xvs: settings.cpu });
  return { bench: 'connections', machine, results, missing: [], targets };
}
