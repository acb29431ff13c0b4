/** Options of the latency bench; its addresses, hosts and cables are the wire bench's. */
import { choiceOption, flagOption, numberOption, type Options } from '../support/options';
import {
  LAB_OPTIONS,
  type LabSettings,
  MODES,
  type Mode,
  readLabSettings,
  readSearchSettings,
  SEARCH_OPTIONS,
  type SearchSettings,
} from '../wire/settings';

const CONTENDERS = ['nftables', 'xvs', 'c-forwarder', 'xdp-redirect'] as const;

export const OPTIONS = {
  rounds: numberOption(10, 1, 100, 'rounds; in each, every contender is measured once'),
  seconds: numberOption(0.8, 0.2, 60, 'seconds of one measurement'),
  warmup: numberOption(0.3, 0.1, 60, 'seconds of traffic before the first measurement'),
  low: numberOption(20_000, 100, 1e7, 'packets per second through the director at low load'),
  half: numberOption(0, 0, 1e7, "the same at half load; 0 = half of nftables' lossless rate"),
  flows: numberOption(256, 1, 1_000_000, 'UDP flows, taking turns frame by frame'),
  contenders: choiceOption(CONTENDERS.join(','), CONTENDERS, true, 'who takes part'),
  modes: choiceOption(MODES.join(','), MODES, true, "xvs's modes"),
  retries: numberOption(1, 0, 10, 'how often a measurement that others disturbed is repeated'),
  quick: flagOption('one short round: does it work? Its figures mean nothing'),
  ...SEARCH_OPTIONS,
  ...LAB_OPTIONS,
};

export interface Settings extends LabSettings {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly low: number;
  readonly half: number;
  readonly contenders: readonly string[];
  readonly modes: readonly Mode[];
  readonly retries: number;
  readonly search: SearchSettings;
}

const QUICK = { rounds: 1, seconds: 0.3, warmup: 0.2, retries: 0, low: 2000, half: 10_000 };

export function readSettings(options: Options): Settings {
  return {
    ...readLabSettings(options),
    rounds: options.number('rounds'),
    seconds: options.number('seconds'),
    warmup: options.number('warmup'),
    retries: options.number('retries'),
    low: options.number('low'),
    half: options.number('half'),
    ...(options.flag('quick') ? QUICK : {}),
    contenders: options.text('contenders').split(','),
    modes: options.text('modes').split(',') as Mode[],
    search: readSearchSettings(options),
  };
}
