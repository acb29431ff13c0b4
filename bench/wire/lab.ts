/**
 * Hosts and cables of the wire bench:
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
import { ADDRESSES, type Family, type Settings } from './settings';

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
      throw new Error(`${name}: a wire bench is running already (pid ${pid}), one at a time`);
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
  readonly settings: Settings;
  readonly directory: string;
  readonly ends: Readonly<Record<EndName, End>>;
  readonly #hosts: Namespace[] = [];
  readonly #children: Child[] = [];
  readonly #callOff: () => void;

  constructor(settings: Settings) {
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
  }

  #cable(left: EndName, right: EndName): void {
    const side = ({ host, interface: device, mac }: End) => {
      return ['name', device, 'netns', host.name, 'address', mac];
    };
    const [from, to] = [side(this.ends[left]), side(this.ends[right])];
    commandSync(['ip', 'link', 'add', ...from, 'type', 'veth', 'peer', ...to]);
  }

  /**
   * Kernel threads that do the receive work of the lab's interfaces, one an interface: pinned. The
   * sink's runs before all else on that CPU (SCHED_FIFO): it stands for a wire, which takes every
   * frame at once. As an equal among others it would fill up whenever a contender does not yield.
   */
  pinReceiveThreads(): number[] {
    const pids = ENDS.map((end) => {
      const pid = this.#receiveThread(end);
      commandSync(['taskset', '-p', '-c', String(this.settings.contenderCpu), String(pid)]);
      return pid;
    });
    commandSync(['chrt', '--fifo', '--pid', '1', String(pids[ENDS.indexOf('server')])]);
    return pids;
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

  /** Starts a process in a host, on one of the two CPUs. */
  spawn(
    end: EndName,
    cpu: 'generatorCpu' | 'contenderCpu',
    name: string,
    command: readonly string[],
  ): Child {
    const place = { namespace: this.ends[end].host.name, cpu: this.settings[cpu] };
    const child = new Child(name, place, command);
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
