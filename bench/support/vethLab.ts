/**
 * Hosts and cables of a bench: network namespaces and veth pairs, with the processes that run in
 * them.
 *
 * On veth, receive work (XDP, the copy into the UMEM, the stack) runs where the sender runs unless
 * the receiving end has a NAPI thread. Each end gets one (GRO on, `threaded`), which a bench pins
 * to the CPU of the host that the end belongs to.
 *
 * Names carry the bench's pid and the lab's number: interfaces are unique on the machine, so that a
 * NAPI thread is found by its name, and namespaces of a bench that was killed are found and removed
 * by the next one.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onEnd } from '#xvs/lab/cleanUp';
import { Namespace } from '#xvs/lab/namespace';
import { commandSync } from '#xvs/lab/process';
import { Child } from './child';

const PREFIX = 'xvs-bench';
/** IPv6 addresses are usable at once, and nobody sends what it was not asked for. */
const QUIET: Readonly<Record<string, number>> = {
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
};
/** All that takes part has the same priority, before what else the machine has to do. */
const NICE = -20;
/**
 * A session of its own: where the kernel shares CPUs out by session (autogroup, sched(7)), a
 * process beside a generator in one session would get half the weight of a kernel thread.
 */
const ALONE = [
  ...['setsid', 'nice', '-n', String(NICE), 'sh', '-c'],
  `[ ! -w /proc/self/autogroup ] || echo ${NICE} >/proc/self/autogroup; exec "$@"`,
  'sh',
];

export interface End {
  readonly host: Namespace;
  readonly interface: string;
  readonly mac: string;
}

/** When a receive thread runs: before all ordinary threads (2 before 1), or as one of them. */
export type ThreadOrder = 2 | 1 | 'fair';

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A thread's name; nothing for one that is gone. */
function readName(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}

/** Removes what a killed bench left; refuses to run beside a living one. */
function sweep(): void {
  for (const name of Namespace.names(`${PREFIX}-`)) {
    const pid = Number(name.split('-')[2]);
    if (pid !== process.pid && isAlive(pid)) {
      throw new Error(`${name}: such a bench is running already (pid ${pid}), one at a time`);
    }
    Namespace.existing(name).delete();
  }
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = /^xvs-bench-(\d+)-\d+$/.exec(name) ?? [];
    if (pid !== undefined && (Number(pid) === process.pid || !isAlive(Number(pid)))) {
      rmSync(join(tmpdir(), name), { recursive: true });
    }
  }
}

/** Labs of this process so far: several may stand, and what is taken down still has its names. */
let labs = 0;

export class VethLab {
  readonly directory: string;
  readonly #prefix: string;
  readonly #tag: string;
  readonly #hosts: Namespace[] = [];
  readonly #children: Child[] = [];
  readonly #callOff: () => void;
  #ends = 0;

  constructor() {
    if (labs === 0) sweep();
    this.#prefix = `${PREFIX}-${process.pid}-${labs}`;
    this.#tag = `${process.pid.toString(36)}${(labs++ % 36).toString(36)}`;
    this.directory = join(tmpdir(), this.#prefix);
    mkdirSync(this.directory, { mode: 0o700 });
    this.#callOff = onEnd(() => this.close());
  }

  protected addHost(name: string): Namespace {
    const host = Namespace.create(`${this.#prefix}-${name}`);
    this.#hosts.push(host);
    host.sysctl(QUIET);
    return host;
  }

  /** Lays a cable between two hosts; its ends, named so, are still down. */
  protected addCable(left: [Namespace, string], right: [Namespace, string]): [End, End] {
    const end = ([host, name]: [Namespace, string]): End => {
      const mac = `02:00:00:00:00:0${++this.#ends}`;
      return { host, interface: `x${this.#tag}${name}`, mac };
    };
    const [from, to] = [end(left), end(right)];
    const side = ({ host, interface: device, mac }: End) => {
      return ['name', device, 'netns', host.name, 'address', mac];
    };
    commandSync(['ip', 'link', 'add', ...side(from), 'type', 'veth', 'peer', ...side(to)]);
    return [from, to];
  }

  /** Brings an end up, with a receive thread of its own; `words`: features, as for ethtool -K. */
  protected raise({ host, interface: device }: End, ...words: string[]): void {
    host.ip('link', 'set', device, 'up');
    // Threads for receive need a NAPI instance, and that needs GRO where no XDP program is.
    commandSync(host.inside(['ethtool', '-K', device, 'gro', 'on', ...words]));
    const file = `/sys/class/net/${device}/threaded`;
    commandSync(host.inside(['sh', '-c', `echo 1 > ${file}`]));
  }

  /** Nobody has to ask who has this address: it is behind `end`, at `mac`. */
  protected introduce({ host, interface: device }: End, address: string, mac: string): void {
    const words = ['neighbour', 'replace', address, 'lladdr', mac, 'dev', device];
    host.ip(...words, 'nud', 'permanent');
  }

  /** Pins the thread that does an end's receive work. Returns its pid. */
  protected pinReceiveThread(end: End, cpu: number, order: ThreadOrder): number {
    const pid = this.#receiveThread(end);
    commandSync(['taskset', '-p', '-c', String(cpu), String(pid)]);
    const policy = order === 'fair' ? ['--other', '--pid', '0'] : ['--fifo', '--pid', `${order}`];
    commandSync(['chrt', ...policy, String(pid)]);
    commandSync(['renice', '-n', String(NICE), '-p', String(pid)]);
    return pid;
  }

  /**
   * Throws unless the interface still leaves its receive work to its thread (then none of it is
   * ever done in softirq), and the thread still may run on that CPU only.
   */
  protected checkReceiveThread(end: End, cpu: number): void {
    const { host, interface: device } = end;
    const threaded = commandSync(host.inside(['cat', `/sys/class/net/${device}/threaded`]));
    if (threaded.trim() !== '1')
      throw new Error(`${device}: threaded is ${threaded.trim()}, not 1`);
    const status = readFileSync(`/proc/${this.#receiveThread(end)}/status`, 'utf8');
    const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1];
    if (allowed !== String(cpu)) {
      throw new Error(`${device}: its receive thread may run on CPU ${allowed}`);
    }
  }

  #receiveThread({ interface: device }: End): number {
    const prefix = `napi/${device}-`;
    const pids = readdirSync('/proc').filter(
      (entry) => /^\d+$/.test(entry) && readName(entry).startsWith(prefix),
    );
    if (pids.length !== 1) {
      throw new Error(`${device}: ${pids.length} threads named ${prefix}..., one is needed`);
    }
    return Number(pids[0]);
  }

  /** Starts a process in a host, on one CPU, before what else runs there. */
  protected start(host: Namespace, cpu: number, name: string, command: readonly string[]): Child {
    const child = new Child(name, { namespace: host.name, cpu }, [...ALONE, ...command]);
    this.#children.push(child);
    return child;
  }

  writeFile(name: string, text: string): string {
    const file = join(this.directory, name);
    writeFileSync(file, text);
    return file;
  }

  close(): void {
    this.#callOff();
    for (const child of this.#children.splice(0)) child.kill();
    for (const host of this.#hosts.splice(0)) host.delete();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
