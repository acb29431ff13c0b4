/**
 * Bench `control`: what changes and listings of many services cost, and what they take from a
 * worker that forwards meanwhile. docs/bench.md says how it is measured.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { executable } from '#xvs/lab/director';
import { commandSync } from '#xvs/lab/process';
import { readCpuTimes } from '../support/cpuTime';
import { describeOptions, OptionError, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { KEPT_RULE, OPTIONS, readSettings, rulesOf, type Settings } from './settings';
import { Stand } from './stand';

export const summary = 'cost of changing and listing many services, and what the worker loses';
export const help = () => describeOptions(OPTIONS);

const LOSS_ALLOWED = 0.03;
const DISTURBANCE_MAX = 0.05;

interface Step {
  readonly name: string;
  readonly command: readonly string[];
  readonly input?: string;
  /** Services and real servers it works on. */
  readonly operations: number;
  /** What there must be afterwards. */
  readonly services: number;
}

/** The worker's speed during a step, as a share of that beside an idle and a busy neighbour. */
interface Share {
  readonly besideIdle: number;
  readonly besideBusy: number;
  /** Others had more than a little of the worker's CPU meanwhile. */
  readonly isDisturbed: boolean;
}

interface Measured {
  /** Microseconds an operation. */
  readonly cost: number[];
  readonly shares: Share[];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function check(settings: Settings): void {
  const { workerCpu, controlCpu } = settings;
  const cpus = readCpuTimes();
  for (const cpu of [workerCpu, controlCpu]) {
    if (!cpus.has(cpu)) throw new OptionError(`CPU ${cpu} is not one of ${[...cpus.keys()]}`);
  }
  if (workerCpu === controlCpu) {
    throw new OptionError(`worker and control plane both on CPU ${workerCpu}: one each is needed`);
  }
}

function stepsOf(stand: Stand, settings: Settings): Step[] {
  const { services, servers, single } = settings;
  const tool = (name: string, ...words: string[]) => [
    ...[process.execPath, executable(name), '--socket', stand.socket, ...words],
  ];
  const socketClient = (operation: string) => [
    ...[process.execPath, join(__dirname, 'socketClient.js'), stand.socket, operation],
    ...[`${single}`, `${servers}`],
  ];
  const full = stand.write('full', KEPT_RULE + rulesOf(services, servers));
  const kept = stand.write('kept', KEPT_RULE);
  const all = services * (1 + servers);
  const some = single * (1 + servers);
  const remove = { command: tool('xvs', 'apply', kept), services: 0 };
  return [
    { name: 'xvs apply, add', command: tool('xvs', 'apply', full), operations: all, services },
    { name: 'xvsadm -Ln', command: tool('xvsadm', '-Ln'), operations: all, services },
    { name: 'xvsadm-save -n', command: tool('xvsadm-save', '-n'), operations: all, services },
    { name: 'xvs apply, same', command: tool('xvs', 'apply', full), operations: all, services },
    { name: 'xvs apply, delete', ...remove, operations: all },
    { name: 'socket, add', command: socketClient('add'), operations: some, services: single },
    { name: 'socket, delete', command: socketClient('delete'), operations: single, services: 0 },
    {
      name: 'xvsadm-restore',
      command: tool('xvsadm-restore'),
      input: KEPT_RULE + rulesOf(single, servers),
      operations: some,
      services: single,
    },
    { name: 'xvs apply, delete some', ...remove, operations: some },
  ];
}

export class ControlBench {
  readonly #stand: Stand;
  readonly #settings: Settings;
  /** The most that others had of the worker's CPU in a reading of this step. */
  #disturbance = 0;

  constructor(stand: Stand, settings: Settings) {
    this.#stand = stand;
    this.#settings = settings;
  }

