/**
 * Listing, filtering, sorting and counting connections in the pool's thread, so that a million of
 * them stall neither the control plane nor a worker: a query goes in, the answer's JSON comes out.
 */
import { join } from 'node:path';
import type { ConnectionBuffers } from '../table/connection';
import type { DirectorMemory } from '../table/memory';
import type { Pool } from './pool';
import type { ConnectionQuery } from './protocol';

/** What the pool's thread is given. */
export interface DumpTask {
  readonly connections: ConnectionBuffers;
  readonly realServers: SharedArrayBuffer;
  readonly tick: number;
  readonly query: ConnectionQuery;
}

const THREAD = join(__dirname, 'connectionDumpThread.js');

export class ConnectionDump {
  readonly #memory: DirectorMemory;
  readonly #pool: Pool;

  constructor(memory: DirectorMemory, pool: Pool) {
    this.#memory = memory;
    this.#pool = pool;
  }

  /** JSON of a ConnectionList or ConnectionCounts: what has not expired at `tick`. */
  connections(tick: number, query: ConnectionQuery = {}): Promise<Uint8Array> {
    const { connections, realServers } = this.#memory;
    const task: DumpTask = { connections, realServers, tick, query };
    return this.#pool.run<DumpTask, Uint8Array>(THREAD, task);
  }
}
