/**
 * One measurement of one contender: traffic, a warm-up, then everything is read twice, `seconds`
 * apart, and the differences count. Nothing is started or stopped between the two readings.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from '../support/child';
import { compileObject, compileProgram } from '../support/compile';
import { readCpuTimes, readProcessSeconds, readSoftirqs } from '../support/cpuTime';
import type { Contender } from './contenders';
import type { WireLab } from './lab';
import { ADDRESSES, type Family, SERVICE_PORT } from './settings';

const ANSWER_MS = 5000;
const START_MS = 10_000;
/** The generator runs this much longer than needed, so that both readings are in the flood. */
const GENERATOR_MARGIN_SECONDS = 2;
interface SinkCounts {
  readonly expected: number;
  readonly other: number;
  /** Are the checksums of the frame it kept last right? */
  readonly sound: boolean;
  readonly time: number;
}

interface Reading {
  readonly sink: SinkCounts;
  /** Busy seconds of the whole machine, of the two CPUs, and of the two sides' threads. */
  readonly machine: number;
  readonly generatorCpu: number;
  readonly contenderCpu: number;
  readonly stolen: number;
  readonly generator: number;
  readonly contender: number;
  readonly softirqs: number;
}

export interface Measurement {
  readonly seconds: number;
  readonly delivered: number;
  readonly mpps: number;
  readonly perCpuSecond: number;
  readonly offeredMpps: number;
  /** Shares of one CPU during the measurement. */
  readonly generatorCpuOthers: number;
  readonly contenderCpuOthers: number;
  readonly contenderThreads: number;
  readonly generatorThread: number;
  readonly stolen: number;
  /** Receive softirqs on the generator's CPU, all of them others': see WireLab. */
  readonly softirqsPerSecond: number;
  readonly counters: string;
}

async function askSink(sink: Child): Promise<SinkCounts> {
  sink.write('\n');
  return JSON.parse(await sink.line(ANSWER_MS)) as SinkCounts;
}

function sumSeconds(pids: readonly number[]): number {
  return pids.reduce((total, pid) => total + readProcessSeconds(pid), 0);
}

async function read(
  lab: WireLab,
  sink: Child,
  generator: Child,
  pids: readonly number[],
): Promise<Reading> {
  const { generatorCpu, contenderCpu } = lab.settings;
  const counts = await askSink(sink);
  const cpus = readCpuTimes();
  const all = [...cpus.values()];
  return {
    sink: counts,
    machine: all.reduce((total, cpu) => total + cpu.busySeconds, 0),
    stolen: all.reduce((total, cpu) => total + cpu.stolenSeconds, 0),
    generatorCpu: cpus.get(generatorCpu)?.busySeconds ?? 0,
    contenderCpu: cpus.get(contenderCpu)?.busySeconds ?? 0,
    generator: readProcessSeconds(generator.pid),
    contender: sumSeconds(pids),
    softirqs: readSoftirqs('NET_RX', generatorCpu),
  };
}

/** Waits for frames that are what the contender's real server must get. */
async function startSink(lab: WireLab, { expected }: Contender): Promise<Child> {
  const { source, sourcePrefix, destination, ttl, outer } = expected;
  const sink = lab.spawn('server', 'generatorCpu', 'sink', [
    compileProgram('bench/wire/sink.c', '-lbpf'),
    compileObject('bench/wire/sink.bpf.c'),
    lab.ends.server.interface,
    ...[source, String(sourcePrefix), destination, String(SERVICE_PORT), String(ttl), outer],
  ]);
  await sink.line(START_MS);
  return sink;
}

function startGenerator(lab: WireLab, program: string, family: Family): Child {
  const { client, front } = lab.ends;
  const { warmup, seconds, flows, rate } = lab.settings;
  const given: Record<string, string | number> = {
    interface: client.interface,
    'source-mac': client.mac,
    'destination-mac': front.mac,
    source: ADDRESSES[family].flows,
    destination: ADDRESSES[family].virtual,
    port: SERVICE_PORT,
    flows,
    rate,
    seconds: warmup + seconds + GENERATOR_MARGIN_SECONDS,
  };
  const words = Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return lab.spawn('client', 'generatorCpu', 'generator', [program, ...words]);
}

/** Throws when the contender delivered nothing, or frames that are not right. */
function compare(contender: Contender, before: Reading, after: Reading) {
  const seconds = after.sink.time - before.sink.time;
  const delivered = after.sink.expected - before.sink.expected;
  const share = (part: keyof Omit<Reading, 'sink'>) => (after[part] - before[part]) / seconds;
  const { expected, other, sound } = after.sink;
  if (delivered <= 0 || other > 0) {
    const seen = `sink so far: ${expected} as expected, ${other} other`;
    throw new Error(
      `${contender.name} delivered what its server must not get, or nothing (${seen})`,
    );
  }
  if (!sound) throw new Error(`${contender.name} delivered a frame with a wrong checksum`);
  return {
    seconds,
    delivered,
    mpps: delivered / seconds / 1e6,
    perCpuSecond: delivered / ((share('machine') - share('generator')) * seconds),
    generatorCpuOthers: share('generatorCpu') - share('generator'),
    contenderCpuOthers: share('contenderCpu') - share('contender'),
    contenderThreads: share('contender'),
    generatorThread: share('generator'),
    stolen: share('stolen'),
    softirqsPerSecond: share('softirqs'),
  };
}

export async function measure(
  lab: WireLab,
  generatorProgram: string,
  contender: Contender,
): Promise<Measurement> {
  const { warmup, seconds } = lab.settings;
  const sink = await startSink(lab, contender);
  const running = await contender.start(lab);
  const pids = [...running.pids, ...lab.pinReceiveThreads()];
  const generator = startGenerator(lab, generatorProgram, contender.family);
  await sleep(warmup * 1000);
  const before = await read(lab, sink, generator, pids);
  await sleep(seconds * 1000);
  const after = await read(lab, sink, generator, pids);
  lab.checkReceiveThreads();
  if (generator.isOver) throw new Error(`the generator ended early: ${generator.errors}`);
  await generator.stop();
  const offered = JSON.parse(await generator.line(ANSWER_MS)) as Record<string, number>;
  const counters = await running.stop();
  await sink.stop();
  const frames = (offered['sent'] ?? 0) + (offered['refused'] ?? 0);
  const offeredMpps = frames / (offered['seconds'] ?? 1) / 1e6;
  return { ...compare(contender, before, after), offeredMpps, counters };
}
