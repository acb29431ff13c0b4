/**
 * Hosts and cables of the benches wire and latency:
 *
 *   client namespace        director namespace            server namespace
 *   generator -> [client] ====> [front]  contender  [back] ====> [server] -> sink (XDP, drops)
 *
 * On veth, receive work (XDP, the copy into the UMEM, the stack) runs where the sender runs unless
 * the receiving end has a NAPI thread. Each end gets one (GRO on, `threaded`), pinned to the
 * contender's CPU: what the generator's CPU does is then the generator's alone.
 *
 * Names carry the bench's pid: interfaces are unique on the machine, so that a NAPI thread is found
 * by its name, and namespaces of a bench that was killed are found and removed by the next one.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onEnd } from '#xvs/lab/cleanUp';
import { Namespace } from '#xvs/lab/namespace';
import { commandSync } from '#xvs/lab/process';
import { Child } from '../support/child';
import { ADDRESSES, type Family, type LabSettings, type Receive } from './settings';

const PREFIX = 'xvs-bench';
const ENDS = ['client', 'front', 'back', 'server'] as const;
export type EndName = (typeof ENDS)[number];
/** IPv6 addresses are usable at once, and nobody sends what it was not asked for. */
const QUIET: Readonly<Record<string, number>> = {
  'net.ipv6.conf.all.disable_ipv6': 0,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
};
/** The clients' side. */
const CLIENT_NETWORKS: Readonly<Record<Family, string>> = {
  4: '198.18.0.0/16',
  6: '2001:2:0:1::/64',
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
/** Flows that have one source address, as the generator counts them. */
const PORTS_PER_ADDRESS = 60_000;

/** The first one ends in .0 or :100, and a million flows have seventeen. */
function flowAddress(family: Family, number: number): string {
  const { flows } = ADDRESSES[family];
  const last = /[^.:]+$/.exec(flows)?.[0] ?? '';
  const base = family === 4 ? 10 : 16;
  const next = (Number.parseInt(last, base) + number).toString(base);
  return `${flows.slice(0, -last.length)}${next}`;
}

export interface End {
  readonly host: Namespace;
  readonly interface: string;
  readonly mac: string;
}

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
    const [, pid] = /^xvs-bench-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && (Number(pid) === process.pid || !isAlive(Number(pid)))) {
      rmSync(join(tmpdir(), name), { recursive: true });
    }
  }
}

export class WireLab {
  readonly settings: LabSettings;
  readonly directory: string;
  readonly ends: Readonly<Record<EndName, End>>;
  readonly #hosts: Namespace[] = [];
  readonly #children: Child[] = [];
  readonly #callOff: () => void;

  constructor(settings: LabSettings) {
    sweep();
    this.settings = settings;
    this.directory = join(tmpdir(), `${PREFIX}-${process.pid}`);
    mkdirSync(this.directory, { mode: 0o700 });
    this.#callOff = onEnd(() => this.close());
    const [client, director, server] = ['client', 'director', 'server'].map((name) => {
      const host = Namespace.create(`${PREFIX}-${process.pid}-${name}`);
      this.#hosts.push(host);
      return host;
    }) as [Namespace, Namespace, Namespace];
    const hosts = { client, front: director, back: director, server };
    const tag = process.pid.toString(36);
    const end = (name: EndName, index: number): [EndName, End] => [
      name,
      { host: hosts[name], interface: `x${tag}${name}`, mac: `02:00:00:00:00:0${index + 1}` },
    ];
    this.ends = Object.fromEntries(ENDS.map(end)) as Record<EndName, End>;
    this.#build(director);
  }

  #build(director: Namespace): void {
    for (const host of this.#hosts) host.sysctl(QUIET);
    director.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    this.#cable('client', 'front');
    this.#cable('back', 'server');
    for (const family of [4, 6] as const) this.#address(family);
    for (const name of ENDS) {
      const { host, interface: device } = this.ends[name];
      host.ip('link', 'set', device, 'up');
      // Threads for receive need a NAPI instance, and that needs GRO where no XDP program is.
      commandSync(host.inside(['ethtool', '-K', device, 'gro', 'on', 'tso', 'off', 'gso', 'off']));
      const file = `/sys/class/net/${device}/threaded`;
      commandSync(host.inside(['sh', '-c', `echo 1 > ${file}`]));
    }
    for (const family of [4, 6] as const) this.#connect(family);
  }

