/** What the benches on the wire need of the machine, and which CPU does what. */
import { commandSync } from '#xvs/lab/process';
import { readCpuTimes } from '../support/cpuTime';
import { OptionError } from '../support/options';
import type { LabSettings } from './settings';

/** Throws unless the lab can be built as it is asked for. */
export function checkLab({ generatorCpu, contenderCpu, ring }: LabSettings): void {
  const cpus = readCpuTimes();
  for (const cpu of [generatorCpu, contenderCpu]) {
    if (!cpus.has(cpu)) throw new OptionError(`CPU ${cpu} is not one of ${[...cpus.keys()]}`);
  }
  if (generatorCpu === contenderCpu) {
    throw new OptionError(
      `generator and contender both on CPU ${contenderCpu}: they need one each`,
    );
  }
  if ((ring & (ring - 1)) !== 0) throw new OptionError(`--ring: ${ring} is not a power of two`);
  if (process.getuid?.() !== 0) throw new Error('this bench makes namespaces: it needs root');
  // This process sleeps while it measures; what little it does belongs to the generator's side,
  // and is done at once (SCHED_FIFO, not passed on), so that its readings belong together.
  commandSync(['taskset', '-a', '-p', '-c', String(generatorCpu), String(process.pid)]);
  commandSync(['chrt', '--reset-on-fork', '--fifo', '--pid', '3', String(process.pid)]);
}

export function placementOf({ generatorCpu, contenderCpu }: LabSettings): Record<string, number> {
  return {
    'generator and this program': generatorCpu,
    'receive threads of all interfaces': contenderCpu,
    'contender, all its threads': contenderCpu,
  };
}
