/** Whether the machine has the memory that a bench is about to fill. */
import { readFileSync } from 'node:fs';

const MEGABYTE = 1 << 20;
/** Left for everything else that runs. */
const RESERVE = 1024 * MEGABYTE;

/** What the kernel could give out without swapping (proc_meminfo(5)). */
function availableBytes(): number {
  const [, kilobytes = '0'] =
    /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Why `what` does not fit into `bytes` of memory; null when it does. */
export function lackOfMemory(what: string, bytes: number): string | null {
  const free = availableBytes() - RESERVE;
  if (bytes <= free) return null;
  const [wanted, given] = [bytes, Math.max(0, free)].map((each) => Math.ceil(each / MEGABYTE));
  return `${what}: ${wanted} MB of memory are needed, ${given} MB may be used`;
}
