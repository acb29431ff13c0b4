/**
 * Workers come first. Where the control plane has to share a CPU with them (fewer CPUs than
 * threads, an operator's taskset), the kernel would give each of its threads as much as a worker:
 * the director's, V8's helpers, the pool's. A few milliseconds of work then hold up a worker for
 * some ten times as long, and its rings overflow. So they stand behind, by nice(2).
 */
import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Each is a fourth more or less of a CPU: ten are a tenth of it against nine. */
const STEPS = 10;
const LAST = 19;

/** What this process was started with, which is what workers keep. */
export const NICE = getPriority();

/** All threads but these stand behind now, and so will those that they start; '' or why not. */
export function putBehind(workers: ReadonlySet<number>): string {
  for (const name of readdirSync('/proc/self/task')) {
    const thread = Number(name);
    if (workers.has(thread)) continue;
    try {
      setPriority(thread, Math.min(LAST, NICE + STEPS));
    } catch (error) {
      const { code, message } = (error as { info?: { code: string; message: string } }).info ?? {};
      // It has ended meanwhile.
      if (code === 'ESRCH') continue;
      return message ?? (error as Error).message;
    }
  }
  return '';
}
