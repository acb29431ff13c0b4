/**
 * The control plane of the bench: the daemon's director and admin socket in the main thread, the
 * traffic in a worker thread on the same shared tables. The kernel's part of a change is done where
 * it may be: the XDP program is attached to one end of a veth pair and its maps are written; the
 * worker's frames come from memory.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { applyWhole, parseApplyRequest } from '#xvs/control/apply';
import { Director } from '#xvs/control/director';
import { streamServices } from '#xvs/control/listing';
import { Marks } from '#xvs/control/mark/marks';
import { createExporter } from '#xvs/control/metrics';
import { createMetricsServer } from '#xvs/control/metricsServer';
import { Redirect } from '#xvs/control/redirect';
import { RedirectFollower } from '#xvs/control/redirectFollower';
import { AdminSocket } from '#xvs/control/socket';
import { onEnd } from '#xvs/lab/cleanUp';
import { addon, type XdpProgram } from '#xvs/port/addon';
import { attachTables } from '#xvs/table/memory';
import type { Launch, Launched } from './launcher';
import { KEPT_ADDRESS, type Settings } from './settings';
import { FRAMES_DONE, STOP, type TrafficData, type TrafficReady } from './traffic';

const STEP_TIMEOUT_MS = 600_000;
/** The director keeps what was removed for two minutes. */
const TRASH_MS = 121_000;

export class Stand {
  readonly folder = mkdtempSync(join(tmpdir(), 'xvs-bench-control-'));
  readonly #done = new Float64Array(new SharedArrayBuffer(16));
  readonly #worker: Worker;
  /** Rejects when the worker has died. */
  readonly failed: Promise<never>;
  readonly #exited: Promise<void>;
  readonly #launcher: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #callOff = onEnd(() => rmSync(this.folder, { recursive: true, force: true }));
  #director: Director | undefined;
  #admin: AdminSocket | undefined;
  #exporter: Server | undefined;
  #program: XdpProgram | undefined;
  #follower: RedirectFollower | undefined;
  /** What became of the XDP program's maps. */
  maps = 'not written';
  #skippedMs = 0;
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
    const words = [
      '-c',
      `${settings.controlCpu}`,
      process.execPath,
      join(__dirname, 'launcher.js'),
    ];
    this.#launcher = spawn('taskset', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = createInterface({ input: this.#launcher.stdout! })[Symbol.asyncIterator]();
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
    return join(this.folder, 'xvs.sock');
  }

  /** Resolves when traffic flows and the admin socket answers. */
  async open(): Promise<void> {
    const ready = new Promise<TrafficReady>((resolve) => this.#worker.once('message', resolve));
    const { memory, thread } = await Promise.race([ready, this.failed]);
    this.#thread = thread;
    const now = () => Date.now() + this.#skippedMs;
    const director: Director = new Director(
      attachTables(memory, () => {}),
      (command) => this.#follower?.changed(director, command),
      now,
    );
    const marks = new Marks(['front', 'back'], () => {});
    this.#director = director;
    director.execute({
      command: 'add-service',
      service: { family: 4, protocol: 'tcp', address: KEPT_ADDRESS, port: 80, fwmark: 0 },
      settings: {
        ...{ scheduler: 'rr', persistentTimeout: 0, netmask: '255.255.255.255', onePacket: false },
        ...{ schedulerFlags: [false, false, false], persistenceEngine: '' },
      },
    });
    this.#admin = new AdminSocket(
      this.socket,
      {
        services: (query) => streamServices(director, query.get('brief') === '1'),
        connections: () => Promise.reject(new Error('the bench lists no connections')),
        timeouts: () => director.timeouts,
        execute: (command) => director.execute(command),
      },
      {
        'POST /v1/apply': (body) =>
          applyWhole({ director, marks, startup: {} }, parseApplyRequest(body)),
      },
    );
    await this.#admin.open();
    await this.#openExporter(director);
  }

  async #openExporter(director: Director): Promise<void> {
    const exporter = createExporter({
      director,
      program: { verdicts: () => this.#program?.verdicts() ?? [] },
      ...{ verdictNames: addon.XDP_VERDICTS, socketCounters: addon.SOCKET_COUNTERS },
      ...{ interfaces: [], xdpModes: new Map(), workers: [], nowTick: () => 0 },
    });
    const server = createMetricsServer(exporter, () => true);
    this.#exporter = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => resolve());
    });
  }

  /** Where the exporter answers. */
  get metricsUrl(): string {
    const { port } = this.#exporter!.address() as AddressInfo;
    return `http://127.0.0.1:${port}/metrics`;
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

  /** Services and real servers there are, less the one that stays. */
  get counts(): { readonly services: number; readonly servers: number } {
    const services = this.#director!.services;
    const servers = services.reduce((sum, service) => sum + service.servers.length, 0);
    return { services: services.length - 1, servers };
  }

  /** As if two minutes had passed: what was removed does not come back from the trash. */
  forget(): void {
    this.#skippedMs += TRASH_MS;
    this.#director!.emptyTrash();
  }

  /** Runs a tool to its end, on the control plane's CPU. */
  async launch(command: readonly string[], input: string): Promise<Launched> {
    const launch: Launch = { command, input, timeoutMs: STEP_TIMEOUT_MS };
    this.#launcher.stdin!.write(`${JSON.stringify(launch)}\n`);
    const answer = await this.#answers.next();
    if (answer.done === true) throw new Error('the launcher has ended');
    return JSON.parse(answer.value) as Launched;
  }

  write(name: string, text: string): string {
    const file = join(this.folder, name);
    writeFileSync(file, text);
    return file;
  }

  async close(): Promise<void> {
    this.#launcher.stdin!.end();
    this.#done[STOP] = 1;
    await this.#exited;
    await this.#admin?.close();
    this.#exporter?.closeAllConnections();
    this.#exporter?.close();
    this.#follower?.close();
    this.#program?.close();
    this.#callOff();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
