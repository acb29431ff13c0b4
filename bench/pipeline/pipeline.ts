/**
 * The bench `pipeline`: nanoseconds a packet of an existing NAT connection takes in the real
 * pipeline, beside the same work in C on the same tables, in one run, in turns. It refuses to
 * time contenders that do not send the same bytes and count the same.
 */
import { execFileSync } from 'node:child_process';
import { tuneEngine } from '#xvs/worker/engine';
import { describeOptions, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { bytesOf, CContender, LOOPS } from './contender';
import { BATCH_FRAMES, OPTIONS, readSettings, type Settings } from './settings';
import { makeFrames, Workload } from './workload';
import { World } from './world';

export const summary = 'ns per packet of the pipeline in memory, beside the same work in C';
export const help = () => describeOptions(OPTIONS);

/** Packets before the first round, in passes of a round each. */
const WARM_UP_ROUNDS = 3;

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
          `${what}: xvs and C (${loop}) differ at byte ${place}: nothing is timed that is not equal`,
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
  const packets = Math.ceil(settings.packets / BATCH_FRAMES) * BATCH_FRAMES;
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

async function measure(flows: number, settings: Settings): Promise<Result[]> {
  say(`${flows} flows: making connections`);
  const world = new World(flows, settings.protocol);
  const frames = makeFrames(world);
  const workload = new Workload(world, frames);
  const contender = new CContender(world, frames, settings.cpu);
  try {
    await verify(world, workload, contender);
    say(`${flows} flows: xvs and C send the same bytes and count the same`);
    const times = await takeTurns(workload, contender, settings);
    if (world.host.delivered !== 0) throw new Error(`${world.host.delivered} frames not forwarded`);
    const parameters = { flows, method: 'nat', protocol: settings.protocol };
    const make = (name: string, loop: string, values: readonly number[]) =>
      summarize(name, { ...parameters, ...(loop && { loop }) }, 'ns/packet', values);
    const xvs = make('xvs', '', times.xvs);
    const plain = make('c', 'plain', times.plain);
    const prefetch = make('c', 'prefetch', times.prefetch);
    const [faster, slower] = plain.median < prefetch.median ? [plain, prefetch] : [prefetch, plain];
    say(`${flows} flows: xvs takes ${(xvs.median / faster.median).toFixed(2)} times C's time`);
    return [xvs, faster, { ...slower, name: 'c-slower' }];
  } finally {
    contender.close();
  }
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  const { cpu } = settings;
  tuneEngine();
  // This thread only: V8's own threads may work elsewhere, as they do in the daemon.
  execFileSync('taskset', ['-p', '-c', String(cpu), String(process.pid)], { stdio: 'ignore' });
  const results: Result[] = [];
  for (const flows of settings.flows) results.push(...(await measure(flows, settings)));
  const machine = describeMachine('memory', 'none', { xvs: cpu, c: cpu });
  return { bench: 'pipeline', machine, results, missing: [] };
}
