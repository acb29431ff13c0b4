/**
 * What `xvs trace` and the daemon say to each other:
 *
 *   POST /v1/trace   TraceRequest -> a line of JSON for each TraceMessage, until either side ends
 *
 * Types only, so that a command-line tool loads nothing for them.
 */
import type { ForwardingMethodName } from '../protocol';

export interface TraceRequest {
  /** As tcpdump has it; '' is every packet. */
  readonly filter: string;
  /** Bytes of a frame that are kept, from its beginning. */
  readonly snapBytes: number;
  /** Ends after so many packets, or so many seconds; 0: does not. */
  readonly count: number;
  readonly seconds: number;
}

export interface TracedFrame {
  readonly interface: string;
  readonly lengthBytes: number;
  /** What was kept of it, in base64. */
  readonly bytes: string;
}

/**
 * forwarded: what left is the packet. dropped, host: for the reasons named; what left then are
 * answers. waiting: for a neighbour, or its first fragment. taken: none of these.
 */
export type TraceVerdict = 'forwarded' | 'dropped' | 'host' | 'waiting' | 'taken';

export interface TracedConnection {
  readonly protocol: string;
  readonly client: string;
  readonly virtual: string;
  readonly real: string;
  readonly method: ForwardingMethodName;
  readonly state: string;
}

export interface TracedPacket {
  readonly kind: 'packet';
  /** Since 1970. */
  readonly microseconds: number;
  readonly worker: number;
  readonly verdict: TraceVerdict;
  /** Counters that it moved, beside those of frames and bytes; reasons among them. */
  readonly counters: readonly string[];
  readonly arrived: TracedFrame;
  readonly left: readonly TracedFrame[];
  /** Frames that left and found no room to be kept. */
  readonly leftUnseen: number;
  /** Of the packet that arrived, as it is when this is written; null: none. */
  readonly connection: TracedConnection | null;
}

export interface TraceStarted {
  readonly kind: 'started';
  readonly interfaces: readonly string[];
}
/** As many packets as asked for, as long as asked for, or its messages were not read for long. */
export type TraceEnd = 'count' | 'seconds' | 'unread';

export interface TraceEnded {
  readonly kind: 'ended';
  readonly packets: number;
  /** Packets that fit the filter and are not shown: they found no room, or nobody to read them. */
  readonly lost: number;
  readonly cause: TraceEnd;
}
/** Packets lost since the last one that was said. */
export interface TraceLost {
  readonly kind: 'lost';
  readonly packets: number;
}
export type TraceMessage = TraceStarted | TracedPacket | TraceLost | TraceEnded;
