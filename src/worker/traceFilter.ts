/**
 * The filter of `xvs trace`, run over the frames of a burst while they are as they came. A small
 * program in the manner of BPF, compiled by the control plane (control/trace/), whose jumps lead
 * forward only; in front of it a quick test of a word or two that most unwanted frames fail. Reads
 * nothing behind a frame's end but for the quick test, which stays in its chunk.
 */
import { swapped32 } from '../net/byteOrder';
import { ETHERNET_BYTES } from '../net/ethernet';
import { ipv4HeaderBytes } from '../net/ipv4';
import { RX_WORDS } from '../port/port';
import type { Umem } from '../port/umem';
import {
  TRACE_CONTROL,
  TRACE_EQUAL,
  TRACE_FRAME,
  TRACE_GREATER,
  TRACE_INSTRUCTION,
  TRACE_INSTRUCTIONS_MAX,
  TRACE_LENGTH,
  TRACE_QUICK,
  TRACE_REJECT,
  TRACE_UNEQUAL,
  type TraceTable,
} from '../table/trace';

// The engine folds a module's own constants, not those it imports (docs/bench.md).
const DESCRIPTOR = RX_WORDS;
const ETHERNET = ETHERNET_BYTES;
const INSTRUCTION = TRACE_INSTRUCTION.size;
const { mask: MASK, value: VALUE, next: NEXT } = TRACE_INSTRUCTION.at;
const { offset: QUICK_OFFSET, mask: QUICK_MASK, value: QUICK_VALUE } = TRACE_QUICK.at;
const QUICK = TRACE_QUICK.size;
const QUICK_TESTS = 4;
const FRAME = TRACE_FRAME;
const LENGTH = TRACE_LENGTH;
const [EQUAL, UNEQUAL, GREATER] = [TRACE_EQUAL, TRACE_UNEQUAL, TRACE_GREATER];
const REJECT = TRACE_REJECT;
const INSTRUCTIONS = TRACE_INSTRUCTIONS_MAX;
/** Ethernet's type, then version and header length of IPv4, or version of IPv6. */
const TYPE_AT = 12;
const PLAIN_IPV4 = 0x080045;
const PLAIN_IPV6 = 0x86dd6;

export class TraceFilter {
  private readonly view: DataView;
  private readonly table: TraceTable;
  private readonly program = new Int32Array(INSTRUCTIONS * INSTRUCTION);
  private readonly quick = new Int32Array(QUICK_TESTS * QUICK);
  private instructions = 0;
  private isAddressed = false;

  constructor(table: TraceTable, umem: Umem) {
    this.table = table;
    this.view = umem.view;
  }

  /** Takes over what the control plane has written. */
  load(): void {
    const { words } = this.table;
    const { quick, instructions, isAddressed } = TRACE_CONTROL.at;
    for (let test = 0; test < QUICK_TESTS * QUICK; test += QUICK) {
      const word = quick + test;
      this.quick[test + QUICK_OFFSET] = words[word + QUICK_OFFSET]!;
      this.quick[test + QUICK_MASK] = swapped32(words[word + QUICK_MASK]!);
      this.quick[test + QUICK_VALUE] = swapped32(words[word + QUICK_VALUE]!);
    }
    this.instructions = words[instructions]! & (INSTRUCTIONS - 1);
    this.isAddressed = words[isAddressed] !== 0;
    const from = this.table.program;
    const end = this.instructions * INSTRUCTION;
    for (let at = 0; at < end; at++) this.program[at] = words[from + at]!;
  }

  /** The first frame of a burst's first `count` that is wanted; `count` when there is none. */
  first(rx: Int32Array, from: number, count: number): number {
    let at = from;
    while (at < count) {
      at = this.isAddressed ? this.firstAddressed(rx, at, count) : this.firstOfAny(rx, at, count);
      if (at === count || this.isWanted(rx[at * DESCRIPTOR]!, rx[at * DESCRIPTOR + 1]!)) return at;
      at++;
    }
    return count;
  }

