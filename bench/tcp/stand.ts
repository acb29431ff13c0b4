/**
 * One contender between clients and a server, from its start to its end, in a lab of its own: no
 * connection of an earlier one is left, neither in a socket's TIME-WAIT nor in a table.
 *
 * The generator says when what counts begins and ends; both times CPU time is read.
 */
import { eventually, runCommand } from '#xvs/lab/process';
import type { Child } from '../support/child';
import { compileProgram } from '../support/compile';
import { type CpuTime, readCpuTimes, readProcessSeconds } from '../support/cpuTime';
import type { Running } from '../wire/contender';
import { ADDRESSES, SERVICE_PORT } from '../wire/settings';
import type { Contender } from './contenders';
import { type CpuRole, TcpLab } from './lab';
import { type Outcome, readOutcome } from './outcome';
import { type Body, SMALL, startServer } from './server';
import type { LabSettings, Offloads } from './settings';

const START_MS = 20_000;
/** For what comes after its time: connections that are being set up, answers that are late. */
const LATE_MS = 60_000;
const { virtual } = ADDRESSES[4];

export interface Traffic {
  readonly body: Body;
  readonly connections: number;
  /** A connection for each request? */
  readonly isFresh: boolean;
  /** Requests per second, 0 = as fast as it goes. */
  readonly rate: number;
  readonly warmup: number;
  readonly seconds: number;
}

export interface Measurement extends Outcome {
  /**
   * CPUs: run time of the director's threads and of its interfaces' receive threads; null with
   * `tso`, where receive work is done in no thread.
   */
  readonly director: number | null;
  /** The largest share of one of the CPUs that others took, the hypervisor included. */
  readonly others: number;
}

interface Reading {
  readonly time: number;
  readonly cpus: ReadonlyMap<number, CpuTime>;
  readonly threads: Readonly<Record<CpuRole, number>>;
}

const ROLES: readonly CpuRole[] = ['generatorCpu', 'serverCpu', 'contenderCpu'];

export class TcpStand {
  readonly #lab: TcpLab;
  readonly #running: Running;
  readonly #receiveThreads: Readonly<Record<CpuRole, number[]>>;
  #offloads: Offloads = 'gro';

  private constructor(lab: TcpLab, running: Running) {
    this.#lab = lab;
    this.#running = running;
    this.#receiveThreads = lab.pinReceiveThreads();
  }

  static async start(settings: LabSettings, contender: Contender): Promise<TcpStand> {
    const lab = new TcpLab(settings);
    try {
      const server = startServer(lab);
      const stand = new TcpStand(lab, await contender.start(lab));
      await stand.#answers(contender.name, server);
      return stand;
    } catch (error) {
      lab.close();
      throw error;
    }
  }

  async #answers(name: string, server: Child): Promise<void> {
    const url = `http://${virtual}:${SERVICE_PORT}${SMALL.path}`;
    const curl = ['curl', '-sSf', '--max-time', '2', '-o', '/dev/null', url];
    const command = this.#lab.ends.client.host.inside(curl);
    let said = '';
    const answers = await eventually(async () => {
      const { status, stderr } = await runCommand(command);
      said = stderr.trim();
      return status === 0 || server.isOver;
    }, START_MS);
    if (server.isOver) throw new Error(`the server ended: ${server.errors || 'no message'}`);
    if (!answers) throw new Error(`${name}: ${url} is not answered: ${said || 'no message'}`);
  }

  setOffloads(offloads: Offloads): void {
    this.#lab.setOffloads(offloads);
    this.#offloads = offloads;
  }

  async measure(traffic: Traffic): Promise<Measurement> {
    const pids = this.#pids();
    const generator = this.#generate(traffic);
    const lineMs = (traffic.warmup + traffic.seconds) * 1000 + LATE_MS;
    pids.generatorCpu.push(generator.pid);
    await generator.line(lineMs);
    const before = this.#read(pids);
    await generator.line(lineMs);
    const after = this.#read(pids);
    const outcome = readOutcome(await generator.line(lineMs));
    await generator.end(LATE_MS);
    this.#lab.checkReceiveThreads();
    return { ...outcome, ...this.#compare(before, after) };
  }

  /** Returns what the contender counted. */
  async stop(): Promise<string> {
    try {
      return await this.#running.stop();
    } finally {
      this.#lab.close();
    }
  }

  /** Ends what is left of it after a failure. */
  close(): void {
    this.#lab.close();
  }

  #generate({ body, connections, isFresh, rate, warmup, seconds }: Traffic): Child {
    const given: Record<string, string | number> = {
      address: virtual,
      port: SERVICE_PORT,
      path: body.path,
      bytes: body.bytes,
      connections,
      fresh: isFresh ? 1 : 0,
      rate,
      lead: warmup,
      seconds,
    };
    const words = Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const program = compileProgram('bench/tcp/generator.c');
    return this.#lab.spawn('client', 'generatorCpu', 'generator', [program, ...words]);
  }

  /** Of all processes of the two hosts, and the receive threads; without the generator. */
  #pids(): Record<CpuRole, number[]> {
    const { front, server } = this.#lab.ends;
    const threads = this.#receiveThreads;
    return {
      generatorCpu: [...threads.generatorCpu],
      serverCpu: [...threads.serverCpu, ...server.host.pids()],
      contenderCpu: [...threads.contenderCpu, ...front.host.pids()],
    };
  }

  #read(pids: Readonly<Record<CpuRole, number[]>>): Reading {
    const secondsOf = (role: CpuRole) =>
      pids[role].reduce((total, pid) => total + readProcessSeconds(pid), 0);
    return {
      time: performance.now() / 1000,
      cpus: readCpuTimes(),
      threads: {
        generatorCpu: secondsOf('generatorCpu'),
        serverCpu: secondsOf('serverCpu'),
        contenderCpu: secondsOf('contenderCpu'),
      },
    };
  }

  /** Softirqs belong to no thread: with `tso`, whose work is done in them, they are not others'. */
  #compare(before: Reading, after: Reading): Omit<Measurement, keyof Outcome> {
    const seconds = after.time - before.time;
    const { settings } = this.#lab;
    const threads = (role: CpuRole) => (after.threads[role] - before.threads[role]) / seconds;
    const isTso = this.#offloads === 'tso';
    const others = ROLES.map((role) => {
      const cpu = settings[role];
      const [from, to] = [before.cpus.get(cpu), after.cpus.get(cpu)];
      const part = (of: keyof CpuTime) => ((to?.[of] ?? 0) - (from?.[of] ?? 0)) / seconds;
      const here = ROLES.filter((other) => settings[other] === cpu).map(threads);
      const ours = here.reduce((total, share) => total + share, 0);
      const softirqs = isTso ? part('softirqSeconds') : 0;
      return Math.max(part('stolenSeconds'), part('busySeconds') - ours - softirqs);
    });
    return { director: isTso ? null : threads('contenderCpu'), others: Math.max(...others) };
  }
}
