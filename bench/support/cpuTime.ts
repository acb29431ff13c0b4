/**
 * CPU time from /proc (proc_stat(5), proc_pid_stat(5)): whole CPUs in clock ticks of 10 ms, single
 * threads in nanoseconds, softirqs by number. Ticks are sampled by the kernel, so a CPU's busy time
 * is exact to about a percent over a second; a thread's run time is exact.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, fixed for user space at 100 on every architecture Linux still supports. */
const TICKS_PER_SECOND = 100;

export interface CpuTime {
  /** All but idle, waiting for I/O, and time the hypervisor gave to others. */
  readonly busySeconds: number;
  readonly stolenSeconds: number;
  /** In softirqs, a part of the busy time. */
  readonly softirqSeconds: number;
}

/** Seconds since boot, by CPU number. */
export function readCpuTimes(): ReadonlyMap<number, CpuTime> {
  const times = new Map<number, CpuTime>();
  for (const line of readFileSync('/proc/stat', 'utf8').split('\n')) {
    const [label = '', ...words] = line.split(/\s+/);
    if (!/^cpu\d+$/.test(label)) continue;
    const ticks = words.map(Number);
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks;
    times.set(Number(label.slice(3)), {
      busySeconds: (user + nice + system + irq + softirq) / TICKS_PER_SECOND,
      stolenSeconds: steal / TICKS_PER_SECOND,
      softirqSeconds: softirq / TICKS_PER_SECOND,
    });
  }
  return times;
}

/** Run time of all threads of a process so far, in seconds; 0 for one that is gone. */
export function readProcessSeconds(pid: number): number {
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8');
      nanoseconds += Number(text.split(' ')[0]);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
  }
  return nanoseconds / 1e9;
}

/** How often a softirq ('NET_RX') ran on a CPU. */
export function readSoftirqs(name: string, cpu: number): number {
  const [head = '', ...lines] = readFileSync('/proc/softirqs', 'utf8').split('\n');
  const column = head.trim().split(/\s+/).indexOf(`CPU${cpu}`);
  const line = lines.find((candidate) => candidate.trim().startsWith(`${name}:`));
  const value = Number(line?.trim().split(/\s+/)[column + 1]);
  if (column < 0 || Number.isNaN(value)) throw new Error(`no softirq ${name} of CPU ${cpu}`);
  return value;
}
