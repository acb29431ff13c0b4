/**
 * Bench `stalls`: does the control plane ever hold up a worker? The worker forwards at full speed
 * on the memory port while services are loaded and removed, all connections are listed and metrics
 * are scraped each second; beside it, in the same run, an idle control plane and a busy process
 * that is not xvs. Then a soak: no garbage collection, no deoptimisation.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { executable } from '#xvs/lab/director';
import { commandSync } from '#xvs/lab/process';
import { KEPT_RULE, rulesOf } from '../control/settings';
import { readCpuTimes } from '../support/cpuTime';
import { describeOptions, OptionError, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { judgeGoal, type Target } from '../support/target';
import { ControlPlane } from './controlPlane';
import { OPTIONS, readSettings, type Settings } from './settings';
import { type Soak, soak } from './soak';
import { StallWorker } from './stallWorker';

export const summary =
  'stalls of a worker while the control plane works; a soak without collections';
export const help = () => describeOptions(OPTIONS);

const SCRAPE_MS = 1000;
/** Less than the targets speak of proves nothing, unless there was something already. */
const SERVICES_WANTED = 10_000;
const CONNECTIONS_WANTED = 1_000_000;
const SOAK_MS_WANTED = 600_000;
const BESIDE = ['idle control plane', 'busy neighbour', 'working control plane'] as const;
type Beside = (typeof BESIDE)[number];

/** Of one phase of one round. */
interface Phase {
  readonly seconds: number;
  readonly rounds: number;
  readonly framesPerSecond: number;
  readonly stalls: number;
  readonly taken: number;
  /** Milliseconds, of rounds in which the CPU was not taken. */
  readonly longest: number;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function check({ workerCpu, controlCpu }: Settings): void {
  const cpus = readCpuTimes();
  for (const cpu of [workerCpu, controlCpu]) {
    if (!cpus.has(cpu)) throw new OptionError(`CPU ${cpu} is not one of ${[...cpus.keys()]}`);
  }
  if (workerCpu === controlCpu) {
    throw new OptionError(`worker and control plane both on CPU ${workerCpu}: one each is needed`);
  }
}

class StallBench {
  readonly #settings: Settings;
  readonly #worker: StallWorker;
  readonly #control: ControlPlane;
  readonly #full: string;
  readonly #kept: string;
  readonly phases: Record<Beside, Phase[]> = {
    'idle control plane': [],
    'busy neighbour': [],
    'working control plane': [],
  };

  constructor(settings: Settings, worker: StallWorker, control: ControlPlane) {
    this.#settings = settings;
    this.#worker = worker;
    this.#control = control;
    this.#full = control.write('full', KEPT_RULE + rulesOf(settings.services, settings.servers));
    this.#kept = control.write('kept', KEPT_RULE);
  }

  async round(label: string): Promise<void> {
    const { quietMs } = this.#settings;
    const neighbour = join(__dirname, '..', 'control', 'neighbour.js');
    const works: Readonly<Record<Beside, () => Promise<void>>> = {
      'idle control plane': () => sleep(quietMs),
      'busy neighbour': () => this.#control.launch([process.execPath, neighbour, String(quietMs)]),
      'working control plane': () => this.#work(),
    };
    for (const beside of BESIDE) {
      const phase = await this.#measure(works[beside]);
      this.phases[beside].push(phase);
      say(
        `${label}, ${beside}: ${phase.seconds.toFixed(1)} s, ` +
          `${(phase.framesPerSecond / 1e6).toFixed(2)} Mpps, ${phase.stalls} stalls, ` +
          `${phase.taken} while the CPU was another's, longest ${phase.longest.toFixed(3)} ms`,
      );
    }
  }

  async #measure(work: () => Promise<void>): Promise<Phase> {
    const before = this.#worker.figures;
    this.#worker.takeLongest();
    const began = performance.now();
    await Promise.race([work(), this.#worker.failed]);
    const seconds = (performance.now() - began) / 1000;
    const after = this.#worker.figures;
    return {
      seconds,
      rounds: after.rounds - before.rounds,
      framesPerSecond: (after.frames - before.frames) / seconds,
      stalls: after.stalls - before.stalls,
      taken: after.taken - before.taken,
      longest: this.#worker.takeLongest(),
    };
  }

  /** What the target names, at once: the scrapes go on while the tools run. */
  async #work(): Promise<void> {
    let isOver = false;
    const scrapes = (async () => {
      while (!isOver) {
        await this.#control.scrape();
        await sleep(SCRAPE_MS);
      }
    })();
    try {
      await this.#tool('xvs', 'apply', this.#full);
      this.#expect(this.#settings.services);
      await this.#list();
      await this.#tool('xvs', 'apply', this.#kept);
      this.#expect(0);
    } finally {
      isOver = true;
      await scrapes;
    }
    this.#control.forget();
  }

  async #tool(name: string, ...words: string[]): Promise<void> {
    const command = [process.execPath, executable(name), '--socket', this.#control.socket];
    await this.#control.launch([...command, ...words]);
  }

