/**
 * The bench `trace`: what `xvs trace` costs a worker, off and on. NAT over IPv4 as in the pipeline
 * bench, in one process that has warmed up as a worker does; the ways take turns, and each is
 * compared with the pipeline alone in the same round.
 */
import { execFileSync } from 'node:child_process';
import { parseFilter } from '#xvs/control/trace/filterParse';
import { compileFilter, writeProgram } from '#xvs/control/trace/filterProgram';
import { formatIpv4 } from '#xvs/net/address';
import { addon } from '#xvs/port/addon';
import { TRACE_CONTROL, TRACE_RING } from '#xvs/table/trace';
import { tuneEngine } from '#xvs/worker/engine';
import { Tracer } from '#xvs/worker/trace';
import { warmUp } from '#xvs/worker/warmUp';
import type { BenchPort } from '../pipeline/benchPort';
import { FLOW } from '../pipeline/frame';
import { makeRow } from '../pipeline/row';
import { BATCH_FRAMES, WARM_UP_ROUNDS } from '../pipeline/settings';
import { Workload } from '../pipeline/workload';
import { World } from '../pipeline/world';
import { describeOptions, numberOption, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';

export const summary = 'ns per packet that xvs trace costs: off, on for one flow, on for all';

const OPTIONS = {
  flows: numberOption(1024, 1024, 1_000_000, 'connections; one of them is traced'),
  rounds: numberOption(21, 1, 1000, 'rounds of each way'),
  packets: numberOption(262144, 65536, 16777216, 'frames a round, rounded to whole batches'),
  cpu: numberOption(1, 0, 1023, 'CPU for all'),
};
export const help = () => describeOptions(OPTIONS);

const SNAP_BYTES = 2048;
const ALONE = 'pipeline alone';

/** A worker with the loop's question, or without. */
class TracedWorld extends World {
  readonly tracer = new Tracer(
    this.tables,
    0,
    this.umem,
    this.ports.map(({ port }) => port),
    this.pipeline,
  );
  isAsked = false;
  #sessions = 0;

  override burst(side: BenchPort): void {
    if (!this.isAsked) {
      super.burst(side);
      return;
    }
    const { port } = side;
    const count = port.receive();
    if (this.tracer.isOff) this.pipeline.process(port, count);
    else this.tracer.process(port, count);
    this.ports[0].port.transmit();
    this.ports[1].port.transmit();
  }

  /** Begins a session with an empty ring; null: off. */
  trace(filter: string | null): void {
    const { words } = this.tables.trace;
    words[TRACE_CONTROL.at.session] = 0;
    if (filter === null) return;
    writeProgram(this.tables.trace, compileFilter(parseFilter(filter)));
    words[TRACE_CONTROL.at.snapBytes] = SNAP_BYTES;
    const ring = this.tables.trace.ring(0);
    words[ring + TRACE_RING.at.tail] = words[ring + TRACE_RING.at.head]!;
    this.#sessions++;
    words[TRACE_CONTROL.at.session] = this.#sessions;
  }

  /** Slots that were written since the session began, and packets that found none. */
  get kept(): { slots: number; lost: number } {
    const { words } = this.tables.trace;
    const ring = this.tables.trace.ring(0);
    const slots = (words[ring + TRACE_RING.at.head]! - words[ring + TRACE_RING.at.tail]!) | 0;
    return { slots, lost: words[ring + TRACE_RING.at.lost]! };
  }
}

/** Of the first flow. */
function filterOf(world: TracedWorld): string {
  const { words } = world.flows;
  const at = world.flows.at(0);
  const client = formatIpv4(words[at + FLOW.client]!);
  return `udp and host ${client} and port ${words[at + FLOW.clientPort]}`;
}

interface Way {
  readonly name: string;
  readonly isAsked: boolean;
  readonly filter: string | null;
  /** Nothing, some or all of the packets are wanted. */
  readonly wants: 'nothing' | 'some' | 'all';
}

function waysOf(world: TracedWorld, flows: number): Way[] {
  const wanted = 'nothing';
  return [
    { name: ALONE, isAsked: false, filter: null, wants: wanted },
    { name: 'trace off', isAsked: true, filter: null, wants: wanted },
    { name: 'on, nothing fits', isAsked: true, filter: 'udp and host 192.0.2.1', wants: wanted },
    {
      name: `on, one flow of ${flows}`,
      isAsked: true,
      filter: filterOf(world),
      wants: 'some',
    },
    { name: 'on, everything fits', isAsked: true, filter: '', wants: 'all' },
  ];
}

/** One round of one way; throws when it has not seen what it should. */
function measure(world: TracedWorld, workload: Workload, way: Way, packets: number): number {
  world.trace(way.filter);
  world.isAsked = way.isAsked;
  const lost = world.kept.lost;
  const nanoseconds = workload.run(packets);
  const seen = world.kept.slots / 2 + ((world.kept.lost - lost) | 0);
  world.trace(null);
  const isRight = { nothing: seen === 0, some: seen > 0 && seen < packets, all: seen === packets };
  if (way.filter !== null && !isRight[way.wants]) {
    throw new Error(`${way.name}: ${seen} of ${packets} packets were seen`);
  }
  return nanoseconds;
}

export async function run(argv: readonly string[]): Promise<Report> {
  const options = new Options(OPTIONS, argv);
  const [flows, cpu] = [options.number('flows'), options.number('cpu')];
  const packets = Math.ceil(options.number('packets') / BATCH_FRAMES) * BATCH_FRAMES;
  // This thread only: V8's own threads may work elsewhere, as they do in the daemon.
  execFileSync('taskset', ['-p', '-c', String(cpu), String(process.pid)], { stdio: 'ignore' });
  tuneEngine();
  warmUp(addon.createPrefetcher);
  const world = new TracedWorld(makeRow('nat', 4, 'udp', flows), addon.createPrefetcher);
  const workload = new Workload(world);
  const ways = waysOf(world, flows);
  const times = new Map<string, number[]>(ways.map(({ name }) => [name, []]));
  for (let round = 0; round < options.number('rounds') + WARM_UP_ROUNDS; round++) {
    const shown = ways.map((way) => {
      const taken = measure(world, workload, way, packets);
      if (round >= WARM_UP_ROUNDS) times.get(way.name)!.push(taken);
      return `${taken.toFixed(1)} ${way.name}`;
    });
    process.stderr.write(`  ns: ${shown.join(', ')}\n`);
  }
  return {
    bench: 'trace',
    machine: describeMachine('memory', 'none', { all: cpu }),
    ...summarizeWays(times, flows),
    missing: [],
  };
}

/** Ratios round by round: what changes the machine's speed meanwhile meets both. */
function summarizeWays(
  times: ReadonlyMap<string, readonly number[]>,
  flows: number,
): Pick<Report, 'results' | 'notes'> {
  const alone = times.get(ALONE)!;
  const results: Result[] = [];
  const notes: string[] = [];
  for (const [name, own] of times) {
    results.push(summarize(name, { flows }, 'ns/packet', own));
    if (name === ALONE) continue;
    const ratios = own.map((time, round) => time / alone[round]!);
    const { min, median, max } = summarize(name, {}, 'ratio', ratios);
    const [low, middle, high] = [min, median, max].map((ratio) => ratio.toFixed(3));
    notes.push(`${name} / ${ALONE}, round by round: median ${middle} (${low} to ${high})`);
  }
  return { results, notes };
}
