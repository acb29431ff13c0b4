/** What the main thread and the worker of the control bench tell each other. */
import type { DirectorMemory } from '#xvs/table/memory';

export interface TrafficData {
  readonly flows: number;
  readonly cpu: number;
  /** Two doubles: FRAMES_DONE, frames forwarded so far; STOP, not 0 when the worker is to end. */
  readonly done: SharedArrayBuffer;
}

/** Said once, when traffic flows. */
export interface TrafficReady {
  readonly memory: DirectorMemory;
  /** The kernel's number of the thread. */
  readonly thread: string;
}

export const FRAMES_DONE = 0;
export const STOP = 1;
