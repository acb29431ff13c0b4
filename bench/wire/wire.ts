/**
 * Bench `wire`: how many minimal UDP frames a second get through a director, and what they cost in
 * CPU time, for xvs with each method and family, the kernel's NAT (nftables) and the least an
 * AF_XDP forwarder can do. docs/bench.md says why the comparison is fair.
 */
import { commandSync } from '#xvs/lab/process';
import { compileProgram } from '../support/compile';
import { readCpuTimes } from '../support/cpuTime';
import { describeOptions, OptionError, Options } from '../support/options';
import { describeMachine, type Report, type Result, summarize } from '../support/report';
import { type Contender, contendersOf } from './contenders';
import { WireLab } from './lab';
import { type Measurement, measure } from './measure';
import { FRAME_BYTES, OPTIONS, readSettings, type Settings } from './settings';

export const summary = 'UDP frames over veth: all methods, nftables and a C AF_XDP forwarder';
export const help = () => describeOptions(OPTIONS);

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
  const measured = new Map<string, Measurement[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 1; round <= settings.rounds; round++) {
    for (const contender of contenders) {
      const label = `round ${round}/${settings.rounds} ${contender.name}`;
      const once = () => measure(lab, generator, contender);
      measured.get(contender.name)?.push(await measureQuietly(label, settings, once));
    }
  }
  return measured;
}

function toResults(
  settings: Settings,
  contenders: readonly Contender[],
  measured: Map<string, Measurement[]>,
): Result[] {
  const { flows, seconds, rounds, mode, rate } = settings;
  const results: Result[] = [];
  for (const { name, family } of contenders) {
    const all = measured.get(name) ?? [];
    const frameBytes = FRAME_BYTES[family];
    const parameters = { flows, frameBytes, seconds, rounds, rate, mode };
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

/** What the other methods are compared with. */
const BASE = 'xvs nat IPv4';

/**
 * Ratios of neighbours: both sides of one round were measured seconds apart, so that a machine
 * that changes its speed between rounds (they do, under a hypervisor) does not show in them.
 */
function compareByRound(measured: Map<string, Measurement[]>): string[] {
  const notes: string[] = [];
  const compare = (ours: string, theirs: string) => {
    const [one, other] = [measured.get(ours), measured.get(theirs)];
    if (one === undefined || other === undefined) return;
    const ratios = one.map(({ mpps }, round) => mpps / (other[round]?.mpps ?? Number.NaN));
    const { min, median, max } = summarize(ours, {}, 'ratio', ratios);
    const [low, middle, high] = [min, median, max].map((value) => value.toFixed(2));
    notes.push(`${ours} / ${theirs}, round by round in Mpps: median ${middle} (${low} to ${high})`);
  };
  compare(BASE, 'c-forwarder IPv4');
  for (const family of [4, 6]) compare(`xvs nat IPv${family}`, `nftables IPv${family}`);
  for (const name of measured.keys()) {
    if (name.startsWith('xvs ') && name !== BASE) compare(name, BASE);
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
  const wanted = contendersOf(settings);
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
    return { bench: 'wire', machine, results: toResults(settings, able, measured), missing, notes };
  } finally {
    lab.close();
  }
}
