/**
 * The overview of a running director, as `GET /v1/overview` of the admin socket and
 * `GET /overview.json` of the web page give it: counters and levels of one moment. Rates are the
 * reader's matter, from two of them. Types only.
 *
 * Services and real servers are rows without names, since there may be a hundred thousand.
 *
 *   ?servers=all    every real server (the default)
 *   ?servers=none   none
 *   ?servers=NAME   those of one service, by its name here; of one that is gone there are none
 */
import type { ForwardingMethodName } from '../protocol';

/** Since it was added or zeroed: connections, packets from and to clients, bytes likewise. */
export type TrafficRow = readonly [number, number, number, number, number];

/** Name, scheduler, count of real servers, active and inactive connections, traffic. */
export type ServiceRow = readonly [string, string, number, number, number, ...TrafficRow];

/**
 * Index of its service in `services`, name, method, weight, 1 if overloaded, active and inactive
 * connections, traffic.
 */
export type ServerRow = readonly [
  number,
  string,
  ForwardingMethodName,
  number,
  0 | 1,
  number,
  number,
  ...TrafficRow,
];

export interface TableLevel {
  readonly name: string;
  readonly used: number;
  readonly capacity: number;
}

export interface WorkerSample {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly bursts: number;
  readonly sleeps: number;
  /** Time in rounds with work, and all of it, in microseconds. */
  readonly busy: number;
  readonly total: number;
  readonly connectionsMade: number;
  readonly connectionsEnded: number;
  /** Of the UMEM; the free ones are up to two seconds old, as is `waiting`. */
  readonly chunks: number;
  readonly freeChunks: number;
  /** Frames that wait for a neighbour. */
  readonly waiting: number;
}

/** Frames by reason. */
export type Reasons = Readonly<Record<string, number>>;

export interface Overview {
  /** Another one than before: the daemon was started anew, and its counters with it. */
  readonly instance: string;
  /** When it was taken: of a clock that only goes forward, and since 1970. */
  readonly monotonicMs: number;
  readonly unixMs: number;
  readonly interfaces: readonly { readonly name: string; readonly up: boolean }[];
  readonly tables: readonly TableLevel[];
  readonly workers: readonly WorkerSample[];
  readonly drops: Reasons;
  readonly passes: Reasons;
  /** What sockets and rings lost or refused. */
  readonly sockets: Reasons;
  /** Verdicts of the XDP program. */
  readonly xdp: Reasons;
  readonly services: readonly ServiceRow[];
  readonly servers: readonly ServerRow[];
}
