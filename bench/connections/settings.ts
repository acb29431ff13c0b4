/** Options of the connections bench. */
import { METHODS, type Method, type Protocol } from '../pipeline/row';
import { choiceOption, numberOption, type Option, type Options } from '../support/options';

export const OPTIONS: Readonly<Record<string, Option>> = {
  parts: choiceOption(
    'rates,memory',
    ['rates', 'memory'],
    true,
    'new connections a second; memory of one',
  ),
  schedulers: choiceOption('rr,wlc,mh,sh', ['rr', 'wlc', 'mh', 'sh'], true, 'schedulers'),
  full: choiceOption('10,50,90', ['10', '50', '90'], true, 'how full the table is, percent'),
  capacity: numberOption(1048576, 65536, 16777215, 'connections that the table holds'),
  method: choiceOption('nat', METHODS, false, 'forwarding method'),
  family: choiceOption('4', ['4', '6'], false, 'IP version'),
  protocol: choiceOption('tcp', ['tcp', 'udp'], false, 'protocol: first packets are SYNs, or any'),
  servers: numberOption(8, 1, 64, 'real servers of the service'),
  rounds: numberOption(11, 1, 1000, 'rounds of each row'),
  connections: numberOption(65536, 16384, 16777216, 'connections a round, whole batches'),
  memoryCapacity: numberOption(10_000_000, 1024, 16777215, 'capacity for the part memory'),
  cpu: numberOption(1, 0, 1023, 'CPU for all rows'),
};

export interface Settings {
  readonly parts: readonly string[];
  readonly schedulers: readonly string[];
  readonly full: readonly number[];
  readonly capacity: number;
  readonly method: Method;
  readonly family: 4 | 6;
  readonly protocol: Protocol;
  readonly servers: number;
  readonly rounds: number;
  readonly connections: number;
  readonly memoryCapacity: number;
  readonly cpu: number;
}

export function readSettings(options: Options): Settings {
  return {
    parts: options.text('parts').split(','),
    schedulers: options.text('schedulers').split(','),
    full: options.text('full').split(',').map(Number),
    capacity: options.number('capacity'),
    method: options.text('method') as Method,
    family: options.text('family') === '6' ? 6 : 4,
    protocol: options.text('protocol') as Protocol,
    servers: options.number('servers'),
    rounds: options.number('rounds'),
    connections: options.number('connections'),
    memoryCapacity: options.number('memoryCapacity'),
    cpu: options.number('cpu'),
  };
}
