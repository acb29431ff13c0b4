/**
 * What the rooms behind the hot path ask of each other. A room takes what it needs in its
 * constructor; those that are there are put together in pipeline.ts.
 */
import type { Packet } from './packet';

/** worker/tunnel.ts. */
export interface TunnelRoom {
  /** Sends a packet of a client through its connection's tunnel. A verdict. */
  forward(packet: Packet, entry: number): number;
}

/** worker/fullnat.ts. */
export interface FullnatRoom {
  /** Translates a packet of either direction and sends it. A verdict. */
  forward(packet: Packet, entry: number, inbound: boolean): number;
  /**
   * Takes a local address and port for a new connection whose words are written already, and
   * writes `reply` and `replyPorts`. False: there is none free.
   */
  begin(entry: number, service: number, server: number): boolean;
  /** The connection's time is over: its ends are told, if so set. Before `end`. */
  expire(entry: number, state: number, tick: number): void;
  /**
   * Gives them back. By the connection's owner, when it ends or was not made after all; the
   * entry's words must still be there, its identity too.
   */
  end(entry: number): void;
}

/** worker/icmpRelay.ts. */
export interface IcmpRoom {
  /** An ICMP or ICMPv6 error: PASS.no_connection when it is about nobody's packet. */
  process(packet: Packet): number;
}

/** worker/fragments.ts. */
export interface FragmentRoom {
  /** Frames that are held until their first fragment comes. */
  readonly held: number;
  /** A first fragment, before anything is done to it. */
  meet(packet: Packet): void;
  /**
   * What became of the first fragment that was met last: the later ones follow it. `entry`: its
   * connection, 0 = none.
   */
  tell(packet: Packet, verdict: number, entry: number, inbound: boolean): void;
  /** A later fragment: counted and forwarded, held, or given back. */
  follow(packet: Packet): number;
  /** What is held and can go now, or has waited too long. Once a round of the loop. */
  run(tick: number): void;
}
