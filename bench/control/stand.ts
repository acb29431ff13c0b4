/**
 * The control plane of the bench: the daemon's director and admin socket in the main thread, the
 * traffic in a worker thread on the same shared tables. The kernel's part of a change is done where
 * it may be: the XDP program is attached to one end of a veth pair and its maps are written; the
 * worker's frames come from memory.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Redirect } from '#xvs/control/redirect';
import { RedirectFollower } from '#xvs/control/redirectFollower';
import { addon, type XdpProgram } from '#xvs/port/addon';
import { BenchControlPlane, Scratch } from '../support/controlPlane';
import type { Launched } from './launcher';
import { KEPT_ADDRESS, type Settings } from './settings';
import { Starter } from './starter';
import { FRAMES_DONE, STOP, type TrafficData, type TrafficReady } from './traffic';

export class Stand {
  readonly #scratch = new Scratch('control');
  readonly #done = new Float64Array(new SharedArrayBuffer(16));
  readonly #worker: Worker;
  /** Rejects when the worker has died. */
  readonly failed: Promise<never>;
  readonly #exited: Promise<void>;
  readonly #starter: Starter;
  #plane: BenchControlPlane | undefined;
  #program: XdpProgram | undefined;
  #follower: RedirectFollower | undefined;
  /** What became of the XDP program's maps. */
  maps = 'not written';
  #thread = '';

  /** `interfaceName`: what the XDP program is attached to; null: nothing. */
  constructor(settings: Settings, interfaceName: string | null) {
    this.#loadMaps(settings.maps, interfaceName);
    const workerData: TrafficData = {
      ...{ flows: settings.flows, cpu: settings.workerCpu },
      done: this.#done.buffer as SharedArrayBuffer,
    };
    this.#worker = new Worker(join(__dirname, 'trafficThread.js'), { workerData });
    this.failed = new Promise((_, reject) => this.#worker.once('error', reject));
    this.failed.catch(() => undefined);
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve()));
    this.#starter = new Starter(settings.controlCpu);
  }

  #loadMaps(wanted: Settings['maps'], interfaceName: string | null): void {
    if (wanted === 'off') return;
    try {
      this.#program = addon.loadProgram();
    } catch (error) {
      if (wanted === 'on') throw error;
      this.maps = `not written: ${(error as Error).message.split('\n')[0]}`;
      return;
    }
    this.#follower = new RedirectFollower(new Redirect(this.#program));
    this.maps = 'written; the program is attached nowhere';
    if (interfaceName === null) return;
    const mode = this.#program.attach(interfaceName, 'auto');
    this.maps = `written; the program is attached to ${interfaceName} (${mode})`;
  }

  get socket(): string {
    return this.#plane!.socket;
  }

  /** Resolves when traffic flows, and admin socket and exporter answer. */
  async open(): Promise<void> {
    const ready = new Promise<TrafficReady>((resolve) => this.#worker.once('message', resolve));
    const { memory, thread } = await Promise.race([ready, this.failed]);
    this.#thread = thread;
    this.#plane = new BenchControlPlane(this.#scratch.folder, {
      ...{ memory, tick: () => 0, keptAddress: KEPT_ADDRESS },
      connections: () => Promise.reject(new Error('the bench lists no connections')),
      changed: (director, command) => this.#follower?.changed(director, command),
      verdicts: () => this.#program?.verdicts() ?? [],
    });
    await this.#plane.open();
  }

  get metricsUrl(): string {
    return this.#plane!.metricsUrl;
  }

  /** Frames the worker has forwarded so far. */
  get frames(): number {
    return this.#done[FRAMES_DONE]!;
  }

  /** Milliseconds for which the worker ran, and for which others had its CPU: proc schedstat. */
  get workerTime(): { readonly ranMs: number; readonly waitedMs: number } {
    const text = readFileSync(`/proc/self/task/${this.#thread}/schedstat`, 'utf8');
    const [ran, waited] = text.split(' ').map(Number);
    return { ranMs: ran! / 1e6, waitedMs: waited! / 1e6 };
  }

  get counts(): { readonly services: number; readonly servers: number } {
    return this.#plane!.counts;
  }

  forget(): void {
    this.#plane!.forget();
  }

  /** Runs a tool to its end, on the control plane's CPU. */
  launch(command: readonly string[], input: string): Promise<Launched> {
    return this.#starter.launch(command, input);
  }

  write(name: string, text: string): string {
    return this.#scratch.write(name, text);
  }

  async close(): Promise<void> {
    this.#starter.close();
    this.#done[STOP] = 1;
    await this.#exited;
    await this.#plane?.close();
    this.#follower?.close();
    this.#program?.close();
    this.#scratch.close();
  }
}
