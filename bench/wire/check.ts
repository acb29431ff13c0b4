/** What the benches on the wire need of the machine, and which CPU does what. */
import { commandSync } from '#xvs/lab/process';
import { readCpuTimes } from '../support/cpuTime';
import { OptionError } from '../support/options';
import type { LabSettings } from './settings';

/**
 * Makes this program ready to measure: it sleeps meanwhile; what little it does belongs to the
 * generator's side, and is done at once (SCHED_FIFO, not passed on), so that its readings belong
 * together. Throws unless the CPUs are there and the contender has one of its own.
 */
export function pinBench(generator: number, contender: number, more: readonly number[] = []): void {
  const cpus = readCpuTimes();
  for (const cpu of [generator, contender, ...more]) {
    if (!cpus.has(cpu)) throw new OptionError(`CPU ${cpu} is not one of ${[...cpus.keys()]}`);
  }
  if ([generator, ...more].includes(contender)) {
    throw new OptionError(`CPU ${contender} is the contender's: what else runs needs another one`);
  }
  if (process.getuid?.() !== 0) throw new Error('this bench makes namespaces: it needs root');
  commandSync(['taskset', '-a', '-p', '-c', String(generator), String(process.pid)]);
  commandSync(['chrt', '--reset-on-fork', '--fifo', '--pid', '3', String(process.pid)]);
}

/** Throws unless the lab can be built as it is asked for. */
export function checkLab({ generatorCpu, contenderCpu, ring }: LabSettings): void {
  if ((ring & (ring - 1)) !== 0) throw new OptionError(`--ring: ${ring} is not a power of two`);
  pinBench(generatorCpu, contenderCpu);
}

export function placementOf({ generatorCpu, contenderCpu }: LabSettings): Record<string, number> {
  return {
    'generator and this program': generatorCpu,
    'receive threads of all interfaces': contenderCpu,
    'contender, all its threads': contenderCpu,
  };
}
