/** What the bench and its two workers, threads on shared tables, tell each other. */
import type { DirectorMemory } from '#xvs/table/memory';
import type { Row } from './row';

/** Packets of existing connections, or connections that begin and end. */
export type Work = 'hits' | 'births';

export interface WorkerThreadData {
  readonly cpu: number;
  /** Number among the workers of `memory`. */
  readonly worker: number;
  readonly memory: DirectorMemory;
  readonly row: Row;
  readonly work: Work;
}

export interface WorkerCommand {
  /** Frames, or connections: whole batches. */
  readonly count: number;
}

/** Said once when it is ready, with 0, then after each command. */
export interface WorkerAnswer {
  /** A packet, or a connection from its beginning to its end. */
  readonly nanoseconds: number;
}
