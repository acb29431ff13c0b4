/**
 * One contender between a generator and a sink, from its start to its end. Everything is read
 * twice, in the midst of traffic, and the differences count: nothing is started or stopped between
 * the two readings. What was lost is counted from before the first frame until none arrives.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from '../support/child';
import { compileObject, compileProgram } from '../support/compile';
import { readCpuTimes, readProcessSeconds, readSoftirqs } from '../support/cpuTime';
import { type Contender, type Running, TTL } from './contender';
import type { WireLab } from './lab';
import { ADDRESSES, type Receive, SERVICE_PORT } from './settings';

const ANSWER_MS = 5000;
const START_MS = 10_000;
/** Traffic before the first of the two readings of a measurement. */
const LEAD_SECONDS = 0.2;
/** The generator would run so much longer than needed: it is stopped after the second reading. */
const MARGIN_SECONDS = 5;
/** Nothing is on its way any more when the sink's counter stood still for so long. */
const QUIET_MS = 30;
/** What is overdue when a contender goes on is done within this time. */
const RESUME_MS = 100;
const QUIET_ATTEMPTS_MAX = 100;

export interface Traffic {
  /** Frames per second, 0 = as fast as it goes. */
  readonly rate: number;
  readonly frameBytes: number;
  readonly seconds: number;
  /** Do frames carry the time at which they are sent? */
  readonly hasStamps?: boolean;
}

interface SinkCounts {
  readonly expected: number;
  readonly other: number;
  /** Are the checksums of the frame it kept last right? */
  readonly sound: boolean;
  readonly time: number;
}

/** How old frames were, in nanoseconds: `buckets` as sink.h numbers them, with their counts. */
export interface Delays {
  readonly count: number;
  readonly max: number;
  readonly buckets: readonly (readonly [bucket: number, count: number])[];
}

interface Generated {
  readonly sent: number;
  readonly refused: number;
  readonly slipped: number;
  readonly seconds: number;
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

export interface Loss {
  readonly offered: number;
  readonly offeredPerSecond: number;
  readonly lost: number;
  /** Of what was offered. */
  readonly lossShare: number;
  /** Frames that the generator left out because it was not given its CPU. */
  readonly slipped: number;
}

export interface Measurement extends Loss {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  /** By the run time of the contender's and the receive threads, which others do not touch. */
  readonly perThreadSecond: number;
  /** Busy CPUs of the whole machine, less the generator. */
  readonly cpus: number;
  /** Shares of one CPU during the measurement. */
  readonly generatorCpuOthers: number;
  readonly contenderCpuOthers: number;
  readonly contenderThreads: number;
  readonly generatorThread: number;
  readonly stolen: number;
  /** Receive softirqs on the generator's CPU, all of them others': see WireLab. */
  readonly softirqsPerSecond: number;
}

export class Stand {
  readonly #lab: WireLab;
  readonly #contender: Contender;
  readonly #sink: Child;
  /** Notes the delays of what comes back; null where nothing does. */
  readonly #returns: Child | null;
  readonly #running: Running;
  #pids: readonly number[] = [];

  private constructor(
    lab: WireLab,
    contender: Contender,
    sink: Child,
    returns: Child | null,
    running: Running,
  ) {
    this.#lab = lab;
    this.#contender = contender;
    this.#sink = sink;
    this.#returns = returns;
    this.#running = running;
  }

  /** `echoes`: the server sends everything back, and both sides note how old frames are. */
  static async start(lab: WireLab, contender: Contender, echoes = false): Promise<Stand> {
    const sink = await startSink(lab, contender, echoes ? 'echo' : 'count');
    const returns = echoes ? await startSink(lab, contender, 'return') : null;
    const stand = new Stand(lab, contender, sink, returns, await contender.start(lab));
    stand.setReceive('first');
    return stand;
  }

  /** See WireLab.pinReceiveThreads. */
  setReceive(order: Receive): void {
    this.#pids = [...this.#running.pids, ...this.#lab.pinReceiveThreads(order)];
  }

