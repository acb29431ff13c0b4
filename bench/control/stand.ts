/**
 * The control plane of the bench: the daemon's director and admin socket in the main thread, the
 * traffic in a worker thread on the same shared tables. The kernel's part of a change (the XDP
 * program's maps) is left out: there is no NIC.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { applyWhole, parseApplyRequest } from '#xvs/control/apply';
import { Director } from '#xvs/control/director';
import { listServices } from '#xvs/control/listing';
import { Marks } from '#xvs/control/mark/marks';
import { AdminSocket } from '#xvs/control/socket';
import { onEnd } from '#xvs/lab/cleanUp';
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
  readonly #failed: Promise<never>;
  readonly #launcher: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #callOff = onEnd(() => rmSync(this.folder, { recursive: true, force: true }));
  #director: Director | undefined;
  #admin: AdminSocket | undefined;
  #skippedMs = 0;
  #thread = '';

  constructor(settings: Settings) {
    const workerData: TrafficData = {
      ...{ flows: settings.flows, cpu: settings.workerCpu },
      done: this.#done.buffer as SharedArrayBuffer,
    };
    this.#worker = new Worker(join(__dirname, 'trafficThread.js'), { workerData });
    this.#failed = new Promise((_, reject) => this.#worker.once('error', reject));
    this.#failed.catch(() => undefined);
    const words = [
      '-c',
      `${settings.controlCpu}`,
      process.execPath,
      join(__dirname, 'launcher.js'),
    ];
    this.#launcher = spawn('taskset', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = createInterface({ input: this.#launcher.stdout! })[Symbol.asyncIterator]();
  }

  get socket(): string {
    return join(this.folder, 'xvs.sock');
  }

  /** Resolves when traffic flows and the admin socket answers. */
  async open(): Promise<void> {
    const ready = new Promise<TrafficReady>((resolve) => this.#worker.once('message', resolve));
    const { memory, thread } = await Promise.race([ready, this.#failed]);
    this.#thread = thread;
    const now = () => Date.now() + this.#skippedMs;
    const director = new Director(
      attachTables(memory, () => {}),
      () => {},
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
        services: () => listServices(director),
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
    await new Promise((resolve) => this.#worker.once('exit', resolve));
    await this.#admin?.close();
    this.#callOff();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
