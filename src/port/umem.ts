/**
 * A worker's frame memory: a page-aligned part of a SharedArrayBuffer cut into chunks of one
 * size. Offsets count from the aligned start; a received frame begins FRAME_HEADROOM bytes into
 * its chunk, so that headers can be put in front of it without moving it. The free stack is shared
 * with the addon on the same thread: word 0 counts, the last is the top.
 */

import { BURST_MAX, RX_WORDS } from './port';

/** XDP_PACKET_HEADROOM: bytes the kernel leaves in front of a received frame. */
export const FRAME_HEADROOM = 256;

/** Of an offset in a UMEM, which is at most 1 GiB. */
export const OFFSET_BITS = 0x3fffffff;

const PAGE_BYTES = 4096;

/**
 * Words of a worker's clock, CLOCK_MONOTONIC modulo 2^32. The first three are written at the end of
 * each receive and each sleep, the nanoseconds at the end of each transmit too.
 */
export const CLOCK_TICKS = 0;
export const CLOCK_MICROSECONDS = 1;
export const CLOCK_NANOSECONDS = 2;
/** Nanoseconds, when the last transmit began. */
export const CLOCK_TRANSMIT = 3;
const CLOCK_WORDS = 4;

export class Umem {
  readonly buffer: SharedArrayBuffer;
  /** Where chunk 0 begins in `buffer`. */
  readonly bufferOffset: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** The same in little-endian words, with one of which every frame begins, and half words. */
  readonly words: Int32Array;
  readonly halfWords: Uint16Array;
  readonly chunkSize: number;
  readonly chunkCount: number;
  readonly free: Int32Array;
  /** CLOCK_TICKS and those after it. */
  readonly clock: Int32Array;
  /** The burst in hand: a worker has one at a time, so all its ports have this list. */
  readonly rx = new Int32Array(BURST_MAX * RX_WORDS);
  private readonly chunkMask: number;

  constructor(buffer: SharedArrayBuffer, bufferOffset: number, chunkSize: number, count: number) {
    if (chunkSize !== 2048 && chunkSize !== 4096) {
      throw new RangeError(`chunk size ${chunkSize}: 2048 or 4096 are allowed`);
    }
    const most = Math.min(OFFSET_BITS + 1, buffer.byteLength - bufferOffset);
    if (chunkSize * count > most) {
      throw new RangeError(
        `UMEM: ${count} chunks of ${chunkSize} bytes do not fit ${most} bytes; 1 GiB at most, ` +
          'so more workers, or fewer queues for each',
      );
    }
    this.buffer = buffer;
    this.bufferOffset = bufferOffset;
    this.view = new DataView(buffer, bufferOffset, chunkSize * count);
    this.bytes = new Uint8Array(buffer, bufferOffset, chunkSize * count);
    this.words = new Int32Array(buffer, bufferOffset, (chunkSize * count) / 4);
    this.halfWords = new Uint16Array(buffer, bufferOffset, (chunkSize * count) / 2);
    this.chunkSize = chunkSize;
    this.chunkCount = count;
    this.free = new Int32Array(count + 1);
    this.clock = new Int32Array(CLOCK_WORDS);
    this.chunkMask = ~(chunkSize - 1);
    for (let chunk = 0; chunk < count; chunk++) this.release(chunk * chunkSize);
  }

  /** Bytes to allocate for a UMEM, with room to align its start. */
  static bufferBytes(chunkSize: number, count: number): number {
    return chunkSize * count + PAGE_BYTES;
  }

  /** Gives back the chunk that a frame at `offset` lies in. */
  release(offset: number): void {
    const free = this.free;
    const count = free[0]! + 1;
    free[0] = count;
    free[count] = offset & this.chunkMask;
  }

  /** A free chunk's frame offset (after the headroom), or -1 when there is none. */
  take(): number {
    const free = this.free;
    const count = free[0]!;
    if (count === 0) return -1;
    free[0] = count - 1;
    return free[count]! + FRAME_HEADROOM;
  }

  get freeCount(): number {
    return this.free[0]!;
  }
}
