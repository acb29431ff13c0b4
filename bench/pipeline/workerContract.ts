/** What the bench and its two workers, pinned threads, tell each other. */
import type { DirectorMemory } from '#xvs/table/memory';
import type { Row } from './row';

/** Packets of existing connections; connections that begin and end. */
export type TableWork = 'hits' | 'births';
/** Or a loop that touches no memory: what two CPUs give, whatever they work on. */
export type Work = TableWork | 'arithmetic';

export interface WorkerThreadData {
  readonly cpu: number;
}

/** To be run later, by its place among those that were prepared. */
export interface Preparation {
  readonly work: TableWork;
  readonly row: Row;
  readonly memory: DirectorMemory;
  /** Number among the workers of `memory`. */
  readonly worker: number;
}

export interface RunCommand {
  /** Place; -1: arithmetic. */
  readonly at: number;
  /** Frames, or connections: whole batches; or steps of arithmetic. */
  readonly count: number;
}

export type WorkerCommand = { readonly prepare: Preparation } | { readonly run: RunCommand };

/** Said once when it has warmed up, then after each command; 0 where nothing was timed. */
export interface WorkerAnswer {
  /** A packet, a connection from its beginning to its end, or a step. */
  readonly nanoseconds: number;
  /** Connections that were not made, since the other worker held a lock for too long. */
  readonly busy: number;
}
