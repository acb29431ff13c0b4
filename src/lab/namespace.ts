/**
 * A network namespace that stands for one host of a lab. Needs root and iproute2.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  type CommandResult,
  commandSync,
  type RunOptions,
  runCommand,
  type StartOptions,
  startCommand,
  tryCommandSync,
} from './process';

export class Namespace {
  /** Full name, as `ip netns` shows it. */
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Creates the namespace with its loopback interface up. Throws when the name is taken. */
  static create(name: string): Namespace {
    commandSync(['ip', 'netns', 'add', name]);
    const namespace = new Namespace(name);
    namespace.ip('link', 'set', 'lo', 'up');
    return namespace;
  }

  /** The names of all namespaces of this machine that start with `prefix`. */
  static names(prefix = ''): string[] {
    return commandSync(['ip', 'netns', 'list'])
      .split('\n')
      .map((line) => line.split(' ')[0]!)
      .filter((name) => name !== '' && name.startsWith(prefix));
  }

  /** `ip` with these words inside the namespace. */
  ip(...words: string[]): string {
    return commandSync(['ip', '-n', this.name, ...words]);
  }

  /** Brings `interfaceName` up with an address such as "192.168.0.10/24". */
  address(interfaceName: string, addressAndPrefix: string): void {
    this.ip('address', 'add', addressAndPrefix, 'dev', interfaceName);
    this.ip('link', 'set', interfaceName, 'up');
  }

  /** Adds a route; `destination` is a prefix or "default". */
  route(destination: string, gateway: string): void {
    this.ip('route', 'replace', destination, 'via', gateway);
  }

  /** Sets kernel parameters of this namespace, such as `net.ipv4.ip_forward`. */
  sysctl(values: Readonly<Record<string, number>>): void {
    const words = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    commandSync(this.inside(['sysctl', '-q', '-w', ...words]));
  }

  /** The command line that runs `command` in this namespace. */
  inside(command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, ...command];
  }

  run(command: readonly string[], options?: RunOptions): Promise<CommandResult> {
    return runCommand(this.inside(command), options);
  }

  /** `ip netns exec` becomes the command, so the child's pid is the command's own. */
  spawn(command: readonly string[], options?: StartOptions): ChildProcess {
    return startCommand(this.inside(command), options);
  }

  /** Pids of all processes that live in this namespace. */
  pids(): number[] {
    const listed = tryCommandSync(['ip', 'netns', 'pids', this.name]);
    return listed.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  }

  /** Deletes the namespace and all its interfaces. One that is gone already is fine. */
  delete(): void {
    if (existsSync(`/run/netns/${this.name}`)) commandSync(['ip', 'netns', 'delete', this.name]);
  }

  /** The namespace of that name, which exists already. */
  static existing(name: string): Namespace {
    return new Namespace(name);
  }
}
