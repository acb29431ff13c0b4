/**
 * What both contenders get: frames in a fixed random order, the clock, and the xvs side of timing
 * them. Bursts come alternately from the client's and the servers' side. A batch is restored into
 * the chunks untimed, then its bursts are timed.
 */
import { BURST_MAX, TX_WORDS } from '#xvs/port/port';
import { FRAME_HEADROOM } from '#xvs/port/umem';
import type { BenchPort } from './benchPort';
import { FrameWriter, TCP_ACK } from './frame';
import {
  BATCH_FRAMES,
  CHUNK_BYTES,
  FRAME_BYTES,
  FRAME_STRIDE,
  ORDER_FRAMES_MIN,
  TICK_FRAMES,
} from './settings';
import type { World } from './world';

const STRIDE_WORDS = FRAME_STRIDE / 4;
const FRAME_WORDS = FRAME_BYTES / 4;

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

/** All frames of one pass, FRAME_STRIDE bytes apart. */
export function makeFrames(world: World): Uint8Array {
  const flows = world.flows;
  const wanted = Math.max(flows.length, ORDER_FRAMES_MIN);
  const count = Math.ceil(wanted / BATCH_FRAMES) * BATCH_FRAMES;
  const frames = new Uint8Array(count * FRAME_STRIDE);
  const writer = new FrameWriter(new DataView(frames.buffer));
  const order = randomOrder(flows.length, count);
  for (let at = 0; at < count; at++) {
    const flow = flows[order[at]!]!;
    const isInbound = Math.floor(at / BURST_MAX) % 2 === 0;
    if (isInbound) writer.writeInbound(at * FRAME_STRIDE, flow, TCP_ACK);
    else writer.writeOutbound(at * FRAME_STRIDE, flow, TCP_ACK);
  }
  return frames;
}

export class Workload {
  readonly frameCount: number;
  readonly #world: World;
  readonly #frames: Int32Array;
  readonly #chunks: Int32Array;
  #position = 0;

  constructor(world: World, frames: Uint8Array) {
    this.#world = world;
    this.#frames = new Int32Array(frames.buffer);
    this.frameCount = frames.length / FRAME_STRIDE;
    const { umem } = world;
    this.#chunks = new Int32Array(umem.buffer, umem.bufferOffset, umem.bytes.length / 4);
  }

  /** Puts the next batch of frames into the chunks. */
  #restore(): void {
    const [frames, chunks] = [this.#frames, this.#chunks];
    for (let chunk = 0; chunk < BATCH_FRAMES; chunk++) {
      const from = this.#position * STRIDE_WORDS;
      const to = (chunk * CHUNK_BYTES + FRAME_HEADROOM) / 4;
      for (let word = 0; word < FRAME_WORDS; word++) chunks[to + word] = frames[from + word]!;
      this.#position = this.#position + 1 === this.frameCount ? 0 : this.#position + 1;
    }
  }

  /**
   * Has the pipeline work on `packets` frames. Returns the nanoseconds a packet took in the median
   * batch, so that batches during which another process had the CPU do not count.
   */
  run(packets: number): number {
    const { umem, ports } = this.#world;
    const times = new Float64Array(Math.ceil(packets / BATCH_FRAMES));
    for (let done = 0; done < packets; done += BATCH_FRAMES) {
      this.#restore();
      if (done % TICK_FRAMES === 0) umem.clock[0]! += 1;
      const start = performance.now();
      for (let burst = 0; burst < BATCH_FRAMES / BURST_MAX; burst++) {
        const port = ports[burst & 1]!;
        const first = burst * BURST_MAX * CHUNK_BYTES + FRAME_HEADROOM;
        port.prepare(first, CHUNK_BYTES, BURST_MAX, FRAME_BYTES);
        this.#world.burst(port);
      }
      times[done / BATCH_FRAMES] = performance.now() - start;
    }
    times.sort();
    return (times[times.length >> 1]! * 1e6) / BATCH_FRAMES;
  }

  /** One pass over all frames: what was transmitted, as contenderInC.c records it. */
  record(): Buffer {
    const { umem, ports } = this.#world;
    const perFrame = TX_WORDS * 4 + FRAME_BYTES;
    const record = Buffer.alloc(this.frameCount * perFrame);
    let end = 0;
    const observe = (port: BenchPort) => {
      for (let i = 0; i < port.txCount; i++) {
        const words = port.tx.subarray(i * TX_WORDS, (i + 1) * TX_WORDS);
        words.forEach((word, at) => {
          record.writeInt32LE(word, end + at * 4);
        });
        const [offset = 0, length = 0] = words;
        record.set(umem.bytes.subarray(offset, offset + length), end + TX_WORDS * 4);
        end += TX_WORDS * 4 + length;
      }
    };
    for (const port of ports) port.observer = observe;
    this.run(this.frameCount);
    for (const port of ports) port.observer = null;
    return record.subarray(0, end);
  }
}
