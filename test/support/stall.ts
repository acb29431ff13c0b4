/**
 * How long this thread was away from its event loop, in CPU time of its own: what else the machine
 * does meanwhile does not count.
 */
import { readFileSync } from 'node:fs';

/** Five slices: on a machine so fast that a part of the whole is less, that part says nothing. */
export const SLICES_MS = 20;

/** Milliseconds for which this thread has had a CPU so far. Kernel: Documentation/scheduler. */
export function threadCpuMs(): number {
  const nanoseconds = /^\d+/.exec(readFileSync('/proc/thread-self/schedstat', 'utf8'))?.[0];
  return Number(nanoseconds) / 1e6;
}

/** Runs `work`; milliseconds of CPU time of the longest stretch in which no timer had its turn. */
export async function longestStall(work: () => Promise<unknown>): Promise<number> {
  let last = threadCpuMs();
  let longest = 0;
  const look = (): void => {
    const now = threadCpuMs();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 1);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  look();
  return longest;
}

/** The CPU time that `work` takes this thread in one go. */
export function cpuMsOf(work: () => unknown): number {
  const began = threadCpuMs();
  work();
  return threadCpuMs() - began;
}
