/**
 * One traced packet out of a ring's slots: its frames, what the counters say became of it, and its
 * connection, looked up as it is now.
 */
import { finishChecksum } from '../../port/memoryPort';
import { DROP_REASONS, PASS_REASONS, WORKER_COUNTERS } from '../../table/counter';
import type { Tables } from '../../table/memory';
import { TRACE_SLOT } from '../../table/trace';
import { ConnectionFinder } from './connection';
import type { TracedFrame, TracedPacket, TraceVerdict } from './protocol';

const AT = TRACE_SLOT.at;
const NAMES: readonly string[] = [...DROP_REASONS, ...PASS_REASONS, ...WORKER_COUNTERS];
/** Every packet moves these. */
const USUAL = new Set(['rx_frames', 'rx_bytes', 'tx_frames', 'tx_bytes']);
const DROPS = new Set<string>(DROP_REASONS);
const PASSES = new Set<string>(PASS_REASONS);
const WAITS = new Set(['neighbour_waited', 'fragments_held']);

export class PacketReader {
  readonly #words: Int32Array;
  readonly #interfaces: readonly string[];
  readonly #finder: ConnectionFinder;
  /** Now, in microseconds: CLOCK_MONOTONIC modulo 2^32, and since 1970. */
  #now = 0;
  #wallNow = 0;

  constructor(tables: Tables, interfaces: readonly string[]) {
    this.#words = tables.trace.words;
    this.#interfaces = interfaces;
    this.#finder = new ConnectionFinder(tables);
  }

  /** Before packets are read: all of a reading by one look at the clocks, so that order stays. */
  lookAtClocks(): void {
    this.#now = Number(process.hrtime.bigint() / 1000n) | 0;
    this.#wallNow = Math.round((performance.timeOrigin + performance.now()) * 1000);
  }

  /** `slot`, `left`: words of the slots of what arrived and of what left. */
  read(worker: number, slot: number, left: readonly number[]): TracedPacket {
    const words = this.#words;
    const counters = this.#grown(slot);
    const bytes = this.#bytes(slot);
    return {
      kind: 'packet',
      microseconds: this.#wallNow - ((this.#now - words[slot + AT.microseconds]!) | 0),
      worker,
      verdict: verdictOf(counters, left.length + words[slot + AT.framesLost]!),
      counters,
      arrived: this.#frame(slot, bytes),
      left: left.map((one) => this.#frame(one, this.#finished(one))),
      leftUnseen: words[slot + AT.framesLost]!,
      connection: this.#finder.find(bytes, words[slot + AT.lengthBytes]!),
    };
  }

  #grown(slot: number): string[] {
    const [low, high] = [this.#words[slot + AT.grown]!, this.#words[slot + AT.grown + 1]!];
    const isGrown = (at: number) => (((at < 32 ? low : high) >>> (at & 31)) & 1) === 1;
    return NAMES.filter((name, at) => isGrown(at) && !USUAL.has(name));
  }

  /** A copy of what was kept. */
  #bytes(slot: number): Buffer {
    const at = (slot + TRACE_SLOT.size) * 4;
    return Buffer.from(new Uint8Array(this.#words.buffer, at, this.#words[slot + AT.keptBytes]!));
  }

  /** With the checksum that the kernel or the device computes on the way out, if all is there. */
  #finished(slot: number): Buffer {
    const bytes = this.#bytes(slot);
    const request = this.#words[slot + AT.checksumRequest]!;
    if (bytes.length === this.#words[slot + AT.lengthBytes]!) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      finishChecksum(view, 0, bytes.length, request);
    }
    return bytes;
  }

  #frame(slot: number, bytes: Buffer): TracedFrame {
    return {
      interface: this.#interfaces[this.#words[slot + AT.interfaceSlot]!] ?? '?',
      lengthBytes: this.#words[slot + AT.lengthBytes]!,
      bytes: bytes.toString('base64'),
    };
  }
}

function verdictOf(counters: readonly string[], framesLeft: number): TraceVerdict {
  if (counters.some((name) => DROPS.has(name))) return 'dropped';
  if (counters.some((name) => PASSES.has(name))) return 'host';
  if (counters.some((name) => WAITS.has(name))) return 'waiting';
  return framesLeft > 0 ? 'forwarded' : 'taken';
}