  /** Sends, and counts what is lost. */
  async send(traffic: Traffic): Promise<Loss> {
    const before = await askSink(this.#sink);
    const generator = this.#generate(traffic, 0);
    return this.#finish(generator, traffic, before);
  }

  /** Sends, and measures what arrives and what it costs. */
  async measure(traffic: Traffic): Promise<Measurement> {
    const begin = await askSink(this.#sink);
    const generator = this.#generate(traffic, LEAD_SECONDS + MARGIN_SECONDS);
    await sleep(LEAD_SECONDS * 1000);
    const before = await this.#read(generator);
    await sleep(traffic.seconds * 1000);
    const after = await this.#read(generator);
    if (generator.isOver) throw new Error(`the generator ended early: ${generator.errors}`);
    await generator.stop();
    const loss = await this.#finish(generator, traffic, begin);
    this.#lab.checkReceiveThreads();
    return { ...loss, ...this.#compare(before, after) };
  }

  /** One way and there and back, since they were last asked for; nothing may be on its way. */
  async takeDelays(): Promise<{ there: Delays; thereAndBack: Delays }> {
    if (this.#returns === null) throw new Error('delays: this stand has no echo');
    const ask = async (sink: Child): Promise<Delays> => {
      sink.write('delays\n');
      return JSON.parse(await sink.line(ANSWER_MS)) as Delays;
    };
    return { there: await ask(this.#sink), thereAndBack: await ask(this.#returns) };
  }

  /** Stops the contender's processes where they are, until `resume`; the kernel goes on. */
  pause(): void {
    for (const pid of this.#running.pids) process.kill(pid, 'SIGSTOP');
  }

  async resume(): Promise<void> {
    for (const pid of this.#running.pids) process.kill(pid, 'SIGCONT');
    await sleep(RESUME_MS);
  }

  /** Returns what the contender counted. */
  async stop(): Promise<string> {
    const counters = await this.#running.stop();
    await this.#sink.stop();
    await this.#returns?.stop();
    return counters;
  }

  #generate({ rate, frameBytes, seconds, hasStamps }: Traffic, more: number): Child {
    const { client, front } = this.#lab.ends;
    const { virtual, flows } = ADDRESSES[this.#contender.family];
    const given: Record<string, string | number> = {
      interface: client.interface,
      'source-mac': client.mac,
      'destination-mac': front.mac,
      source: flows,
      destination: virtual,
      port: SERVICE_PORT,
      flows: this.#lab.settings.flows,
      bytes: frameBytes,
      stamp: hasStamps ? 1 : 0,
      rate,
      seconds: seconds + more,
    };
    const program = compileProgram('bench/wire/generator.c');
    const words = Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)]);
    return this.#lab.spawn('client', 'generatorCpu', 'generator', [program, ...words]);
  }

  /** Waits for the generator's end, and until nothing arrives any more. */
  async #finish(generator: Child, traffic: Traffic, begin: SinkCounts): Promise<Loss> {
    const answerMs = traffic.seconds * 1000 + START_MS;
    const { sent, refused, slipped, seconds } = JSON.parse(
      await generator.line(answerMs),
    ) as Generated;
    await generator.end(START_MS);
    let counts = await askSink(this.#sink);
    for (let attempt = 0; attempt < QUIET_ATTEMPTS_MAX; attempt++) {
      await sleep(QUIET_MS);
      const last = counts.expected;
      counts = await askSink(this.#sink);
      if (counts.expected === last) break;
    }
    this.#check(begin, counts);
    const offered = sent + refused;
    const lost = offered - (counts.expected - begin.expected);
    return {
      offered,
      offeredPerSecond: offered / seconds,
      lost,
      lossShare: offered > 0 ? lost / offered : 0,
      slipped,
    };
  }

  /** Throws when the contender delivered nothing, or frames that are not right. */
  #check(begin: SinkCounts, { expected, other, sound }: SinkCounts): void {
    const { name } = this.#contender;
    if (expected <= begin.expected || other > 0) {
      throw new Error(
        `${name} delivered what its server must not get, or nothing ` +
          `(sink so far: ${expected} as expected, ${other} other)`,
      );
    }
    if (!sound) throw new Error(`${name} delivered a frame with a wrong checksum`);
  }

  async #read(generator: Child): Promise<Reading> {
    const { generatorCpu, contenderCpu } = this.#lab.settings;
    const sink = await askSink(this.#sink);
    const cpus = readCpuTimes();
    const all = [...cpus.values()];
    return {
      sink,
      machine: all.reduce((total, cpu) => total + cpu.busySeconds, 0),
      stolen: all.reduce((total, cpu) => total + cpu.stolenSeconds, 0),
      generatorCpu: cpus.get(generatorCpu)?.busySeconds ?? 0,
      contenderCpu: cpus.get(contenderCpu)?.busySeconds ?? 0,
      generator: readProcessSeconds(generator.pid),
      contender: this.#pids.reduce((total, pid) => total + readProcessSeconds(pid), 0),
      softirqs: readSoftirqs('NET_RX', generatorCpu),
    };
  }

  #compare(before: Reading, after: Reading): Omit<Measurement, keyof Loss> {
    const seconds = after.sink.time - before.sink.time;
    const delivered = after.sink.expected - before.sink.expected;
    const share = (part: keyof Omit<Reading, 'sink'>) => (after[part] - before[part]) / seconds;
    const cpus = share('machine') - share('generator');
    return {
      perSecond: delivered / seconds,
      perCpuSecond: delivered / seconds / cpus,
      perThreadSecond: delivered / seconds / share('contender'),
      cpus,
      generatorCpuOthers: share('generatorCpu') - share('generator'),
      contenderCpuOthers: share('contenderCpu') - share('contender'),
      contenderThreads: share('contender'),
      generatorThread: share('generator'),
      stolen: share('stolen'),
      softirqsPerSecond: share('softirqs'),
    };
  }
}

/** The largest share of a CPU that others took. */
export function disturbance(measurement: Measurement): number {
  const { generatorCpuOthers, contenderCpuOthers, stolen } = measurement;
  return Math.max(generatorCpuOthers, contenderCpuOthers, stolen);
}

async function askSink(sink: Child): Promise<SinkCounts> {
  sink.write('\n');
  return JSON.parse(await sink.line(ANSWER_MS)) as SinkCounts;
}

/** Waits for frames that are what the contender's real server, or the client again, must get. */
async function startSink(
  lab: WireLab,
  { expected }: Contender,
  role: 'count' | 'echo' | 'return',
): Promise<Child> {
  const comesBack = role === 'return';
  const family = expected.destination.includes(':') ? 6 : 4;
  const { flows, flowsPrefix, virtual } = ADDRESSES[family];
  const { source, sourcePrefix, destination, ttl } = comesBack
    ? {
        source: flows,
        sourcePrefix: flowsPrefix,
        destination: virtual,
        ttl: TTL - 2 * (TTL - expected.ttl),
      }
    : expected;
  const end = comesBack ? 'client' : 'server';
  const sink = lab.spawn(end, 'generatorCpu', `sink (${role})`, [
    compileProgram('bench/wire/sink.c', '-lbpf'),
    compileObject('bench/wire/sink.bpf.c'),
    lab.ends[end].interface,
    ...[source, String(sourcePrefix), destination, String(SERVICE_PORT), String(ttl)],
    ...[comesBack ? '-' : expected.outer, role],
  ]);
  await sink.line(START_MS);
  return sink;
}
