/**
 * What V8 is told before a worker starts. Its budget for inlining (920 bytes of bytecode in one
 * function) ends in the middle of the pipeline: half of a packet's steps would be calls. With room
 * for all of them a packet takes about a quarter less time (docs/bench.md). The flags hold for the
 * whole process and for code that is not optimised yet, so this comes first.
 */
import { setFlagsFromString } from 'node:v8';

/** Bytes of bytecode that go into one function. */
export const INLINED_BYTES = 5200;
/** With which V8 looks at no further call: its own choice. */
export const INLINED_ABSOLUTE = 4600;

const FLAGS: readonly string[] = [
  `--max-inlined-bytecode-size-cumulative=${INLINED_BYTES}`,
  '--max-inlined-bytecode-size=1000',
];

export function tuneEngine(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}
