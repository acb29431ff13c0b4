/**
 * Hosts and cables of one lab. Every namespace is named PREFIX-HOST and every file lies in the
 * topology's own directory, so that whatever a lab made can be found, and removed, by its prefix.
 *
 *   prefix     xvs-PID, or xvs-PID-N for the Nth topology of one process
 *   directory  TMPDIR/PREFIX
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onEnd } from './cleanUp';
import { Namespace } from './namespace';
import { commandSync, sleepSync } from './process';

/** Longest interface name the kernel takes (IFNAMSIZ less the final zero byte). */
const INTERFACE_NAME_LENGTH_MAX = 15;
/** How long processes may take to end by themselves before they are killed. */
const TERMINATE_TIMEOUT_MS = 5000;
const KILL_TIMEOUT_MS = 2000;
const POLL_INTERVAL_MS = 10;
const TOPOLOGIES_MAX = 10_000;

/** One end of a cable. */
export interface CableEnd {
  readonly host: Namespace;
  readonly interface: string;
  readonly mac?: string;
  /** Receive and transmit queues of this end; the kernel's default is one of each. */
  readonly queues?: number;
}

function freePrefix(): string {
  for (let number = 1; number <= TOPOLOGIES_MAX; number++) {
    const prefix = number === 1 ? `xvs-${process.pid}` : `xvs-${process.pid}-${number}`;
    const taken = existsSync(join(tmpdir(), prefix)) || Namespace.names(`${prefix}-`).length > 0;
    if (!taken) return prefix;
  }
  throw new Error(`no free prefix among ${TOPOLOGIES_MAX} of xvs-${process.pid} in ${tmpdir()}`);
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch (error) {
      // It ended between the listing and the signal.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** False for a process that is gone, and for one that has only its exit status left. */
function lives(pid: number): boolean {
  try {
    readlinkSync(`/proc/${pid}/ns/net`);
    return true;
  } catch {
    return false;
  }
}

/**
 * Ends the children and every process in the namespaces: SIGTERM, and SIGKILL for those that stay.
 * A child counts by itself too, since a young one has not entered its namespace yet.
 */
function endProcesses(hosts: readonly Namespace[], children: readonly ChildProcess[]): void {
  const own = children.filter((child) => child.exitCode === null && child.signalCode === null);
  const ownPids = own.flatMap((child) => (child.pid === undefined ? [] : [child.pid]));
  const living = () => [
    ...new Set([...hosts.flatMap((host) => host.pids()), ...ownPids.filter(lives)]),
  ];
  for (const [name, timeoutMs] of [
    ['SIGTERM', TERMINATE_TIMEOUT_MS],
    ['SIGKILL', KILL_TIMEOUT_MS],
  ] as const) {
    let left = living();
    signal(left, name);
    const end = performance.now() + timeoutMs;
    while (left.length > 0 && performance.now() < end) {
      sleepSync(POLL_INTERVAL_MS);
      left = living();
    }
    if (left.length === 0) return;
  }
  throw new Error(`processes ${living().join(', ')} do not end`);
}

/** Removes what a topology of this prefix left: processes, namespaces, files. */
export function removeTopology(prefix: string): string[] {
  if (!/^xvs-\d+(-\d+)?$/.test(prefix)) {
    throw new Error(`"${prefix}" is no lab's prefix; they look like xvs-1234 or xvs-1234-2`);
  }
  const names = Namespace.names(`${prefix}-`);
  const hosts = names.map((name) => Namespace.existing(name));
  endProcesses(hosts, []);
  for (const host of hosts) host.delete();
  rmSync(join(tmpdir(), prefix), { recursive: true, force: true });
  return names;
}

export class Topology {
  readonly prefix: string;
  readonly directory: string;
  private readonly hosts: Namespace[] = [];
  private readonly children: ChildProcess[] = [];
  private readonly callOff: () => void;

  constructor() {
    this.prefix = freePrefix();
    this.directory = join(tmpdir(), this.prefix);
    mkdirSync(this.directory, { mode: 0o700 });
    this.callOff = onEnd(() => this.close());
  }

  /** Adds a host. */
  host(name: string): Namespace {
    const namespace = Namespace.create(`${this.prefix}-${name}`);
    this.hosts.push(namespace);
    return namespace;
  }

  /** Lays a cable (a veth pair) between two hosts and brings both ends up. */
  cable(left: CableEnd, right: CableEnd): void {
    for (const end of [left, right]) {
      if (end.interface.length > INTERFACE_NAME_LENGTH_MAX) {
        throw new Error(
          `interface name ${end.interface} has ${end.interface.length} letters, ` +
            `at most ${INTERFACE_NAME_LENGTH_MAX} are allowed`,
        );
      }
    }
    const side = (end: CableEnd) => [
      ...['name', end.interface, 'netns', end.host.name],
      ...(end.mac === undefined ? [] : ['address', end.mac]),
    ];
    commandSync(['ip', 'link', 'add', ...side(left), 'type', 'veth', 'peer', ...side(right)]);
    for (const end of [left, right]) {
      if (end.queues !== undefined) {
        const words = ['rx', `${end.queues}`, 'tx', `${end.queues}`];
        commandSync(end.host.inside(['ethtool', '-L', end.interface, ...words]));
      }
      end.host.ip('link', 'set', end.interface, 'up');
    }
  }

  /** Makes a switch of a host: a bridge, to which `plug` connects interfaces. */
  bridge(host: Namespace, name: string): void {
    host.ip('link', 'add', name, 'type', 'bridge');
    host.ip('link', 'set', name, 'up');
  }

  plug(host: Namespace, bridge: string, interfaceName: string): void {
    host.ip('link', 'set', interfaceName, 'master', bridge);
  }

  /** Lays a cable from a host to the port of a switch's `bridge` that has the given name. */
  behindSwitch(end: CableEnd, switchHost: Namespace, port: string): void {
    this.cable(end, { host: switchHost, interface: port });
    this.plug(switchHost, 'bridge', port);
  }

  /** Starts a process in a host of this topology; it ends with the topology at the latest. */
  spawn(host: Namespace, command: readonly string[], logName?: string): ChildProcess {
    const log = logName === undefined ? {} : { log: join(this.directory, logName) };
    // Detached: a key press of ctrl-c reaches this process, which then ends them in order.
    const child = host.spawn(command, { ...log, detached: true });
    child.on('error', () => undefined);
    this.children.push(child);
    return child;
  }

  /** Leaves everything as it is when this process ends. */
  keep(): void {
    this.callOff();
  }

  /** Ends the processes, deletes namespaces and files. May be called again. */
  close(): void {
    this.callOff();
    endProcesses(this.hosts, this.children);
    for (const host of this.hosts.splice(0)) host.delete();
    this.children.length = 0;
    rmSync(this.directory, { recursive: true, force: true });
  }
}
