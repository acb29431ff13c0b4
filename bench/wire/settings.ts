/** Options of the wire bench, and the addresses it uses (RFC 2544's range for benchmarks). */
import { choiceOption, numberOption, type Options } from '../support/options';

export const CONTENDERS = ['xvs', 'nftables', 'c-forwarder'] as const;

export const OPTIONS = {
  rounds: numberOption(5, 1, 100, 'rounds; in each, every contender is measured once'),
  seconds: numberOption(3, 0.5, 60, 'seconds of one measurement'),
  warmup: numberOption(2.5, 0.2, 60, 'seconds of traffic before a measurement'),
  flows: numberOption(1024, 1, 1_000_000, 'UDP flows, taking turns frame by frame'),
  rate: numberOption(0, 0, 1e8, 'frames per second offered, 0 = flood'),
  mode: choiceOption(
    'adaptive',
    ['adaptive', 'busy'],
    false,
    'xvs and c-forwarder: spin, or block',
  ),
  ring: numberOption(2048, 64, 16_384, "c-forwarder's ring size, a power of two"),
  contenders: choiceOption(CONTENDERS.join(','), CONTENDERS, true, 'who takes part'),
  retries: numberOption(2, 0, 10, 'how often a measurement that others disturbed is repeated'),
  counters: choiceOption('no', ['no', 'yes'], false, 'show what each contender counted'),
  'generator-cpu': numberOption(0, 0, 4095, 'CPU of the generator alone'),
  'contender-cpu': numberOption(1, 0, 4095, 'CPU of all that the contender does'),
};

export interface Settings {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly flows: number;
  readonly rate: number;
  readonly mode: string;
  readonly ring: number;
  readonly contenders: readonly string[];
  readonly retries: number;
  readonly showCounters: boolean;
  readonly generatorCpu: number;
  readonly contenderCpu: number;
}

export function readSettings(options: Options): Settings {
  return {
    rounds: options.number('rounds'),
    seconds: options.number('seconds'),
    warmup: options.number('warmup'),
    flows: options.number('flows'),
    rate: options.number('rate'),
    mode: options.text('mode'),
    ring: options.number('ring'),
    contenders: options.text('contenders').split(','),
    retries: options.number('retries'),
    showCounters: options.text('counters') === 'yes',
    generatorCpu: options.number('generator-cpu'),
    contenderCpu: options.number('contender-cpu'),
  };
}

/** Ethernet, IPv4, UDP, 18 bytes of payload; a wire adds 4 bytes of frame check sequence. */
export const FRAME_BYTES = 60;
export const SERVICE_PORT = 9000;
export const PREFIX_LENGTH = 16;
/** The service, and the director's address on the client's side. */
export const VIRTUAL_ADDRESS = '198.18.0.1';
export const CLIENT_ADDRESS = '198.18.0.2';
/** Flows' source addresses start here, 60,000 ports each. */
export const FLOW_ADDRESS = '198.18.1.0';
export const DIRECTOR_ADDRESS = '198.19.0.1';
export const SERVER_ADDRESS = '198.19.0.2';
