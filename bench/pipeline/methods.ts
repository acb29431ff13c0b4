/**
 * Every method and family beside NAT over IPv4, round by round. Each row has a process of its own
 * that has warmed up as a worker does, so a row is what a worker costs that serves one kind of
 * service; or all share one, as where traffic is mixed.
 */
import { join } from 'node:path';
import { AskedProcess } from '../support/askedProcess';
import { type Result, summarize } from '../support/report';
import { formatRatio } from '../support/samples';
import { judge, type Target } from '../support/target';
import { makeRow, type Protocol, type Row } from './row';
import type { RowCommand } from './rowProcess';
import { type Settings, WARM_UP_ROUNDS } from './settings';

/** A process that measures rows. */
type RowProcess = AskedProcess<RowCommand, number>;

/** No method shall cost more beside NAT. */
const LIMIT = { relation: 'at most', wanted: 1.5, unit: 'x' } as const;
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
  readonly targets: readonly Target[];
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
  const results: Result[] = [];
  const notes: string[] = [];
  const targets: Target[] = [];
  for (const { name, flows, protocol, family } of rows) {
    const own = times.get(name)!;
    const parameters = { flows, protocol, process: sharesProcess ? 'shared' : 'own' };
    results.push(summarize(name, parameters, 'ns/packet', own));
    const where = `${protocol}, ${flows} flows`;
    // Beside NAT over IPv4, and what the method costs beside NAT of its own family.
    const beside = new Set([rows[0]!, rows.find((other) => isNatOf(other, family)) ?? rows[0]!]);
    for (const other of beside) {
      if (other.name === name) continue;
      const ratios = own.map((time, round) => time / times.get(other.name)![round]!);
      const ratio = summarize(name, {}, 'ratio', ratios);
      const what = `${name} / ${other.name}, ${where}`;
      notes.push(`${what}, round by round: ${formatRatio(ratio)}`);
      if (isNatOf(other, family)) targets.push(judge(LIMIT, what, ratio));
    }
  }
  return { results, notes, targets };
}

function isNatOf({ method, family }: Row, wanted: Row['family']): boolean {
  return method === 'nat' && family === wanted;
}
