/**
 * A port without a NIC: bursts come from and go to JavaScript. Unit tests, packet fixtures, replay
 * of captures and the pipeline bench drive the very pipeline of the wire through it. Checksum
 * requests are carried out on the way out, as the kernel does.
 */
import { fold, sumBytes } from '../net/checksum';
import { BURST_MAX, type HostPort, type Port, RX_WORDS, TX_WORDS } from './port';
import type { Umem } from './umem';

export class MemoryPort implements Port {
  readonly name: string;
  readonly slot: number;
  readonly rx: Int32Array;
  readonly tx = new Int32Array(BURST_MAX * TX_WORDS);
  txCount = 0;
  /** Frames that left, oldest first. */
  sent: Uint8Array[] = [];
  /** Frames that were to be received and found no chunk. */
  refused = 0;
  /** Where a received frame begins: so many bytes behind the headroom. */
  shiftBytes = 0;
  private readonly umem: Umem;
  private waiting: Uint8Array[] = [];

  constructor(name: string, slot: number, umem: Umem) {
    this.name = name;
    this.slot = slot;
    this.umem = umem;
    this.rx = umem.rx;
  }

  /** Queues a frame to be received; it is copied when it is. */
  inject(frame: Uint8Array): void {
    this.waiting.push(frame);
  }

  receive(): number {
    let count = 0;
    while (count < BURST_MAX && this.waiting.length > 0) {
      const frame = this.waiting.shift()!;
      const offset = this.umem.take();
      if (offset < 0) {
        this.refused++;
        continue;
      }
      const at = offset + this.shiftBytes;
      this.umem.bytes.set(frame, at);
      this.rx[count * RX_WORDS] = at;
      this.rx[count * RX_WORDS + 1] = frame.length;
      count++;
    }
    return count;
  }

  transmit(): number {
    const count = this.txCount;
    for (let i = 0; i < count; i++) {
      const offset = this.tx[i * TX_WORDS]!;
      const length = this.tx[i * TX_WORDS + 1]!;
      if (offset % 4 !== 0) throw new Error(`frame at ${offset}: not at a multiple of 4 bytes`);
      finishChecksum(this.umem.view, offset, length, this.tx[i * TX_WORDS + 2]!);
      this.sent.push(this.umem.bytes.slice(offset, offset + length));
      this.umem.release(offset);
    }
    this.txCount = 0;
    return count;
  }

  /** Takes what was sent so far. */
  drain(): Uint8Array[] {
    const sent = this.sent;
    this.sent = [];
    return sent;
  }
}

/** The host's own stack, in memory: keeps what it was given. */
export class MemoryHost implements HostPort {
  delivered: Uint8Array[] = [];
  private readonly umem: Umem;

  constructor(umem: Umem) {
    this.umem = umem;
  }

  deliver(offset: number, lengthBytes: number, _checksum: number): boolean {
    this.delivered.push(this.umem.bytes.slice(offset, offset + lengthBytes));
    return true;
  }
}

/** Does what a checksum request asks for: sums from `start` to the end, stores at the offset. */
export function finishChecksum(
  view: DataView,
  offset: number,
  lengthBytes: number,
  request: number,
): void {
  if (request === 0) return;
  const start = request >>> 16;
  const sum = sumBytes(view, offset + start, lengthBytes - start);
  const checksum = ~fold(sum) & 0xffff;
  view.setUint16(offset + start + (request & 0xffff), checksum === 0 ? 0xffff : checksum);
}
