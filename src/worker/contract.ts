/** What the main thread hands to a worker thread, and what they tell each other. */
import type { DirectorMemory } from '../table/memory';

export type WorkerMode = 'busy' | 'adaptive' | 'interrupt';

export interface WorkerInterface {
  readonly name: string;
  /** Slot in the link table. */
  readonly slot: number;
  readonly queues: readonly number[];
}

export interface WorkerData {
  readonly index: number;
  /** CPU to pin to, -1 = none. */
  readonly cpu: number;
  /** Where the thread is to stand among others, as of nice(2). */
  readonly nice: number;
  readonly mode: WorkerMode;
  /** False: starts at once, and V8 compiles what it finds busy, under load. */
  readonly warmUp: boolean;
  readonly memory: DirectorMemory;
  /** Of the workers that get ready together (lockstep.ts). */
  readonly lockstep: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly interfaces: readonly WorkerInterface[];
  readonly zeroCopy: 'auto' | 'on' | 'off';
  readonly chunkSize: number;
  readonly ringSize: number;
  readonly busyPollBudget: number;
  readonly tapName: string;
  /** Event that wakes the control plane when a neighbour is asked for. */
  readonly doorbellFd: number;
}

/** Words of the control buffer. */
export const CONTROL_STOP = 0;
/** UMEM chunks that are free, written by the worker about once a second. */
export const CONTROL_FREE_CHUNKS = 1;
export const CONTROL_CHUNKS = 2;
export const CONTROL_WAITING = 3;
export const CONTROL_WORDS = 16;

export interface SocketReport {
  readonly interface: string;
  readonly queue: number;
  readonly fd: number;
  readonly zeroCopy: boolean;
  readonly needWakeup: boolean;
  readonly busyPoll: boolean;
  readonly maxTxSkbBudget: number;
  /** SOCKET_COUNTERS of the addon, live. */
  readonly counters: SharedArrayBuffer;
}

export interface WorkerReady {
  readonly kind: 'ready';
  readonly threadId: number;
  /** Event on which a sleeping worker wakes. */
  readonly eventFd: number;
  readonly txMetadata: boolean;
  /** Why the thread could not be pinned, '' when it is. */
  readonly pinning: string;
  /** Why it has no precedence over the control plane, '' when it has. */
  readonly precedence: string;
  /** Functions of its own that V8 did not compile, which makes it slower; [] as a rule. */
  readonly uncompiled: readonly string[];
  readonly sockets: readonly SocketReport[];
}
