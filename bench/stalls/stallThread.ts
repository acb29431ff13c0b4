/**
 * The worker of the stalls bench: the real loop in a thread of its own, pinned, made ready as a
 * worker makes itself ready, at full speed on frames in memory. Measures each round.
 *
 * A round that took long although the thread itself ran only a moment is the kernel's doing, which
 * gave the CPU to something else: the thread's run time, looked at now and then and at each long
 * round, says so.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';
import { BURST_MAX, TX_WORDS } from '#xvs/port/port';
import { CLOCK_NANOSECONDS, CLOCK_TICKS } from '#xvs/port/umem';
import { XdpPort } from '#xvs/port/xdpPort';
import { attachTables } from '#xvs/table/memory';
import { SYN_RECV, UDP_NORMAL } from '#xvs/table/state';
import { CONTROL_WORDS } from '#xvs/worker/contract';
import { collectGarbage, tuneEngine } from '#xvs/worker/engine';
import { Loop } from '#xvs/worker/loop';
import { Pipeline } from '#xvs/worker/pipeline';
import { Specializer } from '#xvs/worker/specialize';
import { Stopwatch } from '#xvs/worker/stopwatch';
import { Tracer } from '#xvs/worker/trace';
import { warmUp } from '#xvs/worker/warmUp';
import { addService, CLIENT_SIDE, SERVER_SIDE } from '../pipeline/director';
import { makeRow } from '../pipeline/row';
import { Workload } from '../pipeline/workload';
import { World, worldMemory } from '../pipeline/world';
import { compileAll } from '../support/compileAll';
import { REPORT, STALL_NANOSECONDS, type StallData, type StallReady } from './stallReport';
import { CHURN_ROW, RealClock, TrafficSocket, writeBirths } from './traffic';

/** Ticks of 100 ms that new connections live, and those that stay. */
const CHURN_TICKS = 20;
const STAYING_TICKS = 36_000;
/** Rounds until everything has been compiled that will be. */
const SETTLING_ROUNDS = 200_000;
const ROUNDS_PER_LOOK = 256;
/** Half of the connections that fit stay; there is room for as many that come and go. */
const ROOM = 2;

function makeLoop(flows: number): { loop: Loop; world: World } {
  const row = makeRow('nat', 4, 'udp', flows);
  const memory = worldMemory(row, ROOM);
  const { timeouts } = attachTables(memory, () => {}).settings;
  timeouts[UDP_NORMAL] = STAYING_TICKS;
  timeouts[SYN_RECV] = CHURN_TICKS;
  const world = new World(row, addon.createPrefetcher, { memory, worker: 0 });
  const { tables, umem } = world;
  addService(tables, CHURN_ROW);
  const { frames } = new Workload(world);
  const clock = new RealClock(umem.clock, addon.createClock);
  const births = writeBirths();
  const ports = [CLIENT_SIDE, SERVER_SIDE].map((side) => {
    const { rx } = umem;
    const tx = new Int32Array(BURST_MAX * TX_WORDS);
    const own = side === CLIENT_SIDE ? births : null;
    const socket = new TrafficSocket(side, umem, rx, clock, row, frames, own);
    return new XdpPort(`side ${side}`, side, [socket], rx, tx);
  });
  const { host } = world.host;
  const specializer = new Specializer();
  const { join } = specializer;
  const pipeline = new Pipeline(tables, 0, umem, ports, host, addon.createPrefetcher, join);
  compileAll(specializer);
  const loop = new Loop({
    ports,
    pipeline,
    tracer: new Tracer(tables, 0, umem, ports, pipeline),
    umem,
    readClock: () => clock.read(),
    stopwatch: new Stopwatch(umem.clock, tables.stages[0]!),
    counters: tables.counters[0]!,
    control: new Int32Array(CONTROL_WORDS),
    poller: { poll: () => 0 },
    mode: 'busy',
  });
  return { loop, world };
}

/** Of one thread: when it was looked at last, and how long it had run by then. */
class RunTime {
  readonly #clock: Int32Array;
  #since = 0;
  #ran = 0;

  constructor(clock: Int32Array) {
    this.#clock = clock;
    this.look();
  }

  /** Nanoseconds since the last look in which the thread did not run. */
  look(): number {
    const ran = addon.threadCpuMicroseconds() * 1000;
    const now = this.#clock[CLOCK_NANOSECONDS]!;
    const lost = ((now - this.#since) & 0x7fffffff) - (ran - this.#ran);
    this.#since = now;
    this.#ran = ran;
    return lost;
  }
}

function watch(loop: Loop, clock: Int32Array, report: Float64Array): void {
  const runTime = new RunTime(clock);
  let last = clock[CLOCK_NANOSECONDS]!;
  for (let round = 1; report[REPORT.stop] === 0; round++) {
    if (report[REPORT.provoke] !== 0) stall(loop, clock, report);
    report[REPORT.frames]! += loop.round();
    report[REPORT.rounds]! += 1;
    const now = clock[CLOCK_NANOSECONDS]!;
    const length = (now - last) & 0x7fffffff;
    last = now;
    if (length > STALL_NANOSECONDS) {
      note(report, length, length - runTime.look());
    } else if (length > report[REPORT.longest]!) {
      report[REPORT.longest] = length;
    }
    if (round % ROUNDS_PER_LOOK === 0) runTime.look();
    report[REPORT.tick] = clock[CLOCK_TICKS]!;
  }
}

/** Many rounds that are taken for one. */
function stall(loop: Loop, clock: Int32Array, report: Float64Array): void {
  const since = clock[CLOCK_NANOSECONDS]!;
  while (((clock[CLOCK_NANOSECONDS]! - since) & 0x7fffffff) < 3 * STALL_NANOSECONDS) loop.round();
  report[REPORT.provoke] = 0;
}

/** `own`: nanoseconds of the round in which the thread ran. */
function note(report: Float64Array, length: number, own: number): void {
  if (length > report[REPORT.longestOfAll]!) report[REPORT.longestOfAll] = length;
  if (own > STALL_NANOSECONDS) {
    report[REPORT.stalls]! += 1;
    if (length > report[REPORT.longest]!) report[REPORT.longest] = length;
  } else report[REPORT.taken]! += 1;
}

function soak(loop: Loop, clock: Int32Array, report: Float64Array): void {
  while (report[REPORT.stop] === 0) {
    report[REPORT.frames]! += loop.round();
    report[REPORT.rounds]! += 1;
    report[REPORT.tick] = clock[CLOCK_TICKS]!;
  }
}

function main(data: StallData): void {
  addon.pinThread(data.cpu);
  tuneEngine();
  warmUp(addon.createPrefetcher);
  const report = new Float64Array(data.report);
  const { loop, world } = makeLoop(data.flows);
  for (let round = 0; round < SETTLING_ROUNDS; round++) loop.round();
  collectGarbage();
  parentPort!.postMessage({ memory: world.memory } satisfies StallReady);
  if (data.watches) watch(loop, world.umem.clock, report);
  else soak(loop, world.umem.clock, report);
  if (world.host.delivered !== 0) throw new Error(`${world.host.delivered} frames not forwarded`);
}

main(workerData as StallData);
