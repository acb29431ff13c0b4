/**
 * The worker threads: starts them, puts their sockets behind the XDP program, replaces one that
 * died (its locks broken, its table entries kept), stops them. While a queue has no socket its
 * frames go to the host.
 */
import type { Worker } from 'node:worker_threads';
import type { WorkerState } from '../control/metrics';
import { addon, type XdpProgram } from '../port/addon';
import type { Tables } from '../table/memory';
import { CONTROL_STOP, CONTROL_WORDS, type WorkerReady } from '../worker/contract';
import { announceWorker } from './announce';
import { log } from './log';
import { type SpawnData, type Spawned, Spawning } from './spawning';

const STOP_MS = 3000;
/** Worker.threadId of a thread that has ended. */
const ENDED = -1;
const RESTARTS_MAX = 5;
const RESTARTS_WITHIN_MS = 60_000;

const NOT_STARTED = 'no worker is started, since xvsd stops';

export type StartData = Omit<SpawnData, 'control'>;

interface Running {
  /** False from its death until another has taken its place: its fds are not its own any more. */
  alive: boolean;
  /** How often another has taken its place. */
  restarts: number;
  thread: Worker;
  ready: WorkerReady;
  end: Spawned['end'];
  readonly control: Int32Array;
  readonly data: SpawnData;
}

export class Workers {
  readonly #program: XdpProgram;
  readonly #tables: Tables;
  readonly #running: Running[] = [];
  readonly #failed: (error: Error) => void;
  #deaths: number[] = [];
  #spawning: Spawning | undefined;
  /** Ends when what is being started is ready or has failed. */
  #starting: Promise<unknown> = Promise.resolve();
  #stopping = false;

  /** `failed`: a worker cannot be replaced; the daemon has to end. */
  constructor(program: XdpProgram, tables: Tables, failed: (error: Error) => void) {
    this.#program = program;
    this.#tables = tables;
    this.#failed = failed;
  }

  get running(): readonly WorkerState[] {
    return this.#running;
  }

  /** All of them together, each when the others are ready too; none is left when one fails. */
  async start(all: readonly StartData[]): Promise<readonly WorkerReady[]> {
    const whole = all.map((data) => ({
      ...data,
      control: new SharedArrayBuffer(CONTROL_WORDS * 4),
    }));
    const spawned = await this.#spawn(whole);
    for (const [at, one] of spawned.entries()) {
      const data = whole[at]!;
      const control = new Int32Array(data.control);
      const running: Running = { alive: true, restarts: 0, ...one, control, data };
      this.#running.push(running);
      this.#watch(running);
    }
    if (this.#stopping) throw new Error(NOT_STARTED); // stop() ends them.
    return spawned.map(({ ready }) => ready);
  }

  /** Sends the queues' frames to the sockets. */
  connect(): void {
    for (const { alive, ready } of this.#running) {
      if (alive) this.#connectSockets(ready);
    }
  }

  #connectSockets(ready: WorkerReady): void {
    for (const socket of ready.sockets) {
      this.#program.setSocket(socket.interface, socket.queue, socket.fd);
    }
  }

  /** Wakes workers that sleep while frames of theirs wait. */
  wake(): void {
    for (const { alive, ready } of this.#running) {
      if (alive) addon.signalEvent(ready.eventFd);
    }
  }

  /** One call after the other: workers that get ready set V8's flags, which are the process's. */
  #spawn(all: readonly SpawnData[]): Promise<readonly Spawned[]> {
    const spawned = this.#starting.then(async () => {
      if (this.#stopping) throw new Error(NOT_STARTED);
      this.#spawning = new Spawning(all);
      return await this.#spawning.ready;
    });
    this.#starting = spawned.catch(() => {});
    return spawned;
  }

  #watch(running: Running): void {
    const over = () => {
      running.alive = false;
      if (!this.#stopping) void this.#replace(running);
    };
    if (running.thread.threadId === ENDED) over();
    else running.thread.once('exit', over);
  }

  async #replace(running: Running): Promise<void> {
    const { index } = running.data;
    log('error', 'worker_died', `worker ${index}: ${running.end.reason}`, { worker: index });
    const now = Date.now();
    this.#deaths = [...this.#deaths.filter((at) => now - at < RESTARTS_WITHIN_MS), now];
    if (this.#deaths.length > RESTARTS_MAX) {
      this.#failed(new Error(`workers died ${this.#deaths.length} times within a minute`));
      return;
    }
    const owner = index + 1;
    const broken =
      this.#tables.connections.breakLocks(owner) +
      this.#tables.services.breakLocks(owner) +
      this.#tables.localities.breakLocks(owner) +
      this.#tables.localAddresses.breakLocks(owner) +
      this.#tables.localPorts.breakLocks(owner) +
      this.#tables.fragments.breakLocks(owner);
    try {
      const [spawned] = await this.#spawn([running.data]);
      const { ready } = spawned!;
      Object.assign(running, spawned);
      running.alive = true;
      running.restarts++;
      if (this.#stopping) return; // stop() has waited for this one.
      this.#watch(running);
      if (!running.alive) return; // It has ended, and is being replaced in its turn.
      this.#connectSockets(ready);
      announceWorker(index, running.data, ready);
      log(
        'warn',
        'worker_replaced',
        `worker ${index}: replaced; ${broken} lock(s) of the dead one broken`,
        { worker: index, locks: broken },
      );
    } catch (error) {
      if (!this.#stopping) this.#failed(error as Error);
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#spawning?.endUnready();
    await this.#starting;
    await Promise.all(this.#running.map((running) => stopOne(running)));
  }
}

async function stopOne({ alive, thread, control, ready }: Running): Promise<void> {
  if (!alive || thread.threadId === ENDED) return;
  const ended = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
  Atomics.store(control, CONTROL_STOP, 1);
  addon.signalEvent(ready.eventFd);
  const timer = setTimeout(() => void thread.terminate(), STOP_MS);
  await ended;
  clearTimeout(timer);
}
