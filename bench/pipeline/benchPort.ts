/**
 * A port for benching: bursts come from chunks that were filled beforehand, in order, and what is
 * transmitted is counted and stays where it is. Nothing is copied, nothing allocated, so that only
 * the pipeline is timed.
 */
import { BURST_MAX, type HostPort, type Port, RX_WORDS, TX_WORDS } from '#xvs/port/port';

export class BenchPort implements Port {
  readonly name: string;
  readonly slot: number;
  readonly rx = new Int32Array(BURST_MAX * RX_WORDS);
  readonly tx = new Int32Array(BURST_MAX * TX_WORDS);
  txCount = 0;
  /** Frames that were transmitted so far. */
  sent = 0;
  /** Is told of every burst before it goes; null while the time is taken. */
  observer: ((port: BenchPort) => void) | null = null;

  constructor(name: string, slot: number) {
    this.name = name;
    this.slot = slot;
  }

  /** Makes the next burst: frame i stands at `first + i * stride`. */
  prepare(first: number, stride: number, count: number, lengthBytes: number): void {
    const rx = this.rx;
    for (let i = 0; i < count; i++) {
      rx[i * RX_WORDS] = first + i * stride;
      rx[i * RX_WORDS + 1] = lengthBytes;
    }
  }

  receive(): number {
    return BURST_MAX;
  }

  transmit(): number {
    const count = this.txCount;
    if (this.observer !== null) this.observer(this);
    this.sent += count;
    this.txCount = 0;
    return count;
  }
}

/** No frame of the bench is the host's: one that comes here makes the bench fail. */
export class BenchHost implements HostPort {
  delivered = 0;

  deliver(): boolean {
    this.delivered++;
    return true;
  }
}
