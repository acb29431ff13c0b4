/**
 * A filter's tree as the worker runs it (table/trace.ts): a program of comparisons whose jumps lead
 * forward, and two quick tests for each family that most unwanted packets fail.
 */
import {
  TRACE_ACCEPT,
  TRACE_CONTROL,
  TRACE_EQUAL,
  TRACE_FRAME,
  TRACE_GREATER,
  TRACE_INSTRUCTION,
  TRACE_INSTRUCTIONS_MAX,
  TRACE_LENGTH,
  TRACE_NOT_GREATER,
  TRACE_QUICK,
  TRACE_REJECT,
  TRACE_TRANSPORT4,
  TRACE_UNEQUAL,
  type TraceTable,
} from '../../table/trace';
import { type QuickTests, quickTests } from './filterQuick';
import type { Base, Test, Tree } from './filterTree';
import { FilterError } from './filterWords';

export interface FilterProgram {
  /** TRACE_INSTRUCTION each. */
  readonly words: Int32Array;
  readonly quick: QuickTests;
}

const BASES: Readonly<Record<Base, number>> = {
  frame: TRACE_FRAME,
  transport4: TRACE_TRANSPORT4,
  length: TRACE_LENGTH,
};

/** Throws a FilterError when it has too many steps. */
export function compileFilter(tree: Tree | null): FilterProgram {
  const steps: Step[] = [];
  if (tree !== null) emit(steps, tree, TRACE_ACCEPT, TRACE_REJECT);
  if (steps.length >= TRACE_INSTRUCTIONS_MAX) {
    throw new FilterError(
      `the filter takes ${steps.length} steps; ${TRACE_INSTRUCTIONS_MAX - 1} are allowed`,
    );
  }
  const last = steps.length - 1;
  const place = (target: number) =>
    target === TRACE_ACCEPT || target === TRACE_REJECT ? target : last - target;
  const words = steps
    .reverse()
    .flatMap(({ test, fits, otherwise }) => instruction(test, place(fits), place(otherwise)));
  return { words: Int32Array.from(words), quick: quickTests(tree) };
}

/** Puts it where workers find it. No session may be on. */
export function writeProgram(table: TraceTable, { words, quick }: FilterProgram): void {
  const { instructions: INSTRUCTIONS, quick: QUICK, isAddressed: IS_ADDRESSED } = TRACE_CONTROL.at;
  table.words[INSTRUCTIONS] = words.length / TRACE_INSTRUCTION.size;
  table.words[IS_ADDRESSED] = quick.isAddressed ? 1 : 0;
  quick.tests.forEach(({ offset, mask, value }, number) => {
    table.words.set([offset, mask, value], QUICK + number * TRACE_QUICK.size);
  });
  table.words.set(words, table.program);
}

/** Targets are ends, or the number of a step as it was made. */
interface Step {
  readonly test: Test;
  readonly fits: number;
  readonly otherwise: number;
}

/** Makes the steps of `tree` from the last to the first; the number of the first one. */
function emit(steps: Step[], tree: Tree, fits: number, otherwise: number): number {
  switch (tree.kind) {
    case 'test':
      steps.push({ test: tree, fits, otherwise });
      return steps.length - 1;
    case 'not':
      return emit(steps, tree.of, otherwise, fits);
    case 'and':
      return emit(steps, tree.left, emit(steps, tree.right, fits, otherwise), otherwise);
    case 'or':
      return emit(steps, tree.left, fits, emit(steps, tree.right, fits, otherwise));
  }
}

function instruction(test: Test, fits: number, otherwise: number): number[] {
  const { base, offset, bytes, mask, value } = test;
  const [comparison, operand] = comparisonOf(test, value);
  const field = (offset << 16) | (BASES[base] << 8) | (comparison << 4) | bytes;
  return [field, mask | 0, operand | 0, (fits << 16) | otherwise];
}

/** The worker has two of the four orders: x >= v is x > v - 1, and x < v is x <= v - 1. */
function comparisonOf({ comparison, mask }: Test, value: number): readonly [number, number] {
  switch (comparison) {
    case '=':
      return [TRACE_EQUAL, value];
    case '!=':
      return [TRACE_UNEQUAL, value];
    case '>':
      return [TRACE_GREATER, value];
    case '<=':
      return [TRACE_NOT_GREATER, value];
    case '>=':
      // At least 0 is every field that is there; less than 0 is none.
      return value === 0 ? [TRACE_NOT_GREATER, mask] : [TRACE_GREATER, value - 1];
    case '<':
      return value === 0 ? [TRACE_GREATER, mask] : [TRACE_NOT_GREATER, value - 1];
  }
}
