/** What `xvs explain` asks of the director over the admin socket, and what it is answered. */
import type { Step } from './journal';
import type { ConnectionChange } from './rehearsedConnections';

export interface ExplainTuple {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** TCP's: letters of FSRPAU. */
  readonly flags: string;
  /** Of the IP packet in bytes; 0: headers alone. */
  readonly lengthBytes: number;
  readonly ttl: number;
}

/** A tuple or a frame in hex. */
export interface ExplainRequest {
  /** Where it comes in; null: where the route to its source leads. */
  readonly interface: string | null;
  readonly tuple: ExplainTuple | null;
  readonly frame: string | null;
}

export interface ExplainedFrame {
  /** null: the host's stack. */
  readonly interface: string | null;
  readonly text: string;
  /** Hex. */
  readonly frame: string;
}

export interface ExplainAnswer {
  readonly interface: string;
  readonly text: string;
  readonly frame: string;
  /** What the XDP program does first; null: it is not known here. */
  readonly xdp: { readonly verdict: string; readonly steps: readonly string[] } | null;
  readonly steps: readonly Step[];
  /** "forwarded", "waits_for_neighbour", "held", or the reason as metrics name it. */
  readonly verdict: string;
  readonly meaning: string;
  /** Counters of the worker that it adds to. */
  readonly counters: Readonly<Record<string, number>>;
  readonly counted: { readonly service: string | null; readonly server: string | null };
  readonly connections: readonly ConnectionChange[];
  readonly sent: readonly ExplainedFrame[];
  readonly host: readonly ExplainedFrame[];
}
