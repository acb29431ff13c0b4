/**
 * Listing, filtering, sorting and counting connections in the pool's thread, so that a million of
 * them stall neither the control plane nor a worker: a query goes in, the answer's JSON comes out.
 *
 * A list comes in pieces, each made when the reader has taken the one before: however long it is,
 * no more than one piece of text is in memory. The thread is free in between, so that a reader who
 * takes his time holds nobody up.
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
  /** Entries to be written; null: they are to be chosen, or counted. */
  readonly chosen: Int32Array | null;
}

const THREAD = join(__dirname, 'connectionDumpThread.js');
/** Entries of one piece: about a megabyte of text. */
const PIECE_ENTRIES = 4096;

export class ConnectionDump {
  readonly #memory: DirectorMemory;
  readonly #pool: Pool;

  constructor(memory: DirectorMemory, pool: Pool) {
    this.#memory = memory;
    this.#pool = pool;
  }

  /** JSON of a ConnectionList or ConnectionCounts: what has not expired at `tick`. */
  async connections(
    tick: number,
    query: ConnectionQuery = {},
  ): Promise<Uint8Array | AsyncIterable<string | Uint8Array>> {
    if (query.count !== undefined) return this.#run<Uint8Array>(tick, query, null);
    const chosen = await this.#run<Int32Array>(tick, query, null);
    return this.#write(tick, query, chosen);
  }

  async *#write(
    tick: number,
    query: ConnectionQuery,
    chosen: Int32Array,
  ): AsyncGenerator<string | Uint8Array> {
    const { limit = 0 } = query;
    const end = limit === 0 ? chosen.length : Math.min(limit, chosen.length);
    yield `{"total":${chosen.length},"connections":[`;
    let isFirst = true;
    for (let from = 0; from < end; from += PIECE_ENTRIES) {
      const some = chosen.slice(from, Math.min(from + PIECE_ENTRIES, end));
      const rows = await this.#run<Uint8Array>(tick, query, some);
      if (rows.length === 0) continue;
      if (!isFirst) yield ',';
      yield rows;
      isFirst = false;
    }
    yield ']}';
  }

  #run<Result>(tick: number, query: ConnectionQuery, chosen: Int32Array | null): Promise<Result> {
    const { connections, realServers } = this.#memory;
    return this.#pool.run<DumpTask, Result>(THREAD, {
      connections,
      realServers,
      tick,
      query,
      chosen,
    });
  }
}
