/** Options of the latency bench; its addresses, hosts and cables are the wire bench's. */
import { choiceOption, numberOption, type Options } from '../support/options';
import {
  LAB_OPTIONS,
  type LabSettings,
  MODES,
  type Mode,
  ROUND_OPTIONS,
  type RoundSettings,
  readLabSettings,
  readRoundSettings,
  readSearchSettings,
  SEARCH_OPTIONS,
  type SearchSettings,
} from '../wire/settings';

const CONTENDERS = ['nftables', 'xvs', 'c-forwarder', 'xdp-redirect'] as const;

export const OPTIONS = {
  ...ROUND_OPTIONS,
  seconds: numberOption(0.8, 0.2, 60, 'seconds of one measurement'),
  warmup: numberOption(0.3, 0.1, 60, 'seconds of traffic before the first measurement'),
  low: numberOption(20_000, 100, 1e7, 'packets per second through the director at low load'),
  half: numberOption(0, 0, 1e7, "the same at half load; 0 = half of nftables' lossless rate"),
  flows: numberOption(256, 1, 1_000_000, 'UDP flows, taking turns frame by frame'),
  contenders: choiceOption(CONTENDERS.join(','), CONTENDERS, true, 'who takes part'),
  modes: choiceOption(MODES.join(','), MODES, true, "xvs's modes"),
  ...SEARCH_OPTIONS,
  ...LAB_OPTIONS,
};

export interface Settings extends LabSettings, RoundSettings {
  readonly low: number;
  readonly half: number;
  readonly contenders: readonly string[];
  readonly modes: readonly Mode[];
  readonly search: SearchSettings;
}

const QUICK: Partial<RoundSettings> = { seconds: 0.3, warmup: 0.2 };
const QUICK_RATES = { low: 2000, half: 10_000 };

export function readSettings(options: Options): Settings {
  return {
    ...readLabSettings(options),
    ...readRoundSettings(options, QUICK),
    low: options.number('low'),
    half: options.number('half'),
    ...(options.flag('quick') ? QUICK_RATES : {}),
    contenders: options.text('contenders').split(','),
    modes: options.text('modes').split(',') as Mode[],
    search: readSearchSettings(options),
  };
}
