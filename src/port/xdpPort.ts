/**
 * A port on AF_XDP: the sockets of one interface that one worker serves, usually one (queue i of
 * worker i), several when the interface has more queues than there are workers. Rings are moved in
 * bursts by the addon: one native call receives, refills and reaps; one sends and wakes.
 */
import type { Port } from './port';
import { BURST_MAX } from './port';

/** What a port needs of a socket: the addon's XskSocket, or one in memory. */
export interface PacketSocket {
  rxBurst(max: number): number;
  txBurst(count: number): number;
  statistics(): void;
  /** Writes how many entries the rx, tx, fill and completion ring have. */
  levels(into: Int32Array): void;
  close(): void;
}

export class XdpPort implements Port {
  readonly name: string;
  readonly slot: number;
  readonly rx: Int32Array;
  readonly tx: Int32Array;
  txCount = 0;
  private readonly sockets: readonly PacketSocket[];
  private next = 0;

  /** `rx` and `tx` are those that the sockets were opened with. */
  constructor(
    name: string,
    slot: number,
    sockets: readonly PacketSocket[],
    rx: Int32Array,
    tx: Int32Array,
  ) {
    if (sockets.length === 0) throw new RangeError(`port ${name}: no socket`);
    this.name = name;
    this.slot = slot;
    this.sockets = sockets.map(bindSocket);
    this.rx = rx;
    this.tx = tx;
  }

  /** A burst from the next queue that has one. */
  receive(): number {
    const sockets = this.sockets;
    for (let i = 0; i < sockets.length; i++) {
      const socket = sockets[this.next]!;
      this.next = this.next + 1 === sockets.length ? 0 : this.next + 1;
      const count = socket.rxBurst(BURST_MAX);
      if (count > 0) return count;
    }
    return 0;
  }

  transmit(): number {
    const count = this.txCount;
    if (count === 0) return 0;
    this.txCount = 0;
    return this.sockets[0]!.txBurst(count);
  }

  /** Refreshes the kernel's statistics in the sockets' counters. */
  statistics(): void {
    for (let i = 0; i < this.sockets.length; i++) this.sockets[i]!.statistics();
  }

  /** The rings' levels of one of the sockets, written `into` as PacketSocket says. */
  levels(into: Int32Array, socket: number): void {
    this.sockets[socket]!.levels(into);
  }

  get socketCount(): number {
    return this.sockets.length;
  }

  close(): void {
    for (const socket of this.sockets) socket.close();
  }
}

/**
 * The same socket in the one shape that V8 ever sees. A method is called by the shape of its
 * object, and the addon's objects have one that the warm-up cannot show.
 */
function bindSocket(socket: PacketSocket): PacketSocket {
  return {
    rxBurst: socket.rxBurst.bind(socket),
    txBurst: socket.txBurst.bind(socket),
    statistics: socket.statistics.bind(socket),
    levels: socket.levels.bind(socket),
    close: socket.close.bind(socket),
  };
}