  #address(family: Family): void {
    const { virtual, client, director, server, prefixLength } = ADDRESSES[family];
    const addresses: Record<EndName, string> = { client, front: virtual, back: director, server };
    const words = family === 6 ? ['nodad'] : [];
    for (const name of ENDS) {
      const { host, interface: device } = this.ends[name];
      const address = `${addresses[name]}/${prefixLength}`;
      host.ip('address', 'add', address, 'dev', device, ...words);
    }
  }

  /** Neighbours and routes: nobody has to ask for anything. */
  #connect(family: Family): void {
    const { client: clientAddress, director, server: serverAddress } = ADDRESSES[family];
    const { back, front, server, client } = this.ends;
    for (const [end, address, mac] of [
      [back, serverAddress, server.mac],
      [front, clientAddress, client.mac],
      [server, director, back.mac],
    ] as const) {
      const words = ['neighbour', 'replace', address, 'lladdr', mac];
      end.host.ip(...words, 'dev', end.interface, 'nud', 'permanent');
    }
    server.host.route(CLIENT_NETWORKS[family], director);
    // What comes back is for a flow's address, which nobody has.
    const ranges = Math.ceil(this.settings.flows / PORTS_PER_ADDRESS);
    for (let number = 0; number < ranges; number++) {
      const address = flowAddress(family, number);
      const words = ['neighbour', 'replace', address, 'lladdr', client.mac];
      front.host.ip(...words, 'dev', front.interface, 'nud', 'permanent');
    }
  }

  #cable(left: EndName, right: EndName): void {
    const side = ({ host, interface: device, mac }: End) => {
      return ['name', device, 'netns', host.name, 'address', mac];
    };
    const [from, to] = [side(this.ends[left]), side(this.ends[right])];
    commandSync(['ip', 'link', 'add', ...from, 'type', 'veth', 'peer', ...to]);
  }

  /**
   * Pins the kernel threads that do the receive work of the lab's interfaces, one an interface, to
   * the contender's CPU, and says when they run there.
   *
   * `first`: before all else (SCHED_FIFO), as the interrupt work that they stand for does on a NIC.
   * `fair`: as an equal of the contender's own threads, as the kernel has it once interrupt work
   * overloads a CPU (ksoftirqd); for floods, in which it would leave nothing to the contender.
   *
   * Those of the two ends that stand for the wire are always first, and before the contender's: a
   * wire takes every frame at once. As an equal among others the sink's would fill up whenever a
   * contender does not yield.
   */
  pinReceiveThreads(order: Receive): number[] {
    return ENDS.map((end) => {
      const pid = this.#receiveThread(end);
      commandSync(['taskset', '-p', '-c', String(this.settings.contenderCpu), String(pid)]);
      if (end === 'client' || end === 'server') {
        commandSync(['chrt', '--fifo', '--pid', '2', String(pid)]);
      } else {
        const policy = order === 'first' ? ['--fifo', '--pid', '1'] : ['--other', '--pid', '0'];
        commandSync(['chrt', ...policy, String(pid)]);
        commandSync(['renice', '-n', String(NICE), '-p', String(pid)]);
      }
      return pid;
    });
  }

  /**
   * Throws unless every interface still leaves its receive work to its thread (then none of it is
   * ever done in softirq), and the thread still may run on the contender's CPU only.
   */
  checkReceiveThreads(): void {
    for (const end of ENDS) {
      const { host, interface: device } = this.ends[end];
      const threaded = commandSync(host.inside(['cat', `/sys/class/net/${device}/threaded`]));
      if (threaded.trim() !== '1') throw new Error(`${end}: threaded is ${threaded.trim()}, not 1`);
      const status = readFileSync(`/proc/${this.#receiveThread(end)}/status`, 'utf8');
      const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1];
      if (allowed !== String(this.settings.contenderCpu)) {
        throw new Error(`${end}: its receive thread may run on CPU ${allowed}`);
      }
    }
  }

  #receiveThread(end: EndName): number {
    const prefix = `napi/${this.ends[end].interface}-`;
    const pids = readdirSync('/proc').filter(
      (entry) => /^\d+$/.test(entry) && readName(entry).startsWith(prefix),
    );
    if (pids.length !== 1) {
      throw new Error(`${end}: ${pids.length} threads named ${prefix}..., one is needed`);
    }
    return Number(pids[0]);
  }

  /** Starts a process in a host, on one of the two CPUs, before what else runs there. */
  spawn(
    end: EndName,
    cpu: 'generatorCpu' | 'contenderCpu',
    name: string,
    command: readonly string[],
  ): Child {
    const place = { namespace: this.ends[end].host.name, cpu: this.settings[cpu] };
    const child = new Child(name, place, [...ALONE, ...command]);
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
