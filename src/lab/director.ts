/**
 * The daemon in a lab's director namespace: starts `xvsd` as an operator would, with a config file,
 * and talks to it with `xvsadm` and over its metrics address.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import type { Namespace } from './namespace';
import { type CommandResult, ended, eventually, type RunOptions } from './process';
import type { Topology } from './topology';

const BIN_DIRECTORY = resolve(__dirname, '..', 'bin');
/** Where the daemon's metrics are, inside the director's namespace. */
export const METRICS_ADDRESS = '127.0.0.1:9420';
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/** Of the config file's `workers`: as an operator's. */
export const WARMED_UP = { warmUp: true };

/** The keys of xvs.yaml, less those that a lab sets itself (socket, metrics). */
export interface DirectorConfig {
  readonly interfaces: readonly Readonly<Record<string, unknown>>[];
  readonly workers?: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** Absolute path of one of our executables. */
export function executable(name: string): string {
  return join(BIN_DIRECTORY, `${name}.js`);
}

/** The daemon by this Node.js, with the flags that its first line asks for, and more. */
export function daemonCommand(...flags: readonly string[]): string[] {
  const file = executable('xvsd');
  const [first = ''] = readFileSync(file, 'utf8').split('\n', 1);
  const [, own = ''] = /^#!\/usr\/bin\/env -S node (.*)$/.exec(first) ?? [];
  return [process.execPath, ...own.split(' ').filter(Boolean), ...flags, file];
}

export class Director {
  readonly host: Namespace;
  readonly configFile: string;
  readonly logFile: string;
  readonly socket: string;
  private readonly topology: Topology;
  private readonly engineFlags: readonly string[];
  private child: ChildProcess | undefined;

  /** `engineFlags`: for Node.js, before the daemon's words. */
  constructor(
    topology: Topology,
    host: Namespace,
    config: DirectorConfig,
    engineFlags: readonly string[] = [],
  ) {
    this.engineFlags = engineFlags;
    this.topology = topology;
    this.host = host;
    this.configFile = join(topology.directory, 'xvs.yaml');
    this.logFile = join(topology.directory, 'xvsd.log');
    this.socket = join(topology.directory, 'xvs.sock');
    this.configure(config);
  }

  /**
   * Writes the config file; a running daemon reads it on `reload`. Workers begin without a warm-up:
   * whoever measures sets `workers: WARMED_UP`.
   */
  configure(config: DirectorConfig): void {
    const workers = { warmUp: false, ...config.workers };
    const whole = { socket: this.socket, metrics: { listen: METRICS_ADDRESS }, ...config, workers };
    writeFileSync(this.configFile, stringify(whole));
  }

  /** The daemon's pid. Throws when it is not running. */
  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`${this.host.name}: xvsd is not running`);
    return this.child.pid;
  }

  get command(): readonly string[] {
    return [...daemonCommand(...this.engineFlags), '--config', this.configFile];
  }

  /** Starts the daemon and waits until it says it is ready. */
  async start(): Promise<void> {
    const child = this.topology.spawn(this.host, this.command, 'xvsd.log');
    this.child = child;
    const gone = () => child.exitCode !== null || child.signalCode !== null;
    const ready = await eventually(async () => gone() || (await this.isReady()), START_TIMEOUT_MS);
    if (ready && !gone()) return;
    const fate = gone()
      ? `ended with status ${child.exitCode ?? child.signalCode}`
      : `is not ready after ${START_TIMEOUT_MS / 1000} s`;
    throw new Error(`${this.host.name}: xvsd ${fate}; its log:\n${this.log()}`);
  }

  private async isReady(): Promise<boolean> {
    const url = `http://${METRICS_ADDRESS}/readyz`;
    return (await this.host.run(['curl', '-sf', '--max-time', '2', url])).status === 0;
  }

  /** What the daemon has written so far. */
  log(): string {
    return readFileSync(this.logFile, 'utf8').trim();
  }

  xvsadm(words: readonly string[], options?: RunOptions): Promise<CommandResult> {
    return this.tool('xvsadm', words, options);
  }

  /** Runs one of the tools in the director's namespace, against this daemon. */
  tool(name: string, words: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    return this.host.run([process.execPath, executable(name), ...words], {
      ...options,
      environment: { ...options.environment, XVS_SOCKET: this.socket },
    });
  }

  /** The exporter's answer in Prometheus' text format. */
  async metrics(): Promise<string> {
    const url = `http://${METRICS_ADDRESS}/metrics`;
    const said = await this.host.run(['curl', '-sSf', '--max-time', '5', url]);
    if (said.status !== 0) throw new Error(`${this.host.name}: ${url}: ${said.stderr.trim()}`);
    return said.stdout;
  }

  /** Makes the daemon read its config file again. */
  reload(): void {
    process.kill(this.pid, 'SIGHUP');
  }

  /** Ends the daemon with `signal` and waits. Resolves with its exit status, -1 for a signal's. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    const child = this.child;
    if (child === undefined) throw new Error(`${this.host.name}: xvsd is not running`);
    process.kill(this.pid, signal);
    if (
      !(await eventually(
        () => child.exitCode !== null || child.signalCode !== null,
        STOP_TIMEOUT_MS,
      ))
    ) {
      throw new Error(
        `${this.host.name}: xvsd goes on ${STOP_TIMEOUT_MS / 1000} s after ${signal}; its log:\n` +
          this.log(),
      );
    }
    this.child = undefined;
    return ended(child);
  }
}
