/** Options of the control bench, and the rules it works with. */
import { choiceOption, numberOption, type Option, type Options } from '../support/options';

/** Of benches that put a worker beside a control plane at work. */
export const CPU_OPTIONS = {
  'worker-cpu': numberOption(1, 0, 1023, 'CPU of the worker'),
  'control-cpu': numberOption(0, 0, 1023, 'CPU of the control plane and the tools'),
};

export const OPTIONS: Readonly<Record<string, Option>> = {
  services: numberOption(10_000, 1, 50_000, 'services that are added, listed and deleted'),
  servers: numberOption(10, 1, 100, 'real servers of each'),
  single: numberOption(1000, 1, 50_000, 'services of the tools that send one request a rule'),
  rounds: numberOption(9, 1, 100, 'rounds; each does everything once'),
  flows: numberOption(4096, 1, 1_000_000, "connections of the worker's traffic"),
  quiet: numberOption(0.3, 0.2, 60, 'seconds of a measurement with nothing to do'),
  maps: choiceOption(
    'auto',
    ['auto', 'on', 'off'],
    false,
    'attach the XDP program to a veth pair in a namespace and write its maps (root)',
  ),
  ...CPU_OPTIONS,
};

export interface Cpus {
  readonly workerCpu: number;
  readonly controlCpu: number;
}

export interface Settings extends Cpus {
  readonly services: number;
  readonly servers: number;
  readonly single: number;
  readonly rounds: number;
  readonly flows: number;
  readonly quietMs: number;
  readonly maps: 'auto' | 'on' | 'off';
}

export function readCpus(options: Options): Cpus {
  return {
    workerCpu: options.number('worker-cpu'),
    controlCpu: options.number('control-cpu'),
  };
}

export function readSettings(options: Options): Settings {
  return {
    services: options.number('services'),
    servers: options.number('servers'),
    single: options.number('single'),
    rounds: options.number('rounds'),
    flows: options.number('flows'),
    quietMs: options.number('quiet') * 1000,
    maps: options.text('maps') as Settings['maps'],
    ...readCpus(options),
  };
}

/** "10.1.2.3" of a network's number and a host's, up to 16 bits. */
function address(network: number, host: number): string {
  return `10.${network}.${host >> 8}.${host & 255}`;
}

/** A service and a real server of the bench, as xvsadm takes them. */
export const serviceOf = (number: number) => address(1, number);
export const serverOf = (service: number, number: number) =>
  address(16 + ((service * 100 + number) >> 16), (service * 100 + number) & 0xffff);

/**
 * A service that always stays. With the last one gone a director hands live connections to its
 * host, and the worker would have nothing to do.
 */
export const KEPT_ADDRESS = '192.0.2.1';
export const KEPT_RULE = `-A -t ${KEPT_ADDRESS}:80 -s rr\n`;

/** Rules in xvsadm-save's format. */
export function rulesOf(services: number, servers: number): string {
  const lines: string[] = [];
  for (let service = 0; service < services; service++) {
    const at = `-t ${serviceOf(service)}:80`;
    lines.push(`-A ${at} -s rr`);
    for (let server = 0; server < servers; server++) {
      lines.push(`-a ${at} -r ${serverOf(service, server)}:80 -m -w 1`);
    }
  }
  lines.push('');
  return lines.join('\n');
}
