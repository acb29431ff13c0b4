/**
 * Every method and family beside NAT over IPv4, round by round. Each row has a process of its own
 * that has warmed up as a worker does, so a row is what a worker costs that serves one kind of
 * service; or all share one, as where traffic is mixed.
 */
import { join } from 'node:path';
import { AskedProcess } from '../support/askedProcess';
import { type Result, summarize } from '../support/report';
import { makeRow, type Protocol, type Row } from './row';
import type { RowCommand } from './rowProcess';
import { type Settings, WARM_UP_ROUNDS } from './settings';

/** A process that measures rows. */
type RowProcess = AskedProcess<RowCommand, number>;

const MODULE = join(__dirname, 'rowProcess.js');

/** The first one is what the others are compared with. */
export function rowsOf(settings: Settings, protocol: Protocol, flows: number): Row[] {
  const base = makeRow('nat', 4, protocol, flows);
  const rows = settings.families.flatMap((family) =>
    settings.methods.flatMap((method) =>
      (method === 'tunnel' ? settings.tunnels : (['ipip'] as const)).map((tunnel) =>
        makeRow(method, family, protocol, flows, tunnel),
      ),
    ),
  );
  return [base, ...rows.filter(({ name }) => name !== base.name)];
}

async function open(
  rows: readonly Row[],
  settings: Settings,
  processes: RowProcess[],
): Promise<Map<string, RowProcess>> {
  const { cpu, prefetch, sharesProcess } = settings;
  const byRow = new Map<string, RowProcess>();
  for (const row of rows) {
    let own = sharesProcess ? processes[0] : undefined;
    if (own === undefined) {
      own = new AskedProcess<RowCommand, number>(row.name, MODULE);
      processes.push(own);
      await own.ask({ command: 'prepare', cpu, prefetch });
    }
    await own.ask({ command: 'open', row });
    byRow.set(row.name, own);
  }
  return byRow;
}

interface Measured {
  readonly results: readonly Result[];
  readonly notes: readonly string[];
}

/** Of one protocol. */
export async function measureMethods(
  settings: Settings,
  protocol: Protocol,
  flows: number,
  say: (text: string) => void,
): Promise<Measured> {
  const rows = rowsOf(settings, protocol, flows);
  const processes: RowProcess[] = [];
  const times = new Map<string, number[]>(rows.map(({ name }) => [name, []]));
  try {
    say(`${flows} flows, ${protocol}: making connections of ${rows.length} rows`);
    const byRow = await open(rows, settings, processes);
    for (let round = 0; round < settings.rounds + WARM_UP_ROUNDS; round++) {
      const shown: string[] = [];
      for (const { name } of rows) {
        const { packets } = settings;
        const taken = await byRow.get(name)!.ask({ command: 'run', name, packets });
        shown.push(`${taken.toFixed(1)} ${name}`);
        if (round >= WARM_UP_ROUNDS) times.get(name)!.push(taken);
      }
      say(`  ns: ${shown.join(', ')}`);
    }
  } finally {
    for (const each of processes) each.close();
  }
  return summarizeRows(rows, times, settings);
}

/** Ratios round by round: what changes the machine's speed meanwhile meets both. */
function summarizeRows(
  rows: readonly Row[],
  times: ReadonlyMap<string, readonly number[]>,
  { sharesProcess }: Settings,
): Measured {
  const base = times.get(rows[0]!.name)!;
  const results: Result[] = [];
  const notes: string[] = [];
  for (const { name, flows, protocol } of rows) {
    const own = times.get(name)!;
    const parameters = { flows, protocol, process: sharesProcess ? 'shared' : 'own' };
    results.push(summarize(name, parameters, 'ns/packet', own));
    if (name === rows[0]!.name) continue;
    const ratios = own.map((time, round) => time / base[round]!);
    const { min, median, max } = summarize(name, {}, 'ratio', ratios);
    const [low, middle, high] = [min, median, max].map((ratio) => ratio.toFixed(2));
    const where = `${protocol}, ${flows} flows`;
    notes.push(
      `${name} / ${rows[0]!.name}, ${where}, round by round: median ${middle} (${low} to ${high})`,
    );
  }
  return { results, notes };
}
