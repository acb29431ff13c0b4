/**
 * Ports for benching: the worker's own, over a socket whose bursts come from chunks that were
 * filled beforehand, in order; what is transmitted is counted and stays where it is. Nothing is
 * copied, nothing allocated, so that only the pipeline is timed.
 */
import { BURST_MAX, RX_WORDS, TX_WORDS } from '#xvs/port/port';
import { TapHost } from '#xvs/port/tapHost';
import type { Umem } from '#xvs/port/umem';
import { type PacketSocket, XdpPort } from '#xvs/port/xdpPort';

/** Is told of every burst before it goes: of its descriptors, TX_WORDS each. */
type Observer = (tx: Int32Array, count: number) => void;

class BenchSocket implements PacketSocket {
  readonly #tx: Int32Array;
  /** Frames in the burst that is prepared. */
  ready = 0;
  sent = 0;
  /** Null while the time is taken. */
  observer: Observer | null = null;

  constructor(tx: Int32Array) {
    this.#tx = tx;
  }

  rxBurst(): number {
    const count = this.ready;
    this.ready = 0;
    return count;
  }

  txBurst(count: number): number {
    if (this.observer !== null) this.observer(this.#tx, count);
    this.sent += count;
    return count;
  }

  statistics(): void {}
  levels(): void {}
  close(): void {}
}

export class BenchPort {
  /** What the pipeline sees. */
  readonly port: XdpPort;
  readonly #socket: BenchSocket;

  constructor(name: string, slot: number, umem: Umem) {
    const tx = new Int32Array(BURST_MAX * TX_WORDS);
    this.#socket = new BenchSocket(tx);
    this.port = new XdpPort(name, slot, [this.#socket], umem.rx, tx);
  }

  /** Frames that were transmitted so far. */
  get sent(): number {
    return this.#socket.sent;
  }

  set observer(observer: Observer | null) {
    this.#socket.observer = observer;
  }

  /** Makes the next burst: frame i stands at `first + i * stride`. */
  prepare(first: number, stride: number, count: number, lengthBytes: number): void {
    const { rx } = this.port;
    for (let i = 0; i < count; i++) {
      rx[i * RX_WORDS] = first + i * stride;
      rx[i * RX_WORDS + 1] = lengthBytes;
    }
    this.#socket.ready = count;
  }
}

/** No frame of the bench is the host's: one that comes here makes the bench fail. */
export class BenchHost {
  delivered = 0;
  readonly host = new TapHost({
    write: () => {
      this.delivered++;
      return true;
    },
  });
}
