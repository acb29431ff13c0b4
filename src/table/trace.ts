/**
 * What `xvs trace` shares with the workers: one block with the filter, and a ring of frames for
 * each worker. Words are host byte order; frames are bytes as they were on the wire.
 *
 * The control plane writes the filter while no session is on, then the session's number; back to 0
 * ends it. A worker looks at that one word once a burst, and copies the filter when it changes.
 * Of a ring, the worker writes slots, then `head`; the control plane reads them, then writes
 * `tail`. What finds no free slot is counted in `lost`, so that a trace costs no more than a ring
 * of slots between two readings, however much there is to see.
 */
import { words } from '../layout/record';

export const TRACE_CONTROL = words('trace control', 32, {
  /** Number of the session that is on, 0 = none. */
  session: 1,
  /** Bytes of a frame that are kept. */
  snapBytes: 1,
  /** Instructions of the program. */
  instructions: 1,
  /** See TRACE_QUICK: two tests for plain IPv4, two for plain IPv6. */
  quick: 12,
  /** 1: the first two quick tests hold for every frame, whatever it is. */
  isAddressed: 1,
  unused: 16,
});

/**
 * A test that every frame the filter wants passes, or its twin does: the word at `offset` of the
 * frame, under the mask, is the value. What passes neither is not wanted; what does, the program
 * judges. Plain is IPv4 without options, and IPv6.
 */
export const TRACE_QUICK = words('trace quick test', 3, { offset: 1, mask: 1, value: 1 });

/** One step of the program: a field is compared; the next step depends on the outcome. */
export const TRACE_INSTRUCTION = words('trace instruction', 4, {
  /** offset << 16 | base << 8 | comparison << 4 | bytes of the field: 1, 2, 4. */
  field: 1,
  mask: 1,
  value: 1,
  /** where to go when it fits << 16 | where when it does not; always forward. */
  next: 1,
});
export const TRACE_INSTRUCTIONS_MAX = 1024;
/** Ends of a program, as targets. */
export const TRACE_ACCEPT = 0xfffe;
export const TRACE_REJECT = 0xffff;

/** Bases: the frame's first byte; what is behind the IPv4 header; no bytes, but its length. */
export const TRACE_FRAME = 0;
export const TRACE_TRANSPORT4 = 1;
export const TRACE_LENGTH = 2;
/** Comparisons, unsigned. A field that is not there fits none of them. */
export const TRACE_EQUAL = 0;
export const TRACE_UNEQUAL = 1;
export const TRACE_GREATER = 2;
export const TRACE_NOT_GREATER = 3;

export const TRACE_RING = words('trace ring', 48, {
  /** Slots written so far, modulo 2^32; the worker's. A cache line each. */
  head: 16,
  /** Slots read so far; the control plane's. */
  tail: 16,
  /** Packets that found no free slot, modulo 2^32; the worker's. */
  lost: 16,
});
export const TRACE_SLOTS = 1024;

/** A slot's head; the frame's bytes follow. First what arrived, then a slot for each that left. */
export const TRACE_SLOT = words('trace slot', 16, {
  session: 1,
  /** 1: what arrived. 0: what left. */
  isArrival: 1,
  /** Index in the link table of the interface it came or left by. */
  interfaceSlot: 1,
  lengthBytes: 1,
  keptBytes: 1,
  /** See TX_WORDS; 0 for what arrived. */
  checksumRequest: 1,
  // Of an arrival only.
  /** CLOCK_MONOTONIC, modulo 2^32. */
  microseconds: 1,
  /** Frames that left, in the slots behind; and those that found none free. */
  framesKept: 1,
  framesLost: 1,
  /** A bit for each of the worker's own counters that grew, the first 32 in the first word. */
  grown: 2,
  unused: 5,
});
const SLOT_WORDS = 1024;
/** Most bytes of a frame that a slot keeps. */
export const TRACE_FRAME_BYTES = (SLOT_WORDS - TRACE_SLOT.size) * 4;

const PROGRAM_AT = TRACE_CONTROL.size;
/** At whole pages. */
const RINGS_AT =
  (PROGRAM_AT + TRACE_INSTRUCTIONS_MAX * TRACE_INSTRUCTION.size + SLOT_WORDS) & -SLOT_WORDS;
/** A ring's head has a page of its own. */
const RING_WORDS = SLOT_WORDS + TRACE_SLOTS * SLOT_WORDS;

export class TraceTable {
  readonly words: Int32Array;
  readonly workers: number;

  static buffer(workers: number): SharedArrayBuffer {
    return new SharedArrayBuffer((RINGS_AT + workers * RING_WORDS) * 4);
  }

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.workers = (this.words.length - RINGS_AT) / RING_WORDS;
  }

  /** Word at which the program begins. */
  get program(): number {
    return PROGRAM_AT;
  }

  /** Word at which a worker's ring begins. */
  ring(worker: number): number {
    return RINGS_AT + worker * RING_WORDS;
  }

  /** Word of a slot of the ring at `ring`; `count`: as head and tail count them. */
  slot(ring: number, count: number): number {
    return ring + SLOT_WORDS + (count & (TRACE_SLOTS - 1)) * SLOT_WORDS;
  }
}
