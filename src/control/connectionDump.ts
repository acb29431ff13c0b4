/**
 * Listing connections in a thread of its own (piscina), so that a million of them stall neither
 * the control plane nor a worker. The pool begins with the first listing and ends when idle.
 */
import { join } from 'node:path';
import type { Piscina } from 'piscina';
import type { ConnectionBuffers } from '../table/connection';
import type { DirectorMemory } from '../table/memory';

/** What the pool's thread is given. */
export interface DumpTask {
  readonly connections: ConnectionBuffers;
  readonly tick: number;
}

const THREAD = join(__dirname, 'connectionDumpThread.js');
const IDLE_MS = 10_000;

export class ConnectionDump {
  readonly #buffers: ConnectionBuffers;
  #pool: Piscina<DumpTask, Uint8Array> | undefined;

  constructor(memory: DirectorMemory) {
    this.#buffers = memory.connections;
  }

  /** JSON of a ConnectionList: connections that have not expired at `tick`. */
  async connections(tick: number): Promise<Uint8Array> {
    this.#pool ??= await createPool();
    return this.#pool.run({ connections: this.#buffers, tick });
  }

  async close(): Promise<void> {
    await this.#pool?.destroy();
  }
}

async function createPool(): Promise<Piscina<DumpTask, Uint8Array>> {
  const { Piscina } = await import('piscina');
  return new Piscina({ filename: THREAD, minThreads: 0, maxThreads: 1, idleTimeout: IDLE_MS });
}
