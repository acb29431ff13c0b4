/**
 * What a row gets: frames in a fixed random order, the clock, and the xvs side of timing them.
 * Bursts come alternately from the client's and the servers' side, or all from the client's where
 * servers answer by themselves. A batch is restored into the chunks untimed, then its bursts are
 * timed.
 */
import { BURST_MAX, TX_WORDS } from '#xvs/port/port';
import { FRAME_HEADROOM } from '#xvs/port/umem';
import { TCP_ACK } from './frame';
import { frameBytes, frameStride, isOneWay } from './row';
import { BATCH_FRAMES, CHUNK_BYTES, ORDER_FRAMES_MIN, TICK_FRAMES } from './settings';
import type { World } from './world';

/** xorshift32: the same numbers in every run. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Flow numbers in random order, as many as `frames`; each flow equally often, but for the rest. */
function randomOrder(flows: number, frames: number): Int32Array {
  const random = makeRandom(0x2545f491);
  const order = Int32Array.from({ length: frames }, (_, at) => at % flows);
  for (let at = frames - 1; at > 0; at--) {
    const other = random(at + 1);
    const kept = order[at]!;
    order[at] = order[other]!;
    order[other] = kept;
  }
  return order;
}

/** Told of a frame that leaves: which one of the pass, where it stands, its checksum request. */
type Seen = (frame: number, offset: number, lengthBytes: number, request: number) => void;

export class Workload {
  readonly frameCount: number;
  /** All frames of one pass, `stride` bytes apart, and the flow of each. */
  readonly frames: Uint8Array;
  readonly stride: number;
  readonly order: Int32Array;
  readonly #world: World;
  readonly #frameBytes: number;
  readonly #frameWords: Int32Array;
  readonly #chunks: Int32Array;
  readonly #isOneWay: boolean;
  #position = 0;

  constructor(world: World) {
    const { umem, flows, row } = world;
    const wanted = Math.max(flows.count, ORDER_FRAMES_MIN);
    this.frameCount = Math.ceil(wanted / BATCH_FRAMES) * BATCH_FRAMES;
    this.stride = frameStride(row);
    this.frames = new Uint8Array(this.frameCount * this.stride);
    this.order = randomOrder(flows.count, this.frameCount);
    this.#world = world;
    this.#frameBytes = frameBytes(row);
    this.#frameWords = new Int32Array(this.frames.buffer);
    this.#chunks = new Int32Array(umem.buffer, umem.bufferOffset, umem.bytes.length / 4);
    this.#isOneWay = isOneWay(row);
    this.#write();
  }

  #write(): void {
    const writer = this.#world.writer(new DataView(this.frames.buffer));
    for (let frame = 0; frame < this.frameCount; frame++) {
      const flow = this.#world.flows.at(this.order[frame]!);
      if (this.isInbound(frame)) writer.writeInbound(frame * this.stride, flow, TCP_ACK);
      else writer.writeOutbound(frame * this.stride, flow, TCP_ACK);
    }
  }

  isInbound(frame: number): boolean {
    return this.#isOneWay || Math.floor(frame / BURST_MAX) % 2 === 0;
  }

  /** Puts the next batch of frames into the chunks. */
  #restore(): void {
    const [frames, chunks] = [this.#frameWords, this.#chunks];
    const strideWords = this.stride / 4;
    const frameWords = Math.ceil(this.#frameBytes / 4);
    for (let chunk = 0; chunk < BATCH_FRAMES; chunk++) {
      const from = this.#position * strideWords;
      const to = (chunk * CHUNK_BYTES + FRAME_HEADROOM) / 4;
      for (let word = 0; word < frameWords; word++) chunks[to + word] = frames[from + word]!;
      this.#position = this.#position + 1 === this.frameCount ? 0 : this.#position + 1;
    }
  }

  /**
   * Has the pipeline work on `packets` frames. Returns the nanoseconds a packet took in the median
   * batch, so that batches during which another process had the CPU do not count. Throws when a
   * frame was not forwarded.
   */
  run(packets: number): number {
    const world = this.#world;
    const { umem, ports } = world;
    const times = new Float64Array(Math.ceil(packets / BATCH_FRAMES));
    const sent = ports[0].sent + ports[1].sent;
    const server = this.#isOneWay ? 0 : 1;
    for (let done = 0; done < packets; done += BATCH_FRAMES) {
      this.#restore();
      if (done % TICK_FRAMES === 0) umem.clock[0]! += 1;
      const start = performance.now();
      for (let burst = 0; burst < BATCH_FRAMES / BURST_MAX; burst++) {
        const port = ports[burst & server]!;
        const first = burst * BURST_MAX * CHUNK_BYTES + FRAME_HEADROOM;
        port.prepare(first, CHUNK_BYTES, BURST_MAX, this.#frameBytes);
        world.burst(port);
      }
      times[done / BATCH_FRAMES] = performance.now() - start;
    }
    const forwarded = ports[0].sent + ports[1].sent - sent;
    if (forwarded !== times.length * BATCH_FRAMES) {
      throw new Error(`${world.row.name}: only ${forwarded} frames were forwarded`);
    }
    times.sort();
    return (times[times.length >> 1]! * 1e6) / BATCH_FRAMES;
  }

  /** One pass over all frames, from the first on; `seen` is told of each that leaves, in order. */
  pass(seen: Seen): void {
    let frame = 0;
    const observe = (tx: Int32Array, count: number) => {
      for (let at = 0; at < count * TX_WORDS; at += TX_WORDS) {
        seen(frame, tx[at]!, tx[at + 1]!, tx[at + 2]!);
        frame++;
      }
    };
    this.#position = 0;
    const { ports } = this.#world;
    for (const port of ports) port.observer = observe;
    this.run(this.frameCount);
    for (const port of ports) port.observer = null;
  }

  /** The same: what was transmitted, as contenderInC.c records it. */
  record(): Buffer {
    const { bytes } = this.#world.umem;
    const record = Buffer.alloc(this.frameCount * (TX_WORDS * 4 + this.#frameBytes));
    let end = 0;
    this.pass((_, offset, lengthBytes, request) => {
      for (const word of [offset, lengthBytes, request]) end = record.writeInt32LE(word, end);
      record.set(bytes.subarray(offset, offset + lengthBytes), end);
      end += lengthBytes;
    });
    return record.subarray(0, end);
  }
}
