/**
 * Bench `stages`: what it costs that a worker's stages are always timed. The pipeline bench's own
 * traffic, on the same tables and in the same process, now with the stopwatch and now without,
 * round by round; and what the addon does for it in each burst: two times more than a worker needs.
 */
import { execFileSync } from 'node:child_process';
import { BURST_MAX } from '#xvs/port/port';
import { CLOCK_NANOSECONDS, CLOCK_TRANSMIT } from '#xvs/port/umem';
import type { MakePrefetcher } from '#xvs/table/prefetch';
import { tuneEngine } from '#xvs/worker/engine';
import { Stopwatch } from '#xvs/worker/stopwatch';
import { warmUp } from '#xvs/worker/warmUp';
import type { BenchPort } from '../pipeline/benchPort';
import { makeRow, type Row } from '../pipeline/row';
import { Workload } from '../pipeline/workload';
import { World } from '../pipeline/world';
import { compileProgram } from '../support/compile';
import { choiceOption, describeOptions, numberOption, Options } from '../support/options';
import { describeMachine, type Report, summarize } from '../support/report';
import { judgeGoal } from '../support/target';

export const summary = 'what timing the stages of a worker costs a packet';

const OPTIONS = {
  flows: choiceOption('1024', ['1024', '65536', '1000000'], false, 'connections'),
  rounds: numberOption(41, 3, 1000, 'rounds, each with and without'),
  packets: numberOption(131_072, 65_536, 16_777_216, 'frames of a round'),
  cpu: numberOption(1, 0, 1023, 'CPU of all'),
};
export const help = () => describeOptions(OPTIONS);

const WARM_UP_ROUNDS = 12;
/** In which the addon's clock is read, in C++. */
const BURSTS = 1_000_000;
/** What the clock goes on by; any number does. */
const STEP_NANOSECONDS = 700;

/** Times its stages, or does not. */
class TimedWorld extends World {
  isTimed = false;
  readonly #stopwatch: Stopwatch;

  constructor(row: Row, prefetch: MakePrefetcher) {
    super(row, prefetch);
    this.#stopwatch = new Stopwatch(this.umem.clock, this.tables.stages[0]!);
  }

  override burst(side: BenchPort): void {
    if (this.isTimed) this.#timedBurst(side);
    else super.burst(side);
  }

  /** As Loop.round has it; what the addon would write into the clock is written here. */
  #timedBurst({ port }: BenchPort): void {
    const stopwatch = this.#stopwatch;
    const { clock } = this.umem;
    const count = port.receive();
    clock[CLOCK_NANOSECONDS] = (clock[CLOCK_NANOSECONDS]! + STEP_NANOSECONDS) | 0;
    stopwatch.received(count);
    this.pipeline.process(port, count);
    let taken = 0;
    for (let out = 0; out < this.ports.length; out++) {
      const { port } = this.ports[out]!;
      if (port.txCount === 0) continue;
      clock[CLOCK_TRANSMIT] = (clock[CLOCK_NANOSECONDS]! + STEP_NANOSECONDS) | 0;
      port.transmit();
      clock[CLOCK_NANOSECONDS] = (clock[CLOCK_TRANSMIT]! + STEP_NANOSECONDS) | 0;
      if (taken === 0) stopwatch.processed();
      stopwatch.transmitted();
      taken++;
    }
  }
}

interface Times {
  readonly without: number[];
  readonly with: number[];
}

function takeTurns(row: Row, rounds: number, packets: number): Times {
  const { addon } = require('#xvs/port/addon') as typeof import('#xvs/port/addon');
  warmUp(addon.createPrefetcher);
  const world = new TimedWorld(row, addon.createPrefetcher);
  const workload = new Workload(world);
  const times: Times = { without: [], with: [] };
  for (let round = 0; round < rounds + WARM_UP_ROUNDS; round++) {
    // Who comes first changes: the second one finds warmer caches.
    for (const isTimed of round % 2 === 0 ? [false, true] : [true, false]) {
      world.isTimed = isTimed;
      const nanoseconds = workload.run(packets);
      if (round >= WARM_UP_ROUNDS) times[isTimed ? 'with' : 'without'].push(nanoseconds);
    }
  }
  return times;
}

export async function run(argv: readonly string[]): Promise<Report> {
  const options = new Options(OPTIONS, argv);
  const [cpu, rounds] = [options.number('cpu'), options.number('rounds')];
  const flows = Number(options.text('flows'));
  tuneEngine();
  // This thread only: V8's own threads may work elsewhere, as they do in the daemon.
  execFileSync('taskset', ['-p', '-c', String(cpu), String(process.pid)], { stdio: 'ignore' });
  const program = compileProgram('bench/stages/readClock.cc');
  const readClock = () =>
    Number(execFileSync('taskset', ['-c', String(cpu), program, String(BURSTS)]));
  const readings = [readClock()];
  const times = takeTurns(makeRow('nat', 4, 'udp', flows), rounds, options.number('packets'));
  readings.push(readClock());
  const inAddon = readings.map((each) => each / BURST_MAX);
  const differences = times.with.map((time, round) => time - times.without[round]!);
  const parameters = { flows, burst: BURST_MAX };
  const whole = summarize('pipeline, stages not timed', parameters, 'ns/packet', times.without);
  const timed = summarize('pipeline, stages timed', parameters, 'ns/packet', times.with);
  const inScript = summarize('stopwatch', parameters, 'ns/packet', differences);
  const inClock = summarize('reading the clock', parameters, 'ns/packet', inAddon);
  const share = (Math.max(0, inScript.median) + inClock.median) / whole.median;
  const remark = `medians, bursts of ${BURST_MAX}`;
  return {
    bench: 'stages',
    machine: describeMachine('memory', 'none', { all: cpu }),
    results: [whole, timed, inScript, inClock],
    missing: [],
    targets: [judgeGoal('stages', share * 100, 'stage timing, of the pipeline', remark)],
  };
}
