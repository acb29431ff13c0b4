/**
 * The control plane of the stalls bench: director, admin socket, pool and exporter of the daemon on
 * the worker's tables, and a starter of tools in a process of its own (bench/control/launcher.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { applyWhole, parseApplyRequest } from '#xvs/control/apply';
import { ConnectionDump } from '#xvs/control/connectionDump';
import { parseConnectionQuery } from '#xvs/control/connectionQuery';
import { Director } from '#xvs/control/director';
import { streamServices } from '#xvs/control/listing';
import { Marks } from '#xvs/control/mark/marks';
import { createExporter } from '#xvs/control/metrics';
import { createMetricsServer } from '#xvs/control/metricsServer';
import { Pool } from '#xvs/control/pool';
import { AdminSocket } from '#xvs/control/socket';
import { onEnd } from '#xvs/lab/cleanUp';
import { addon, type XdpProgram } from '#xvs/port/addon';
import { attachTables, type DirectorMemory } from '#xvs/table/memory';
import type { Launch, Launched } from '../control/launcher';
import { KEPT_ADDRESS } from '../control/settings';

const STEP_TIMEOUT_MS = 300_000;
/** The director keeps what was removed for two minutes. */
const TRASH_MS = 121_000;

export class ControlPlane {
  readonly folder = mkdtempSync(join(tmpdir(), 'xvs-bench-stalls-'));
  readonly #callOff = onEnd(() => rmSync(this.folder, { recursive: true, force: true }));
  readonly #launcher: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #pool = new Pool();
  #director: Director | undefined;
  #admin: AdminSocket | undefined;
  #exporter: Server | undefined;
  #skippedMs = 0;

  /** Before the tables are there: a fork of a large process would slow the worker down. */
  constructor(controlCpu: number) {
    const launcher = join(__dirname, '..', 'control', 'launcher.js');
    const words = ['-c', `${controlCpu}`, process.execPath, launcher];
    this.#launcher = spawn('taskset', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#answers = createInterface({ input: this.#launcher.stdout! })[Symbol.asyncIterator]();
  }

  /** `tick`: the worker's clock. */
  async open(memory: DirectorMemory, tick: () => number): Promise<void> {
    const now = () => Date.now() + this.#skippedMs;
    const director = new Director(
      attachTables(memory, () => {}),
      () => {},
      now,
    );
    this.#director = director;
    const marks = new Marks(['front', 'back'], () => {});
    // With the last service gone live connections would be the host's.
    director.execute({
      command: 'add-service',
      service: { family: 4, protocol: 'tcp', address: KEPT_ADDRESS, port: 80, fwmark: 0 },
      settings: {
        ...{ scheduler: 'rr', persistentTimeout: 0, netmask: '255.255.255.255', onePacket: false },
        ...{ schedulerFlags: [false, false, false], persistenceEngine: '' },
      },
    });
    const dump = new ConnectionDump(memory, this.#pool);
    this.#admin = new AdminSocket(
      this.socket,
      {
        services: (query) => streamServices(director, query.get('brief') === '1'),
        connections: (query) => dump.connections(tick(), parseConnectionQuery(query)),
        timeouts: () => director.timeouts,
        execute: (command) => director.execute(command),
      },
      {
        'POST /v1/apply': (body) =>
          applyWhole({ director, marks, startup: {} }, parseApplyRequest(body)),
      },
    );
    await this.#admin.open();
    await this.#export(director, tick);
  }

  async #export(director: Director, tick: () => number): Promise<void> {
    const exporter = createExporter({
      director,
      // Frames come from memory: there is no program to ask.
      program: { verdicts: () => [] } as unknown as XdpProgram,
      verdictNames: [],
      socketCounters: addon.SOCKET_COUNTERS,
      interfaces: [],
      xdpModes: new Map(),
      workers: [],
      nowTick: tick,
    });
    this.#exporter = createMetricsServer(exporter, () => true);
    this.#exporter.listen(0, '127.0.0.1');
    await once(this.#exporter, 'listening');
  }

  get socket(): string {
    return join(this.folder, 'xvs.sock');
  }

  get services(): number {
    return this.#director!.services.length - 1;
  }

  /** One page of metrics. Returns its length in bytes. */
  async scrape(): Promise<number> {
    const { port } = this.#exporter!.address() as AddressInfo;
    return new Promise((resolve, reject) => {
      const request = get({ host: '127.0.0.1', port, path: '/metrics' }, (response) => {
        let bytes = 0;
        response.on('data', (data: Buffer) => {
          bytes += data.length;
        });
        response.on('end', () => resolve(bytes));
        response.on('error', reject);
      });
      request.on('error', reject);
    });
  }

  /** Runs a tool to its end, on the control plane's CPU. Throws when it fails. */
  async launch(command: readonly string[]): Promise<void> {
    const launch: Launch = { command, input: '', timeoutMs: STEP_TIMEOUT_MS };
    this.#launcher.stdin!.write(`${JSON.stringify(launch)}\n`);
    const answer = await this.#answers.next();
    if (answer.done === true) throw new Error('the launcher has ended');
    const { status, stderr } = JSON.parse(answer.value) as Launched;
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr.trim()}`);
  }

  /** As if two minutes had passed: what was removed does not come back from the trash. */
  forget(): void {
    this.#skippedMs += TRASH_MS;
    this.#director!.emptyTrash();
  }

  write(name: string, text: string): string {
    const file = join(this.folder, name);
    writeFileSync(file, text);
    return file;
  }

  async close(): Promise<void> {
    this.#launcher.stdin!.end();
    this.#exporter?.closeAllConnections();
    this.#exporter?.close();
    await this.#admin?.close();
    await this.#pool.close();
    this.#callOff();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