  /** All connections; nobody reads the many lines, but they are counted. */
  async #list(): Promise<void> {
    const { connections } = this.#settings;
    const tool = [process.execPath, executable('xvsadm'), '--socket', this.#control.socket];
    const list = tool.map((word) => `"${word}"`).join(' ');
    const count = `${list} -Lnc | awk 'END { exit NR < ${connections} ? 1 : 0 }'`;
    await this.#control.launch(['sh', '-c', count]);
  }

  #expect(services: number): void {
    const found = this.#control.services;
    if (found !== services) throw new Error(`${services} services wanted, ${found} are there`);
  }
}

function resultsOf(phases: Readonly<Record<Beside, readonly Phase[]>>, settings: Settings) {
  const { services, connections } = settings;
  return BESIDE.flatMap((beside): Result[] => {
    const of = (name: string, unit: string, value: (phase: Phase) => number) =>
      summarize(name, { beside, services, connections }, unit, phases[beside].map(value));
    return [
      of('stalls over 1 ms', 'of a round', ({ stalls }) => stalls),
      of('rounds in which the CPU was taken', 'of a round', ({ taken }) => taken),
      of('longest, CPU not taken', 'ms', ({ longest }) => longest),
      of('forwarded', 'Mpps', ({ framesPerSecond }) => framesPerSecond / 1e6),
    ];
  });
}

function stallNotes(phases: Readonly<Record<Beside, readonly Phase[]>>): string[] {
  const sum = (beside: Beside, value: (phase: Phase) => number) =>
    phases[beside].reduce((total, phase) => total + value(phase), 0);
  const lines = BESIDE.map((beside) => {
    const seconds = sum(beside, (phase) => phase.seconds);
    const stalls = sum(beside, (phase) => phase.stalls);
    const taken = sum(beside, (phase) => phase.taken);
    const rounds = sum(beside, (phase) => phase.rounds);
    return (
      `beside ${beside}: ${stalls} stalls in ${seconds.toFixed(0)} s and ${rounds} rounds ` +
      `(${(stalls / seconds).toFixed(3)}/s); ${taken} more while the kernel gave the CPU away`
    );
  });
  return lines;
}

function stallTarget(
  phases: Readonly<Record<Beside, readonly Phase[]>>,
  { services, connections }: Settings,
): Target {
  const sum = (beside: Beside) => phases[beside].reduce((total, { stalls }) => total + stalls, 0);
  const [idle, busy, working] = BESIDE.map(sum) as [number, number, number];
  const isTelling =
    working > 0 || (services >= SERVICES_WANTED && connections >= CONNECTIONS_WANTED);
  const what = `stalls over 1 ms while services are loaded, connections listed, metrics scraped`;
  const remark =
    `${services} services, ${connections} connections; ${idle} beside an idle control plane, ` +
    `${busy} beside a busy neighbour`;
  return judgeGoal('stalls', isTelling ? working : null, what, remark);
}

function soakTarget({ collections, deoptimisations }: Soak, soakMs: number): Target {
  const found = collections.length + deoptimisations.length;
  const what = 'garbage collections and deoptimisations of a worker in 10 minutes';
  const minutes = (soakMs / 60_000).toFixed(1);
  const remark = `${collections.length} and ${deoptimisations.length} in ${minutes} minutes`;
  return judgeGoal('soak', found > 0 || soakMs >= SOAK_MS_WANTED ? found : null, what, remark);
}

function soakNotes(soaked: Soak, settings: Settings): string[] {
  const { collections, deoptimisations, frames, created, expired } = soaked;
  return [
    `soak: ${(settings.soakMs / 60_000).toFixed(1)} minutes, ${frames} frames, ` +
      `${created} connections begun, ${expired} ended`,
    ...[...collections, ...deoptimisations].slice(0, 10),
  ];
}

async function measureStalls(settings: Settings): Promise<StallBench['phases']> {
  const control = new ControlPlane(settings.controlCpu);
  const worker = new StallWorker({
    flows: settings.connections,
    cpu: settings.workerCpu,
    watches: true,
  });
  try {
    say(`${settings.connections} connections are made`);
    const memory = await worker.memory();
    await worker.provoke();
    await control.open(memory, () => worker.tick);
    const bench = new StallBench(settings, worker, control);
    for (let round = 1; round <= settings.rounds; round++) {
      await bench.round(`round ${round}/${settings.rounds}`);
    }
    return bench.phases;
  } finally {
    await worker.stop();
    await control.close();
  }
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  check(settings);
  const { workerCpu, controlCpu, connections, soakMs } = settings;
  // All threads of this process, the helpers of its engine among them; the worker pins itself.
  commandSync(['taskset', '-a', '-p', '-c', `${controlCpu}`, `${process.pid}`]);
  const phases = await measureStalls(settings);
  const notes = stallNotes(phases);
  const targets = [stallTarget(phases, settings)];
  const results = resultsOf(phases, settings);
  if (soakMs > 0) {
    say(`soak: ${(soakMs / 60_000).toFixed(1)} minutes`);
    const soaked = await soak(soakMs, connections, workerCpu);
    notes.push(...soakNotes(soaked, settings));
    targets.push(soakTarget(soaked, soakMs));
  }
  const placement = { worker: workerCpu, 'control plane and tools': controlCpu };
  const machine = describeMachine('memory', 'none', placement);
  return { bench: 'stalls', machine, results, missing: [], notes, targets };
}
