/** Options of the stalls bench. */
import { CPU_OPTIONS, type Cpus, readCpus } from '../control/settings';
import { flagOption, numberOption, type Options } from '../support/options';

export const OPTIONS = {
  rounds: numberOption(5, 1, 100, 'rounds of the three: idle, busy neighbour, control plane'),
  quiet: numberOption(3, 0.2, 600, 'seconds of a phase in which the control plane is idle'),
  services: numberOption(10_000, 1, 50_000, 'services that are loaded and removed'),
  servers: numberOption(1, 1, 20, 'real servers of each'),
  connections: numberOption(1_000_000, 1024, 4_000_000, 'connections that are listed'),
  minutes: numberOption(0.5, 0, 120, 'minutes of the soak, 0 = none'),
  ...CPU_OPTIONS,
  quick: flagOption('one short round of little: does it work? Its figures mean nothing'),
};

export interface Settings extends Cpus {
  readonly rounds: number;
  readonly quietMs: number;
  readonly services: number;
  readonly servers: number;
  readonly connections: number;
  readonly soakMs: number;
}

const QUICK = { rounds: 1, quietMs: 300, services: 200, connections: 4096, soakMs: 1000 };

export function readSettings(options: Options): Settings {
  return {
    rounds: options.number('rounds'),
    quietMs: options.number('quiet') * 1000,
    services: options.number('services'),
    servers: options.number('servers'),
    connections: options.number('connections'),
    soakMs: options.number('minutes') * 60_000,
    ...readCpus(options),
    ...(options.flag('quick') ? QUICK : {}),
  };
}
