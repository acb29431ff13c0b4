/**
 * For the exercise: tracing that comes and goes, with a filter that wants some of the frames, with
 * one that wants all, and with rings that are read, or full but for a slot. What the control plane
 * does otherwise (control/trace/); allocates nothing.
 */
import {
  TRACE_ACCEPT,
  TRACE_CONTROL,
  TRACE_EQUAL,
  TRACE_FRAME,
  TRACE_GREATER,
  TRACE_INSTRUCTION,
  TRACE_LENGTH,
  TRACE_NOT_GREATER,
  TRACE_REJECT,
  TRACE_RING,
  TRACE_SLOTS,
  TRACE_TRANSPORT4,
  TRACE_UNEQUAL,
  type TraceTable,
} from '../table/trace';

const { session: SESSION, snapBytes: SNAP_BYTES, instructions: COUNT } = TRACE_CONTROL.at;
const { quick: QUICK, isAddressed: IS_ADDRESSED } = TRACE_CONTROL.at;
const { head: HEAD, tail: TAIL } = TRACE_RING.at;
/** No multiple of a word. */
const FEW_BYTES = 61;
const MANY_BYTES = 2048;

function step(
  base: number,
  offset: number,
  bytes: number,
  comparison: number,
  mask: number,
  value: number,
  fits: number,
  otherwise: number,
): number[] {
  const field = (offset << 16) | (base << 8) | (comparison << 4) | bytes;
  return [field, mask, value, (fits << 16) | otherwise];
}

/** Every base, size and comparison. */
const SOME = Int32Array.of(
  ...step(TRACE_FRAME, 12, 2, TRACE_EQUAL, 0xffff, 0x0800, 1, 4),
  ...step(TRACE_FRAME, 23, 1, TRACE_UNEQUAL, 0xff, 6, 3, 2),
  ...step(TRACE_TRANSPORT4, 13, 1, TRACE_GREATER, 0x3f, 0, TRACE_ACCEPT, TRACE_REJECT),
  ...step(TRACE_TRANSPORT4, 0, 4, TRACE_NOT_GREATER, -1, -16, TRACE_ACCEPT, TRACE_REJECT),
  ...step(TRACE_LENGTH, 0, 0, TRACE_GREATER, -1, 60, TRACE_ACCEPT, TRACE_REJECT),
);
/** One in eight source ports, of IPv4 and of IPv6. */
const QUICK_SOME = Int32Array.of(34, 0x70000, 0, 0, 0, 1, 54, 0x70000, 0, 0, 0, 1);
const QUICK_ALL = new Int32Array(QUICK_SOME.length);

export class TraceSwitch {
  private readonly table: TraceTable;
  private session = 0;

  constructor(table: TraceTable) {
    this.table = table;
  }

  /** `block`: a number that grows; in one block of four tracing is on. */
  turn(block: number): void {
    const { words } = this.table;
    words[SESSION] = 0;
    if ((block & 3) !== 2) return;
    const isSome = (block & 4) === 0;
    this.session = (this.session + 1) & 0xffff;
    this.write(isSome ? QUICK_SOME : QUICK_ALL, isSome ? SOME.length : 0);
    words[SNAP_BYTES] = isSome ? FEW_BYTES : MANY_BYTES;
    words[IS_ADDRESSED] = (block >> 3) & 1;
    this.makeRoom(isSome ? TRACE_SLOTS : (block >> 4) & 3);
    words[SESSION] = 1 + this.session;
  }

  private write(quick: Int32Array, programWords: number): void {
    const { words, program } = this.table;
    for (let at = 0; at < quick.length; at++) words[QUICK + at] = quick[at]!;
    for (let at = 0; at < programWords; at++) words[program + at] = SOME[at]!;
    words[COUNT] = programWords / TRACE_INSTRUCTION.size;
  }

  /** Of every worker's ring so many slots are free. */
  private makeRoom(slots: number): void {
    const { words, workers } = this.table;
    for (let worker = 0; worker < workers; worker++) {
      const ring = this.table.ring(worker);
      words[ring + TAIL] = (words[ring + HEAD]! - (TRACE_SLOTS - slots)) | 0;
    }
  }
}
