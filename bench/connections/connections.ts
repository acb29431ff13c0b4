/**
 * The bench `connections`: how many new connections a second one worker makes, with what ends
 * meanwhile, by scheduler and by how full the table is; and the memory of one connection.
 */
import { join } from 'node:path';
import { makeRow } from '../pipeline/row';
import { AskedProcess } from '../support/askedProcess';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report, type Result } from '../support/report';
import { formatTarget } from '../support/target';
import type { MemoryCommand, MemoryMeasured } from './memoryProcess';
import { measureRates, type RateRow } from './rates';
import { OPTIONS, readSettings, type Settings } from './settings';

export const summary = 'new connections a second of a worker, by scheduler; memory of one';
export const help = () => describeOptions(OPTIONS);

const RATE_WANTED = 2_000_000;
const BYTES_WANTED = 96;

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

function rateTarget({ name, median }: Result): string {
  return formatTarget({
    what: `new connections of a worker, ${name}`,
    wanted: `at least ${RATE_WANTED.toLocaleString('en-US')} a second`,
    measured: Math.round(median).toLocaleString('en-US'),
    isMet: median >= RATE_WANTED,
  });
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
  const notes: string[] = [];
  if (settings.parts.includes('rates')) {
    const rates = await measureRates(rowsOf(settings), settings, say);
    results.push(...rates);
    notes.push(...rates.filter(({ parameters }) => parameters['step'] === 'both').map(rateTarget));
  }
  if (settings.parts.includes('memory')) {
    const { memoryCapacity } = settings;
    const measured = await measureMemory(memoryCapacity);
    results.push(...measured.results);
    const { byLayout, resident } = measured;
    notes.push(
      formatTarget({
        what: `memory of an IPv4 connection, capacity ${memoryCapacity.toLocaleString('en-US')}`,
        wanted: `at most ${BYTES_WANTED} bytes`,
        measured: `${byLayout.toFixed(1)} allocated, ${resident.toFixed(1)} resident when full`,
        isMet: Math.max(byLayout, resident) <= BYTES_WANTED,
      }),
    );
  }
  const machine = describeMachine('memory', 'none', { xvs: settings.cpu });
  return { bench: 'connections', machine, results, missing: [], notes };
}
