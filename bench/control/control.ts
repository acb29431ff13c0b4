/**
 * Bench `control`: what changes and listings of many services cost, and what they take from a
 * worker that forwards meanwhile. docs/bench.md says how it is measured.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { executable } from '#xvs/lab/director';
import type { Namespace } from '#xvs/lab/namespace';
import { commandSync } from '#xvs/lab/process';
import { readCpuTimes } from '../support/cpuTime';
import { makeNamespace, runInNamespace } from '../support/inNamespace';
import { describeOptions, OptionError, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { KEPT_RULE, OPTIONS, readSettings, rulesOf, type Settings } from './settings';
import { type Interval, medianInterval, Round } from './share';
import { Stand } from './stand';

export const summary = 'cost of changing and listing many services, and what the worker loses';
export const help = () => describeOptions(OPTIONS);

/** What `xvs apply` is held to. */
const LINES = 10_000;
const LINES_NAME = 'xvs apply, 10,000 lines';
const LOSS_ALLOWED = 0.03;
const DISTURBANCE_MAX = 0.05;
const CONFIDENCE_WANTED = 0.95;

interface Step {
  readonly name: string;
  readonly command: readonly string[];
  readonly input?: string;
  /** Services and real servers it works on. */
  readonly operations: number;
  /** What there must be afterwards. */
  readonly services: number;
  /** Its whole time is of interest, too: a row in ms. */
  readonly isWhole?: boolean;
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
  // With the one that stays it has so many lines.
  const fewer = Math.floor((LINES - 1) / (1 + servers));
  const lines = stand.write('lines', KEPT_RULE + rulesOf(fewer, servers));
  const all = services * (1 + servers);
  const some = single * (1 + servers);
  const remove = { command: tool('xvs', 'apply', kept), services: 0 };
  return [
    {
      ...{ name: LINES_NAME, command: tool('xvs', 'apply', lines), isWhole: true },
      ...{ operations: fewer * (1 + servers), services: fewer },
    },
    { name: `${LINES_NAME}, delete`, ...remove, operations: fewer * (1 + servers), isWhole: true },
    { name: 'xvs apply, add', command: tool('xvs', 'apply', full), operations: all, services },
    { name: 'xvsadm -Ln', command: tool('xvsadm', '-Ln'), operations: all, services },
    { name: 'xvsadm-save -n', command: tool('xvsadm-save', '-n'), operations: all, services },
    {
      // As Prometheus asks, which takes gzip.
      name: 'scrape',
      command: ['curl', '-sSf', '--compressed', '-o', '/dev/null', stand.metricsUrl],
      ...{ operations: all, services, isWhole: true },
    },
    { name: 'xvs apply, same', command: tool('xvs', 'apply', full), operations: all, services },
    { name: 'xvs apply, delete', ...remove, operations: all },
    { name: 'socket, add', command: socketClient('add'), operations: some, services: single },
    { name: 'socket, delete', command: socketClient('delete'), operations: single, services: 0 },
    {
      // Not xvsadm-restore, which first clears the table: the worker would have nothing to do.
      name: 'xvsadm -R',
      command: tool('xvsadm', '-R'),
      input: rulesOf(single, servers),
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
  readonly rounds: Round[] = [];

  constructor(stand: Stand, settings: Settings) {
    this.#stand = stand;
    this.#settings = settings;
  }

  /**
   * Frames a second of the worker's own run time while `action` runs, so that what other processes
   * take of its CPU does not count (though what they do to its cache does); and how long that was.
   */
  async #rate(
    beside: keyof Round['beside'],
    action: () => Promise<unknown>,
  ): Promise<{ rate: number; ms: number }> {
    const [frames, time] = [this.#stand.frames, this.#stand.workerTime];
    const began = performance.now();
    await action();
    const ms = performance.now() - began;
    const now = this.#stand.workerTime;
    const waited = (now.waitedMs - time.waitedMs) / ms;
    this.#disturbance = Math.max(this.#disturbance, waited);
    const [done, ranMs] = [this.#stand.frames - frames, now.ranMs - time.ranMs];
    this.rounds.at(-1)?.beside[beside].add(done, ranMs);
    return { rate: (done / ranMs) * 1000, ms };
  }

  async #run(command: readonly string[], input = ''): Promise<void> {
    const { status, stderr } = await this.#stand.launch(command, input);
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr.trim()}`);
  }

  async #idle(): Promise<number> {
    return (await this.#rate('idle', () => sleep(this.#settings.quietMs))).rate;
  }

  async #busy(): Promise<number> {
    const milliseconds = `${this.#settings.quietMs}`;
    const command = [process.execPath, join(__dirname, 'neighbour.js'), milliseconds];
    return (await this.#rate('busy', () => this.#run(command))).rate;
  }

  /** One step between two readings of an idle and of a busy neighbour. */
  async measure(step: Step, into: Measured): Promise<void> {
    this.#disturbance = 0;
    const before = [await this.#idle(), await this.#busy()] as const;
    const work = () => this.#run(step.command, step.input);
    const { rate, ms } = await this.#rate('steps', work);
    const after = [await this.#busy(), await this.#idle()] as const;
    const { services, servers } = this.#stand.counts;
    if (services !== step.services || servers !== services * this.#settings.servers) {
      throw new Error(`${step.name}: ${services} services and ${servers} real servers are there`);
    }
    if (services === 0) this.#stand.forget();
    into.cost.push((ms * 1000) / step.operations);
    const isDisturbed = this.#disturbance > DISTURBANCE_MAX;
    const round = this.rounds.at(-1);
    if (round !== undefined && isDisturbed) round.isDisturbed = true;
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
  const wholeMs = measured.cost.map((us) => (us * operations) / 1000);
  return [
    ...(step.isWhole === true ? [summarize(name, parameters, 'ms', wholeMs)] : []),
    summarize(name, parameters, 'us/operation', measured.cost),
    summarize(name, { ...parameters, beside: 'idle' }, 'of worker', idle),
    summarize(name, { ...parameters, beside: 'busy' }, 'of worker', busy),
  ];
}

const percentOf = (value: number): string => `${(value * 100).toFixed(1)} %`;

/** Is the loss proved to be at most what is allowed, proved to be more, or neither? */
function verdictOf(share: Interval): string {
  const floor = 1 - LOSS_ALLOWED;
  if (share.confidence < CONFIDENCE_WANTED) return 'not proved, too few rounds';
  if (share.low >= floor) return 'proved';
  return share.high < floor ? 'REFUTED' : 'not proved';
}

/** What the worker loses over whole rounds, to the control plane and to any busy process. */
function lossNotes(rounds: readonly Round[]): string[] {
  const quiet = rounds.filter(({ isDisturbed }) => !isDisturbed);
  const used = quiet.length > 0 ? quiet : rounds;
  return (['idle', 'busy'] as const).map((of) => {
    const share = medianInterval(
      used.map((round) => round.share(of)),
      CONFIDENCE_WANTED,
    );
    const from = percentOf(1 - share.high);
    const to = percentOf(1 - share.low);
    return (
      `loss of the worker over ${used.length} rounds, beside a control plane that works against ` +
      `${of === 'idle' ? 'one that is idle' : 'a busy process that is not xvs'}: ` +
      `median ${percentOf(1 - share.median)}, from ${from} to ${to} with ` +
      `${percentOf(share.confidence)} confidence; at most ${percentOf(LOSS_ALLOWED)}: ` +
      verdictOf(share)
    );
  });
}

/** The step that costs the worker most. */
function worstStep(results: readonly Result[]): string {
  const beside = results.filter(({ parameters }) => parameters['beside'] === 'idle');
  const worst = beside.reduce((least, result) => (result.median < least.median ? result : least));
  return `costliest step for the worker: ${worst.name}, median loss ${percentOf(1 - worst.median)}`;
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  check(settings);
  if (settings.maps === 'off') return measure(settings, null);
  let namespace: Namespace;
  try {
    namespace = makeNamespace('control');
  } catch (error) {
    if (settings.maps === 'on') throw error;
    say(`without a namespace: ${(error as Error).message.split('\n')[0]}`);
    return measure(settings, null);
  }
  return runInNamespace(namespace, join(__dirname, 'namespaced.js'), argv);
}

/** `interfaceName`: what the XDP program is attached to; null: nothing. */
export async function measure(settings: Settings, interfaceName: string | null): Promise<Report> {
  const { workerCpu, controlCpu } = settings;
  // All threads of this process, the helpers of its engine among them; the worker pins itself.
  commandSync(['taskset', '-a', '-p', '-c', `${controlCpu}`, `${process.pid}`]);
  const stand = new Stand(settings, interfaceName);
  try {
    await stand.open();
    const bench = new ControlBench(stand, settings);
    const steps = stepsOf(stand, settings);
    const measured = steps.map((): Measured => ({ cost: [], shares: [] }));
    for (let round = 1; round <= settings.rounds; round++) {
      say(`round ${round} of ${settings.rounds}`);
      bench.rounds.push(new Round());
      for (const [index, step] of steps.entries()) {
        await Promise.race([bench.measure(step, measured[index]!), stand.failed]);
      }
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
        ...lossNotes(bench.rounds),
        worstStep(results),
        `XDP maps: ${stand.maps}`,
        `disturbed by others: ${disturbed} of ${steps.length * settings.rounds}`,
      ],
    };
  } finally {
    await stand.close();
  }
}