  /**
   * Frames a second of the worker's own run time while `action` runs, so that what other processes
   * take of its CPU does not count (though what they do to its cache does); and how long that was.
   */
  async #rate(action: () => Promise<unknown>): Promise<{ rate: number; ms: number }> {
    const [frames, time] = [this.#stand.frames, this.#stand.workerTime];
    const began = performance.now();
    await action();
    const ms = performance.now() - began;
    const now = this.#stand.workerTime;
    const waited = (now.waitedMs - time.waitedMs) / ms;
    this.#disturbance = Math.max(this.#disturbance, waited);
    return { rate: ((this.#stand.frames - frames) / (now.ranMs - time.ranMs)) * 1000, ms };
  }

  async #run(command: readonly string[], input = ''): Promise<void> {
    const { status, stderr } = await this.#stand.launch(command, input);
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr.trim()}`);
  }

  async #idle(): Promise<number> {
    return (await this.#rate(() => sleep(this.#settings.quietMs))).rate;
  }

  async #busy(): Promise<number> {
    const milliseconds = `${this.#settings.quietMs}`;
    const command = [process.execPath, join(__dirname, 'neighbour.js'), milliseconds];
    return (await this.#rate(() => this.#run(command))).rate;
  }

  /** One step between two readings of an idle and of a busy neighbour. */
  async measure(step: Step, into: Measured): Promise<void> {
    this.#disturbance = 0;
    const before = [await this.#idle(), await this.#busy()] as const;
    const { rate, ms } = await this.#rate(() => this.#run(step.command, step.input));
    const after = [await this.#busy(), await this.#idle()] as const;
    const { services, servers } = this.#stand.counts;
    if (services !== step.services || servers !== services * this.#settings.servers) {
      throw new Error(`${step.name}: ${services} services and ${servers} real servers are there`);
    }
    if (services === 0) this.#stand.forget();
    into.cost.push((ms * 1000) / step.operations);
    const isDisturbed = this.#disturbance > DISTURBANCE_MAX;
    const besideIdle = (2 * rate) / (before[0] + after[1]);
    const besideBusy = (2 * rate) / (before[1] + after[0]);
    into.shares.push({ besideIdle, besideBusy, isDisturbed });
    const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
    say(
      `  ${step.name}: ${ms.toFixed(0)} ms, ${into.cost.at(-1)!.toFixed(1)} us each; worker ` +
        `${(rate / 1e6).toFixed(2)} Mpps, ${percent(besideIdle)} of idle, ` +
        `${percent(besideBusy)} of beside a busy neighbour${isDisturbed ? ' (disturbed)' : ''}`,
    );
  }
}

/** Undisturbed rounds; when there is none, those in which the worker ran at all. */
function sharesOf({ shares }: Measured): readonly Share[] {
  const quiet = shares.filter(({ isDisturbed }) => !isDisturbed);
  if (quiet.length > 0) return quiet;
  return shares.filter((share) => Number.isFinite(share.besideIdle + share.besideBusy));
}

function resultsOf(step: Step, measured: Measured, settings: Settings): Result[] {
  const { name, operations } = step;
  const parameters = { operations, servers: settings.servers };
  const shares = sharesOf(measured);
  const idle = shares.map(({ besideIdle }) => besideIdle);
  const busy = shares.map(({ besideBusy }) => besideBusy);
  return [
    summarize(name, parameters, 'us/operation', measured.cost),
    summarize(name, { ...parameters, beside: 'idle' }, 'of worker', idle),
    summarize(name, { ...parameters, beside: 'busy' }, 'of worker', busy),
  ];
}

/** What the worker loses to a step, over and above what any busy process takes from it. */
function lossNotes(results: readonly Result[]): string[] {
  const beside = results.filter(({ parameters }) => parameters['beside'] === 'busy');
  const worst = beside.reduce((least, result) => (result.median < least.median ? result : least));
  const loss = (1 - worst.median) * 100;
  return [
    `worst median loss of the worker beside a busy neighbour: ${loss.toFixed(1)} % ` +
      `(${worst.name}); at most ${LOSS_ALLOWED * 100} % are wanted`,
  ];
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  check(settings);
  const { workerCpu, controlCpu } = settings;
  // All threads of this process, the helpers of its engine among them; the worker pins itself.
  commandSync(['taskset', '-a', '-p', '-c', `${controlCpu}`, `${process.pid}`]);
  const stand = new Stand(settings);
  try {
    await stand.open();
    const bench = new ControlBench(stand, settings);
    const steps = stepsOf(stand, settings);
    const measured = steps.map((): Measured => ({ cost: [], shares: [] }));
    for (let round = 1; round <= settings.rounds; round++) {
      say(`round ${round} of ${settings.rounds}`);
      for (const [index, step] of steps.entries()) await bench.measure(step, measured[index]!);
    }
    const results = steps.flatMap((step, index) => resultsOf(step, measured[index]!, settings));
    const disturbed = measured
      .flatMap(({ shares }) => shares)
      .filter((share) => share.isDisturbed).length;
    const placement = { worker: workerCpu, 'control plane and tools': controlCpu };
    return {
      bench: 'control',
      machine: describeMachine('memory', 'none', placement),
      results,
      missing: [],
      notes: [
        ...lossNotes(results),
        `disturbed by others: ${disturbed} of ${steps.length * settings.rounds}`,
      ],
    };
  } finally {
    await stand.close();
  }
}
