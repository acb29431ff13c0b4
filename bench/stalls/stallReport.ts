/** What the worker of the stalls bench tells, and is told: STOP and PROVOKE. In doubles. */
import type { DirectorMemory } from '#xvs/table/memory';

export const REPORT = {
  stop: 0,
  rounds: 1,
  frames: 2,
  /** Rounds above STALL_NANOSECONDS, of their own doing, and those in which the CPU was taken. */
  stalls: 3,
  taken: 4,
  /** Longest round that was not taken, and of all, since they were last set to 0; nanoseconds. */
  longest: 5,
  longestOfAll: 6,
  /** The worker's coarse clock. */
  tick: 7,
  /** Not 0: the worker shall stall once, and set it to 0. */
  provoke: 8,
} as const;
export const REPORT_DOUBLES = 9;
export const STALL_NANOSECONDS = 1_000_000;

export interface StallData {
  readonly flows: number;
  readonly cpu: number;
  readonly report: SharedArrayBuffer;
  /** Whether rounds are measured: that looks at the thread's run time, which allocates a little. */
  readonly watches: boolean;
}

/** Said once, when traffic flows and the worker has settled. */
export interface StallReady {
  readonly memory: DirectorMemory;
}
