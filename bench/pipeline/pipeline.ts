/**
 * The bench `pipeline`: nanoseconds a packet takes in the real pipeline. Four parts: NAT over IPv4
 * beside the same work in C on the same tables; every method and family beside NAT over IPv4, of
 * packets of existing connections (methods.ts) and of new ones (births.ts); two workers beside one
 * (workers.ts). In one run, in turns. It refuses to time contenders
 * that do not send the same bytes and count the same, and rows that send anything wrong.
 */
import { execFileSync } from 'node:child_process';
import { type MakePrefetcher, prefetchByReading } from '#xvs/table/prefetch';
import { tuneEngine } from '#xvs/worker/engine';
import { warmUp } from '#xvs/worker/warmUp';
import { lackOfMemory } from '../support/freeMemory';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { judgeGoal, type Target } from '../support/target';
import { measureBirths } from './births';
import { bytesOf, CContender, LOOPS } from './contender';
import { measureMethods, rowsOf } from './methods';
import { makeRow, type Row } from './row';
import { OPTIONS, readSettings, type Settings, WARM_UP_ROUNDS } from './settings';
import { measureWorkers } from './workers';
import { Workload } from './workload';
import { World } from './world';

export const summary =
  'the pipeline in memory: all methods, hits and new connections, beside C; two workers';
export const help = () => describeOptions(OPTIONS);

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Throws when xvs and either loop in C differ in a byte that was sent or a word of the tables. */
async function verify(world: World, workload: Workload, contender: CContender): Promise<void> {
  const { memory } = world;
  const sent = workload.record();
  const expected: readonly (readonly [string, Uint8Array])[] = [
    ['frames and descriptors', sent],
    ['connections', bytesOf(world.tables.connections.entries)],
    ['counters', bytesOf(memory.counters[0]!)],
    ['neighbours', bytesOf(memory.nextHops.neighbours)],
  ];
  for (const loop of LOOPS) {
    await contender.load();
    const result = await contender.verify(loop);
    let at = 0;
    for (const [what, bytes] of expected) {
      const theirs = result.subarray(at, at + bytes.length);
      if (Buffer.compare(theirs, bytes) !== 0) {
        const place = bytes.findIndex((byte, index) => byte !== theirs[index]);
        throw new Error(
          `${what}: xvs and C (${loop}) differ at byte ${place}: only equal work is timed`,
        );
      }
      at += bytes.length;
    }
    if (at !== result.length) throw new Error(`C (${loop}) sent other frames than xvs`);
  }
}

interface Times {
  readonly xvs: number[];
  readonly plain: number[];
  readonly prefetch: number[];
}

async function takeTurns(
  workload: Workload,
  contender: CContender,
  settings: Settings,
): Promise<Times> {
  const { packets } = settings;
  const times: Times = { xvs: [], plain: [], prefetch: [] };
  for (let round = 0; round < settings.rounds + WARM_UP_ROUNDS; round++) {
    const xvs = workload.run(packets);
    const plain = await contender.run('plain', packets);
    const prefetch = await contender.run('prefetch', packets);
    if (round < WARM_UP_ROUNDS) continue;
    times.xvs.push(xvs);
    times.plain.push(plain);
    times.prefetch.push(prefetch);
    const shown = [xvs, plain, prefetch].map((value) => value.toFixed(1));
    say(`  ${shown[0]} ns xvs, ${shown[1]} ns C plain, ${shown[2]} ns C prefetching`);
  }
  return times;
}

/** The addon is loaded only when it is asked for. */
function prefetcherOf(settings: Settings): MakePrefetcher {
  if (settings.prefetch === 'reading') return prefetchByReading;
  const { addon } = require('#xvs/port/addon') as typeof import('#xvs/port/addon');
  return addon.createPrefetcher;
}

interface Measured {
  readonly results: readonly Result[];
  readonly notes: readonly string[];
  readonly targets: readonly Target[];
}

/** Round by round: what changes the machine's speed meanwhile meets both. */
function compareByRound(row: Row, xvs: readonly number[], c: readonly number[]): string {
  const ratios = xvs.map((time, round) => time / c[round]!);
  const { min, median, max } = summarize('xvs / c', {}, 'times', ratios);
  const [low, middle, high] = [min, median, max].map((ratio) => ratio.toFixed(2));
  const what = `xvs / c, ${row.protocol}, ${row.flows} flows`;
  return `${what}, round by round: median ${middle} (${low} to ${high})`;
}

