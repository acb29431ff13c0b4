/**
 * Which worker serves which queue of which interface, on which CPU. Queue q of every interface
 * goes to worker q modulo their number: every queue is served, and every worker has a queue of
 * every interface to send by.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { InterfaceInfo } from '../port/addon';
import type { WorkerInterface } from '../worker/contract';

export interface Placement {
  readonly interfaces: readonly WorkerInterface[];
  readonly cpu: number;
}

/**
 * @param interfaces in slot order
 * @param count workers wanted, or 'auto': as many as every interface has queues for, but no more
 *   than CPUs
 * @param cpus to pin to, worker i to the i-th; empty: the i-th that the process may use, if any
 */
export function placeWorkers(
  interfaces: readonly InterfaceInfo[],
  count: number | 'auto',
  cpus: readonly number[],
): Placement[] {
  const fewest = interfaces.reduce(
    (least, { rxQueues, txQueues }) => Math.min(least, rxQueues, txQueues),
    Number.POSITIVE_INFINITY,
  );
  const narrow = interfaces.find(
    ({ rxQueues, txQueues }) => Math.min(rxQueues, txQueues) === fewest,
  )!;
  const workers = count === 'auto' ? Math.min(fewest, availableParallelism()) : count;
  if (workers > fewest) {
    throw new Error(
      `workers.count ${workers}: interface ${narrow.name} has ${fewest} queue(s), and every ` +
        `worker needs one of each interface; 1 to ${fewest} are allowed`,
    );
  }
  if (cpus.length > 0 && cpus.length < workers) {
    throw new Error(`workers.cpus names ${cpus.length} CPU(s) for ${workers} workers`);
  }
  const allowed = allowedCpus();
  return Array.from({ length: workers }, (_, worker) => ({
    cpu: cpus[worker] ?? allowed[worker] ?? -1,
    interfaces: interfaces.map(({ name, rxQueues }, slot) => ({
      name,
      slot,
      queues: Array.from({ length: rxQueues }, (_, queue) => queue).filter(
        (queue) => queue % workers === worker,
      ),
    })),
  }));
}

/** CPUs this process may run on, ascending: "0-2,5" in /proc/self/status. */
function allowedCpus(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}
