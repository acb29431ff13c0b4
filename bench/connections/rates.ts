/**
 * New connections a second of one worker, row by row in turns: a process each, whose table is as
 * full as the row says and stays so.
 */
import { join } from 'node:path';
import { AskedProcess } from '../support/askedProcess';
import { type Result, summarize } from '../support/report';
import type { ChurnOptions, ChurnTimes } from './churn';
import type { ChurnCommand } from './churnProcess';

/** Rounds before those that count. */
const WARM_UP_ROUNDS = 3;

export interface RateRow {
  readonly name: string;
  readonly parameters: Result['parameters'];
  readonly capacity: number;
  readonly options: ChurnOptions;
}

interface Rounds {
  readonly rounds: number;
  readonly connections: number;
  readonly cpu: number;
}

type ChurnProcess = AskedProcess<ChurnCommand, ChurnTimes>;

const MODULE = join(__dirname, 'churnProcess.js');

async function open(row: RateRow, cpu: number, opened: ChurnProcess[]): Promise<void> {
  const child: ChurnProcess = new AskedProcess(row.name, MODULE);
  opened.push(child);
  await child.ask({ command: 'prepare', cpu });
  await child.ask({ command: 'open', capacity: row.capacity, options: row.options });
}

/** Of each row three results: connections a second, then ns of a birth and of an end. */
export async function measureRates(
  rows: readonly RateRow[],
  { rounds, connections, cpu }: Rounds,
  say: (text: string) => void,
): Promise<Result[]> {
  const processes: ChurnProcess[] = [];
  const times: ChurnTimes[][] = rows.map(() => []);
  try {
    for (const row of rows) {
      say(`${row.name}: filling the table`);
      await open(row, cpu, processes);
    }
    for (let round = 0; round < rounds + WARM_UP_ROUNDS; round++) {
      for (const [at, row] of rows.entries()) {
        const taken = await processes[at]!.ask({ command: 'run', connections });
        const [birth, end] = [taken.birth, taken.end].map((each) => each.toFixed(0));
        say(`  ${row.name}: ${birth} ns to begin, ${end} ns to end`);
        if (round >= WARM_UP_ROUNDS) times[at]!.push(taken);
      }
    }
  } finally {
    for (const child of processes) child.close();
  }
  return rows.flatMap((row, at) => resultsOf(row, times[at]!));
}

function resultsOf({ name, parameters }: RateRow, times: readonly ChurnTimes[]): Result[] {
  const make = (step: string, unit: string, values: readonly number[]) =>
    summarize(name, { ...parameters, step }, unit, values);
  return [
    make(
      'both',
      'connections/second',
      times.map(({ birth, end }) => 1e9 / (birth + end)),
    ),
    make(
      'begin',
      'ns',
      times.map(({ birth }) => birth),
    ),
    make(
      'end',
      'ns',
      times.map(({ end }) => end),
    ),
  ];
}