/** NAT over IPv4, xvs and C. */
async function measurePeer(row: Row, settings: Settings): Promise<Measured> {
  const { flows, protocol } = row;
  say(`${flows} flows, ${protocol}: making connections`);
  const world = new World(row, prefetcherOf(settings));
  const workload = new Workload(world);
  const contender = new CContender(world, workload.frames, settings.cpu);
  try {
    await verify(world, workload, contender);
    say(`${flows} flows, ${protocol}: xvs and C send the same bytes and count the same`);
    const times = await takeTurns(workload, contender, settings);
    if (world.host.delivered !== 0) throw new Error(`${world.host.delivered} frames not forwarded`);
    const make = (name: string, loop: string, values: readonly number[]) =>
      summarize(name, { flows, method: 'nat', protocol, loop }, 'ns/packet', values);
    const xvs = make('xvs', settings.prefetch, times.xvs);
    const plain = make('c', 'plain', times.plain);
    const prefetch = make('c', 'prefetch', times.prefetch);
    const isPlain = plain.median < prefetch.median;
    const [faster, slower] = isPlain ? [plain, prefetch] : [prefetch, plain];
    const note = compareByRound(row, times.xvs, isPlain ? times.plain : times.prefetch);
    const results = [xvs, faster, { ...slower, name: 'c-slower' }];
    return { results, notes: [note], targets: peerTargets(row, times) };
  } finally {
    contender.close();
  }
}

/** Memory for a flow, upper bounds: tables, frames, and C's copies of both. */
const PEER_BYTES = 640;
/** What is measured beside `peer`, the memory of a flow in each of its rows, and how. */
const PARTS = [
  ['methods', 448, measureMethods],
  ['births', 400, measureBirths],
  ['workers', 2400, measureWorkers],
] as const;

const HOT_FLOWS = 1024;
const COLD_FLOWS = 1_000_000;

/** A row's target, where there is one: hot beside the faster loop, cold beside prefetch. */
function peerTargets(row: Row, { xvs, plain, prefetch }: Times): Target[] {
  const isHot = row.flows === HOT_FLOWS;
  if (!isHot && row.flows !== COLD_FLOWS) return [];
  const faster = median(plain) < median(prefetch) ? plain : prefetch;
  const peer = isHot ? faster : prefetch;
  const ratios = xvs.map((time, round) => time / peer[round]!);
  const beside = isHot ? 'beside C' : 'beside C with prefetch';
  const what = `NAT hit, ${row.protocol}, ${row.flows} flows, ${beside}`;
  return [judgeGoal(isHot ? 'hot' : 'million', summarize('ratio', {}, 'x', ratios), what)];
}

function median(values: readonly number[]): number {
  return summarize('', {}, '', values).median;
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  const { cpu, parts } = settings;
  tuneEngine();
  // This thread only: V8's own threads may work elsewhere, as they do in the daemon.
  execFileSync('taskset', ['-p', '-c', String(cpu), String(process.pid)], { stdio: 'ignore' });
  const results: Result[] = [];
  const notes: string[] = [];
  const targets: Target[] = [];
  const missing: string[] = [];
  const keep = (measured: Measured) => {
    results.push(...measured.results);
    notes.push(...measured.notes);
    targets.push(...measured.targets);
  };
  // In this process only `peer` is measured, as a worker's own.
  if (parts.includes('peer')) warmUp(prefetcherOf(settings));
  for (const protocol of settings.protocols) {
    for (const flows of parts.includes('peer') ? settings.flows : []) {
      const row = makeRow('nat', 4, protocol, flows);
      const lack = lackOfMemory(`NAT beside C, ${flows} flows`, flows * PEER_BYTES);
      if (lack === null) keep(await measurePeer(row, settings));
      else missing.push(lack);
    }
    for (const flows of settings.rowFlows) {
      for (const [part, bytes, measure] of PARTS) {
        if (!parts.includes(part)) continue;
        const rows = part === 'workers' ? 1 : rowsOf(settings, protocol, flows).length;
        const lack = lackOfMemory(`${part}, ${flows} flows`, flows * bytes * rows);
        if (lack === null) keep(await measure(settings, protocol, flows, say));
        else missing.push(lack);
      }
    }
  }
  const machine = describeMachine('memory', 'none', {
    xvs: cpu,
    c: cpu,
    'second worker': settings.otherCpu,
  });
  return { bench: 'pipeline', machine, results, missing, notes, targets };
}
