/**
 * The traffic of the stalls bench: sockets in memory that always have a full burst. Packets of
 * connections that are there, in the pipeline bench's random order, from both sides; and from the
 * clients, now and then, the SYN of a connection that was never there. As the addon's sockets do,
 * they write the clock. Nothing is allocated once they run.
 */
import { BURST_MAX, RX_WORDS } from '#xvs/port/port';
import {
  CLOCK_MICROSECONDS,
  CLOCK_NANOSECONDS,
  CLOCK_TICKS,
  CLOCK_TRANSMIT,
  FRAME_HEADROOM,
  type Umem,
} from '#xvs/port/umem';
import type { PacketSocket } from '#xvs/port/xdpPort';
import { FIRST_TICK } from '../pipeline/benchWorker';
import { clientAddress, VIRTUAL_PORT, virtualAddress } from '../pipeline/director';
import { FLOW, Flows, FrameWriter, TCP_SYN } from '../pipeline/frame';
import { frameBytes, frameStride, makeRow, type Row } from '../pipeline/row';
import { CHUNK_BYTES } from '../pipeline/settings';

const STRIDE_WORDS = 16;
const CLIENT_ADDRESSES = 1 << 16;
const FIRST_CLIENT_PORT = 1024;
/** So many that one has ended long before its SYN comes again. */
const BIRTHS = 1 << 18;
/** Of the bursts from the clients, how many bring a birth. */
const BURSTS_PER_BIRTH = 4;

export const CHURN_ROW = makeRow('nat', 4, 'tcp', 0);

/** The real time, as the wheel of a bench's world counts it. */
export class RealClock {
  readonly #real = new Int32Array(4);
  readonly #words: Int32Array;
  readonly #read: () => void;
  readonly #first: number;

  constructor(words: Int32Array, createClock: (words: Int32Array) => { read(): void }) {
    const clock = createClock(this.#real);
    this.#read = () => clock.read();
    this.#words = words;
    this.#read();
    this.#first = this.#real[CLOCK_TICKS]!;
    this.read();
  }

  read(): void {
    this.#read();
    const [words, real] = [this.#words, this.#real];
    words[CLOCK_TICKS] = (real[CLOCK_TICKS]! - this.#first + FIRST_TICK) | 0;
    words[CLOCK_MICROSECONDS] = real[CLOCK_MICROSECONDS]!;
    words[CLOCK_NANOSECONDS] = real[CLOCK_NANOSECONDS]!;
  }
}

/** The first packets of so many connections, STRIDE_WORDS each. */
export function writeBirths(): Int32Array {
  const flow = new Flows(1);
  const frames = new DataView(new ArrayBuffer(BIRTHS * STRIDE_WORDS * 4));
  const writer = new FrameWriter(frames, CHURN_ROW, flow, virtualAddress(CHURN_ROW), VIRTUAL_PORT);
  for (let birth = 0; birth < BIRTHS; birth++) {
    flow.words.set(clientAddress(CHURN_ROW, birth % CLIENT_ADDRESSES), FLOW.client);
    flow.words[FLOW.clientPort] = FIRST_CLIENT_PORT + Math.floor(birth / CLIENT_ADDRESSES);
    writer.writeInbound(birth * STRIDE_WORDS * 4, 0, TCP_SYN);
  }
  return new Int32Array(frames.buffer);
}

export class TrafficSocket implements PacketSocket {
  readonly #rx: Int32Array;
  readonly #clock: RealClock;
  readonly #words: Int32Array;
  readonly #chunks: Int32Array;
  readonly #frames: Int32Array;
  readonly #births: Int32Array | null;
  readonly #firstChunk: number;
  readonly #lengthBytes: number;
  /** Of the frames, which of two bursts is this side's. */
  readonly #side: number;
  readonly #bursts: number;
  #burst = 0;
  #birth = 0;

  /** `frames`: STRIDE_WORDS each, bursts from the clients' and the servers' side in turn. */
  constructor(
    side: number,
    umem: Umem,
    rx: Int32Array,
    clock: RealClock,
    row: Row,
    frames: Uint8Array,
    births: Int32Array | null,
  ) {
    if (frameStride(row) !== STRIDE_WORDS * 4) {
      throw new RangeError(`frames of ${frameStride(row)} bytes: ${STRIDE_WORDS * 4} are needed`);
    }
    this.#rx = rx;
    this.#clock = clock;
    this.#words = umem.clock;
    this.#chunks = new Int32Array(umem.buffer, umem.bufferOffset, umem.bytes.length / 4);
    this.#frames = new Int32Array(frames.buffer);
    this.#births = births;
    this.#firstChunk = side * BURST_MAX;
    this.#lengthBytes = frameBytes(row);
    this.#side = side;
    this.#bursts = Math.floor(this.#frames.length / STRIDE_WORDS / BURST_MAX / 2);
  }

  rxBurst(): number {
    const first = (this.#burst * 2 + this.#side) * BURST_MAX * STRIDE_WORDS;
    for (let i = 0; i < BURST_MAX; i++) this.#put(i, this.#frames, first + i * STRIDE_WORDS);
    if (this.#births !== null && this.#burst % BURSTS_PER_BIRTH === 0) {
      this.#put(0, this.#births, this.#birth * STRIDE_WORDS);
      this.#birth = (this.#birth + 1) & (BIRTHS - 1);
    }
    this.#burst = this.#burst + 1 === this.#bursts ? 0 : this.#burst + 1;
    this.#clock.read();
    return BURST_MAX;
  }

  txBurst(count: number): number {
    this.#clock.read();
    this.#words[CLOCK_TRANSMIT] = this.#words[CLOCK_NANOSECONDS]!;
    return count;
  }

  statistics(): void {}
  levels(): void {}
  close(): void {}

  #put(place: number, frames: Int32Array, from: number): void {
    const offset = (this.#firstChunk + place) * CHUNK_BYTES + FRAME_HEADROOM;
    const to = offset >> 2;
    for (let word = 0; word < STRIDE_WORDS; word++) this.#chunks[to + word] = frames[from + word]!;
    this.#rx[place * RX_WORDS] = offset;
    this.#rx[place * RX_WORDS + 1] = this.#lengthBytes;
  }
}
