/** Options of the tcp bench; its addresses are the wire bench's. */
import { choiceOption, flagOption, numberOption, type Options } from '../support/options';
import {
  CPU_OPTIONS,
  MODES,
  type Mode,
  ROUND_OPTIONS,
  type RoundSettings,
  readRoundSettings,
} from '../wire/settings';

const CONTENDERS = ['xvs', 'nftables', 'haproxy', 'nginx'] as const;
const METHODS = ['nat', 'dr', 'fullnat'] as const;
const LOADS = ['requests', 'connect', 'transfer'] as const;
const OFFLOADS = ['tso', 'gro', 'off'] as const;
export type Method = (typeof METHODS)[number];
export type Load = (typeof LOADS)[number];
/** Loads of which a rate can be asked for. */
export type PacedLoad = Exclude<Load, 'transfer'>;
/**
 * `tso`: a cable carries segments of up to 64 KB, as veth does unless told otherwise.
 * `gro`: frames, as on a wire; receivers join them before their stack sees them.
 * `off`: frames, never joined.
 */
export type Offloads = (typeof OFFLOADS)[number];

export const OPTIONS = {
  ...ROUND_OPTIONS,
  seconds: numberOption(0.5, 0.1, 60, 'seconds of one measurement'),
  warmup: numberOption(0.15, 0.05, 60, 'seconds of traffic before each measurement'),
  loads: choiceOption(
    LOADS.join(','),
    LOADS,
    true,
    'requests on open connections; a connection for each request; large responses',
  ),
  connections: numberOption(64, 1, 400, 'connections at a time, requests and connect'),
  streams: numberOption(8, 1, 400, 'connections at a time, transfer'),
  'requests-rate': numberOption(
    0,
    0,
    1e6,
    "requests per second for the latencies; 0 = half of the slowest contender's most",
  ),
  'connect-rate': numberOption(0, 0, 1e6, 'connections per second for the latencies; 0 likewise'),
  offloads: choiceOption(
    'tso,off',
    OFFLOADS,
    true,
    'transfer: large segments on the cables; joined by receivers only; frames alone',
  ),
  contenders: choiceOption(CONTENDERS.join(','), CONTENDERS, true, 'who takes part'),
  methods: choiceOption(METHODS.join(','), METHODS, true, "xvs's forwarding methods"),
  mode: choiceOption('interrupt', MODES, false, "xvs's mode"),
  ...CPU_OPTIONS,
  'server-cpu': numberOption(0, 0, 4095, 'CPU of the real server'),
  counters: flagOption('show what each contender counted'),
  install: flagOption('install peers that are missing (apt-get)'),
};

export interface LabSettings {
  readonly generatorCpu: number;
  readonly serverCpu: number;
  readonly contenderCpu: number;
}

export interface Settings extends LabSettings, RoundSettings {
  readonly loads: readonly Load[];
  readonly connections: number;
  readonly streams: number;
  /** Per second, 0 = to be found. */
  readonly rates: Readonly<Record<PacedLoad, number>>;
  readonly offloads: readonly Offloads[];
  readonly contenders: readonly string[];
  readonly methods: readonly Method[];
  readonly mode: Mode;
  readonly showCounters: boolean;
  readonly installs: boolean;
}

/**
 * Longer than TCP waits when all connections lost the end of their first flight at once: 200 ms,
 * and 400 ms if that happens again.
 */
const QUICK: Partial<RoundSettings> = { seconds: 0.6, warmup: 0.1 };
const QUICK_OFFLOADS: readonly Offloads[] = ['gro'];
/** What every contender can hold on a slow machine. */
const QUICK_RATES = { requests: 1000, connect: 200 };

export function readSettings(options: Options): Settings {
  const words = (name: string) => options.text(name).split(',');
  const isQuick = options.flag('quick');
  const rate = (load: PacedLoad) =>
    options.number(`${load}-rate`) || (isQuick ? QUICK_RATES[load] : 0);
  return {
    generatorCpu: options.number('generator-cpu'),
    serverCpu: options.number('server-cpu'),
    contenderCpu: options.number('contender-cpu'),
    ...readRoundSettings(options, QUICK),
    loads: words('loads') as Load[],
    connections: options.number('connections'),
    streams: options.number('streams'),
    rates: { requests: rate('requests'), connect: rate('connect') },
    offloads: isQuick ? QUICK_OFFLOADS : (words('offloads') as Offloads[]),
    contenders: words('contenders'),
    methods: words('methods') as Method[],
    mode: options.text('mode') as Mode,
    showCounters: options.flag('counters'),
    installs: options.flag('install'),
  };
}
