/**
 * Bench `wire`: how many minimal UDP frames a second get through a director, and what they cost in
 * CPU time, for xvs, the kernel (nftables) and the least an AF_XDP forwarder can do. docs/bench.md
 * says why the comparison is fair.
 */
import { commandSync } from '#xvs/lab/process';
import type { Child } from '../support/child';
import { compileObject, compileProgram } from '../support/compile';
import { readCpuTimes } from '../support/cpuTime';
import { describeOptions, OptionError, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { ALL, type Contender } from './contenders';
import { WireLab } from './lab';
import { type Measurement, measure } from './measure';
import {
  FRAME_BYTES,
  OPTIONS,
  readSettings,
  SERVER_ADDRESS,
  SERVICE_PORT,
  type Settings,
  VIRTUAL_ADDRESS,
} from './settings';

export const summary = 'UDP frames over veth: xvs, nftables and a C AF_XDP forwarder';
export const help = () => describeOptions(OPTIONS);

const START_MS = 10_000;
/** Share of a CPU that others may use before a measurement counts as disturbed. */
const OTHERS_MAX = 0.05;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function check(settings: Settings): void {
  const { generatorCpu, contenderCpu, ring } = settings;
  const cpus = readCpuTimes();
  for (const cpu of [generatorCpu, contenderCpu]) {
    if (!cpus.has(cpu)) throw new OptionError(`CPU ${cpu} is not one of ${[...cpus.keys()]}`);
  }
  if (generatorCpu === contenderCpu) {
    throw new OptionError(
      `generator and contender both on CPU ${contenderCpu}: they need one each`,
    );
  }
  if ((ring & (ring - 1)) !== 0) throw new OptionError(`--ring: ${ring} is not a power of two`);
  if (process.getuid?.() !== 0) throw new Error('the wire bench makes namespaces: it needs root');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function describe(measurement: Measurement): string {
  const { mpps, perCpuSecond, offeredMpps } = measurement;
  return [
    `${mpps.toFixed(4)} Mpps`,
    `${Math.round(perCpuSecond)} packets/CPU-second`,
    `offered ${offeredMpps.toFixed(3)} Mpps`,
    `generator's CPU: generator ${percent(measurement.generatorThread)}` +
      ` others ${percent(measurement.generatorCpuOthers)}` +
      ` (${Math.round(measurement.softirqsPerSecond)} receive softirqs/s)`,
    `contender's CPU: contender ${percent(measurement.contenderThreads)}` +
      ` others ${percent(measurement.contenderCpuOthers)}`,
    `stolen ${percent(measurement.stolen)}`,
  ].join(', ');
}

/** The largest share of a CPU that others took. */
function disturbance(measurement: Measurement): number {
  const { generatorCpuOthers, contenderCpuOthers, stolen } = measurement;
  return Math.max(generatorCpuOthers, contenderCpuOthers, stolen);
}

async function startSink(lab: WireLab): Promise<Child> {
  const program = compileProgram('bench/wire/sink.c', '-lbpf');
  const object = compileObject('bench/wire/sink.bpf.c');
  const sink = lab.spawn('server', 'generatorCpu', 'sink', [
    program,
    object,
    lab.ends.server.interface,
    ...[SERVER_ADDRESS, VIRTUAL_ADDRESS, String(SERVICE_PORT)],
  ]);
  await sink.line(START_MS);
  return sink;
}

/** Repeats a disturbed measurement a bounded number of times; the least disturbed one counts. */
async function measureQuietly(
  label: string,
  settings: Settings,
  once: () => Promise<Measurement>,
): Promise<Measurement> {
  let best: Measurement | null = null;
  for (let attempt = 0; attempt <= settings.retries; attempt++) {
    const measurement = await once();
    const isDisturbed = disturbance(measurement) > OTHERS_MAX;
    say(`${label}: ${describe(measurement)}${isDisturbed ? '; DISTURBED by others' : ''}`);
    if (settings.showCounters && measurement.counters !== '') say(measurement.counters);
    if (best === null || disturbance(measurement) < disturbance(best)) best = measurement;
    if (!isDisturbed) break;
  }
  if (best === null) throw new Error(`${label}: not measured`);
  return best;
}

async function measureAll(
  lab: WireLab,
  contenders: readonly Contender[],
): Promise<Map<string, Measurement[]>> {
  const { settings } = lab;
  const generator = compileProgram('bench/wire/generator.c');
  const sink = await startSink(lab);
  const measured = new Map<string, Measurement[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 1; round <= settings.rounds; round++) {
    for (const contender of contenders) {
      const label = `round ${round}/${settings.rounds} ${contender.name}`;
      const once = () => measure(lab, sink, generator, contender);
      measured.get(contender.name)?.push(await measureQuietly(label, settings, once));
    }
  }
  await sink.stop();
  return measured;
}

function toResults(settings: Settings, measured: Map<string, Measurement[]>): Result[] {
  const { flows, seconds, rounds, mode, rate } = settings;
  const results: Result[] = [];
  for (const [name, all] of measured) {
    const parameters = { flows, frameBytes: FRAME_BYTES, seconds, rounds, rate, mode };
    results.push(
      summarize(
        name,
        parameters,
        'Mpps',
        all.map(({ mpps }) => mpps),
      ),
      summarize(
        name,
        parameters,
        'packets/CPU-second',
        all.map(({ perCpuSecond }) => perCpuSecond),
      ),
    );
  }
  return results;
}

/**
 * Ratios of neighbours: both sides of one round were measured seconds apart, so that a machine
 * that changes its speed between rounds (they do, under a hypervisor) does not show in them.
 */
function compareByRound(measured: Map<string, Measurement[]>): string[] {
  const ours = measured.get('xvs') ?? [];
  const notes: string[] = [];
  for (const [name, theirs] of measured) {
    if (name === 'xvs' || ours.length === 0 || theirs.length !== ours.length) continue;
    const ratios = ours.map(({ mpps }, round) => mpps / (theirs[round]?.mpps ?? Number.NaN));
    const { min, median, max } = summarize(name, {}, 'ratio', ratios);
    const [low, middle, high] = [min, median, max].map((value) => value.toFixed(2));
    notes.push(`xvs / ${name}, round by round in Mpps: median ${middle} (${low} to ${high})`);
  }
  const all = [...measured.values()].flat();
  const disturbed = all.filter((measurement) => disturbance(measurement) > OTHERS_MAX).length;
  if (disturbed > 0) {
    notes.push(
      `${disturbed} of ${all.length} measurements were disturbed: others used more than ` +
        `${percent(OTHERS_MAX)} of a CPU; repeat this on a machine that does nothing else`,
    );
  }
  return notes;
}

export async function run(argv: readonly string[]): Promise<Report> {
  const settings = readSettings(new Options(OPTIONS, argv));
  check(settings);
  const wanted = ALL.filter(({ name }) => settings.contenders.includes(name));
  const missing = wanted.flatMap((contender) => {
    const reason = contender.missing();
    return reason === null ? [] : [`${contender.name} left out: ${reason}`];
  });
  if (missing.length === wanted.length) throw new Error(missing.join('\n'));
  // This process sleeps while it measures; what little it does belongs to the generator's side.
  commandSync(['taskset', '-a', '-p', '-c', String(settings.generatorCpu), String(process.pid)]);
  const lab = new WireLab(settings);
  try {
    const able = wanted.filter((contender) => contender.missing() === null);
    const measured = await measureAll(lab, able);
    const { generatorCpu, contenderCpu } = settings;
    const machine = describeMachine('veth', 'copy', {
      generator: generatorCpu,
      'receive threads': contenderCpu,
      contender: contenderCpu,
      'sink receive': contenderCpu,
    });
    const notes = compareByRound(measured);
    return { bench: 'wire', machine, results: toResults(settings, measured), missing, notes };
  } finally {
    lab.close();
  }
}
