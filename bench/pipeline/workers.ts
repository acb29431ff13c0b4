/**
 * Two workers beside one, on one table: threads on two CPUs, each with flows of its own, in turns
 * alone and together. Two more pairs show what the machine's two CPUs give, which share caches,
 * memory and perhaps a core: workers with a table each, which have nothing to do with each other;
 * and a loop that touches no memory. The difference between the ratios with shared and with own
 * tables is what sharing costs.
 */
import { type Result, summarize } from '../support/report';
import { formatRatio } from '../support/samples';
import { judgeGoal, type Target } from '../support/target';
import { BenchThread } from './benchThread';
import { makeRow, type Protocol } from './row';
import type { Settings } from './settings';
import type { TableWork, Work, WorkerAnswer } from './workerContract';
import { worldMemory } from './world';

const WARM_UP_ROUNDS = 3;
/** So many times what a turn has elsewhere: longer than it takes to tell both to begin. */
const LONGER = 2;
/** Rounds begin no later than this after the first: the bench ends on a slow machine too. */
const ROUNDS_MS_MAX = 180_000;
/** Connections cost as much as so many packets, steps of arithmetic as little. */
const PACKETS_A_BIRTH = 4;
const STEPS_A_PACKET = 16;

/** Two workers at one work. */
interface Pair {
  readonly name: string;
  readonly work: Work;
  /** Place of the work in both threads. */
  readonly at: number;
  /** Else it says what the machine gives. */
  readonly isTarget: boolean;
  /** Millions a second, of one worker and of both. */
  readonly alone: number[];
  readonly together: number[];
  /** In each turn of both: connections not made, see WorkerAnswer. */
  readonly busy: number[];
}

type Threads = readonly [BenchThread, BenchThread];

const makePair = (work: Work, at: number, name: string, isTarget: boolean): Pair => ({
  work,
  at,
  name,
  isTarget,
  alone: [],
  together: [],
  busy: [],
});

/** Tables and flows of both, for one work. */
async function preparePair(
  threads: Threads,
  work: TableWork,
  tables: 'shared' | 'own',
  protocol: Protocol,
  flows: number,
): Promise<void> {
  const row = makeRow('nat', 4, protocol, flows);
  // Twice as much as there will be: a table that is half full.
  const room = { ...row, flows: work === 'births' ? Math.max(2 * flows, 65536) : flows };
  const shared = tables === 'shared' ? worldMemory(room, 2) : null;
  for (const [number, thread] of threads.entries()) {
    const memory = shared ?? worldMemory(room, 1);
    // One after the other: the first makes the service.
    await thread.prepare({ work, row, memory, worker: shared === null ? 0 : number });
  }
}

function countOf(work: Work, packets: number): number {
  if (work === 'births') return packets / PACKETS_A_BIRTH;
  return work === 'hits' ? packets : packets * STEPS_A_PACKET;
}

async function measureRound([first, second]: Threads, pair: Pair, packets: number): Promise<void> {
  const command = { at: pair.at, count: countOf(pair.work, packets) };
  const rate = ({ nanoseconds }: WorkerAnswer) => 1000 / nanoseconds;
  pair.alone.push((rate(await first.run(command)) + rate(await second.run(command))) / 2);
  const both = await Promise.all([first.run(command), second.run(command)]);
  pair.together.push(rate(both[0]) + rate(both[1]));
  pair.busy.push(both[0].busy + both[1].busy);
}

interface Measured {
  readonly results: readonly Result[];
  readonly notes: readonly string[];
  readonly targets: readonly Target[];
}

type Say = (text: string) => void;

async function openThreads(settings: Settings, say: Say): Promise<Threads> {
  const first = new BenchThread(settings.cpu);
  say(`two workers: the one on CPU ${settings.cpu} warms up`);
  // One after the other: V8's flags, which the warm-up sets, are the process's.
  await first.ready();
  const second = new BenchThread(settings.otherCpu);
  say(`two workers: the one on CPU ${settings.otherCpu} warms up`);
  await second.ready();
  return [first, second];
}

async function preparePairs(
  threads: Threads,
  protocol: Protocol,
  flows: number,
  say: Say,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (const work of ['hits', 'births'] as const) {
    for (const tables of ['shared', 'own'] as const) {
      say(`two workers, ${work}, ${tables} table, ${flows} flows each: making connections`);
      await preparePair(threads, work, tables, protocol, flows);
      const isTarget = tables === 'shared';
      pairs.push(makePair(work, pairs.length, `${work}, ${tables} table`, isTarget));
    }
  }
  return [...pairs, makePair('arithmetic', -1, 'arithmetic, no memory', false)];
}

/** Returns how many rounds count. */
async function takeTurns(
  threads: Threads,
  pairs: readonly Pair[],
  { rounds, packets }: Settings,
  say: Say,
): Promise<number> {
  const end = performance.now() + ROUNDS_MS_MAX;
  for (let round = 1 - WARM_UP_ROUNDS; round <= rounds; round++) {
    if (round > 1 && performance.now() > end) return round - 1;
    for (const pair of pairs) await measureRound(threads, pair, packets * LONGER);
    const label = round > 0 ? `round ${round}/${rounds}` : 'a round to warm up';
    say(`  ${label}: ${pairs.map(describe).join('; ')}`);
    if (round > 0) continue;
    for (const { alone, together, busy } of pairs) alone.length = together.length = busy.length = 0;
  }
  return rounds;
}

export async function measureWorkers(
  settings: Settings,
  protocol: Protocol,
  flows: number,
  say: Say,
): Promise<Measured> {
  const threads = await openThreads(settings, say);
  try {
    const pairs = await preparePairs(threads, protocol, flows, say);
    const rounds = await takeTurns(threads, pairs, settings, say);
    return summarizePairs(pairs, { flows, protocol }, rounds, settings.rounds);
  } finally {
    for (const thread of threads) await thread.close();
  }
}

function ratiosOf({ alone, together }: Pair): number[] {
  return together.map((rate, round) => rate / alone[round]!);
}

function describe(pair: Pair): string {
  return `${pair.name} ${ratiosOf(pair).at(-1)!.toFixed(2)}`;
}

function summarizePairs(
  pairs: readonly Pair[],
  row: { readonly flows: number; readonly protocol: Protocol },
  rounds: number,
  wantedRounds: number,
): Measured {
  const results: Result[] = [];
  const notes: string[] = [];
  const targets: Target[] = [];
  if (rounds < wantedRounds) notes.push(`${rounds} of ${wantedRounds} rounds: time was over`);
  for (const pair of pairs) {
    const { name, isTarget, alone, together } = pair;
    const add = (workers: number, values: readonly number[]) =>
      results.push(summarize(name, { workers, ...row }, 'million/second', values));
    add(1, alone);
    add(2, together);
    const ratio = summarize(name, {}, 'x', ratiosOf(pair));
    const what = `two workers against one, ${name}, ${row.flows} flows each`;
    if (isTarget) targets.push(judgeGoal('workers', ratio, what));
    else notes.push(`${what}: ${formatRatio(ratio)}: what the machine gives`);
    const busy = pair.busy.reduce((sum, count) => sum + count, 0);
    if (busy > 0) notes.push(`${what}: ${busy} not made: the other held a lock, without its CPU`);
  }
  return { results, notes, targets };
}