  /** The first that passes a quick test for IPv4. Two reads a frame: every frame comes by here. */
  private firstAddressed(rx: Int32Array, from: number, count: number): number {
    const view = this.view;
    const quick = this.quick;
    const offset0 = quick[QUICK_OFFSET]!;
    const mask0 = quick[QUICK_MASK]!;
    const value0 = quick[QUICK_VALUE]!;
    const offset1 = quick[QUICK + QUICK_OFFSET]!;
    const mask1 = quick[QUICK + QUICK_MASK]!;
    const value1 = quick[QUICK + QUICK_VALUE]!;
    let i = from;
    // Two in a step (docs/bench.md).
    for (const last = count - 1; i < last; i += 2) {
      const at = rx[i * DESCRIPTOR]!;
      const next = rx[i * DESCRIPTOR + DESCRIPTOR]!;
      if (
        (view.getInt32(at + offset0, true) & mask0) === value0 ||
        (view.getInt32(at + offset1, true) & mask1) === value1
      ) {
        return i;
      }
      if (
        (view.getInt32(next + offset0, true) & mask0) === value0 ||
        (view.getInt32(next + offset1, true) & mask1) === value1
      ) {
        return i + 1;
      }
    }
    return i < count && this.passes(rx[i * DESCRIPTOR]!, 0) ? i : count;
  }

  /** The first that passes a quick test of its family, or is neither plain IPv4 nor IPv6. */
  private firstOfAny(rx: Int32Array, from: number, count: number): number {
    const view = this.view;
    for (let i = from; i < count; i++) {
      const at = rx[i * DESCRIPTOR]!;
      const head = view.getInt32(at + TYPE_AT);
      if (head >>> 8 === PLAIN_IPV4) {
        if (this.passes(at, 0)) return i;
      } else if (head >>> 12 !== PLAIN_IPV6 || this.passes(at, 2 * QUICK)) return i;
    }
    return count;
  }

  /** One of the two quick tests from word `test` on. */
  private passes(at: number, test: number): boolean {
    const view = this.view;
    const quick = this.quick;
    return (
      (view.getInt32(at + quick[test + QUICK_OFFSET]!, true) & quick[test + QUICK_MASK]!) ===
        quick[test + QUICK_VALUE]! ||
      (view.getInt32(at + quick[test + QUICK + QUICK_OFFSET]!, true) &
        quick[test + QUICK + QUICK_MASK]!) ===
        quick[test + QUICK + QUICK_VALUE]!
    );
  }

  private isWanted(at: number, lengthBytes: number): boolean {
    const program = this.program;
    const count = this.instructions;
    let step = 0;
    // Jumps lead forward; should words say otherwise, this ends all the same.
    for (let taken = 0; taken < count && step < count; taken++) {
      const word = step * INSTRUCTION;
      const next = program[word + NEXT]!;
      step = this.fits(word, at, lengthBytes) ? next >>> 16 : next & 0xffff;
    }
    return step !== REJECT;
  }

  /** Does the field fit that the instruction at `word` names? */
  private fits(word: number, at: number, lengthBytes: number): boolean {
    const program = this.program;
    const field = program[word]!;
    const base = (field >>> 8) & 0xff;
    let value = lengthBytes;
    if (base !== LENGTH) {
      const offset = this.offsetOf(base, field >>> 16, at);
      const bytes = field & 7;
      if (offset + bytes > lengthBytes) return false;
      value = this.read(at + offset, bytes);
    }
    value &= program[word + MASK]!;
    const wanted = program[word + VALUE]!;
    const comparison = (field >>> 4) & 0xf;
    if (comparison === EQUAL) return value === wanted;
    if (comparison === UNEQUAL) return value !== wanted;
    const isGreater = value >>> 0 > wanted >>> 0;
    return comparison === GREATER ? isGreater : !isGreater;
  }

  /** Of a frame that ends before its IP header the result lies behind its end. */
  private offsetOf(base: number, offset: number, at: number): number {
    if (base === FRAME) return offset;
    return ETHERNET + ipv4HeaderBytes(this.view, at + ETHERNET) + offset;
  }

  private read(at: number, bytes: number): number {
    if (bytes === 1) return this.view.getUint8(at);
    return bytes === 2 ? this.view.getUint16(at) : this.view.getInt32(at);
  }
}
