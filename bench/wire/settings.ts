/**
 * Options of the wire bench, and the addresses it uses: the ranges for benchmarks of RFC 2544 and
 * RFC 5180.
 */
import {
  choiceOption,
  flagOption,
  numberOption,
  OptionError,
  type Options,
} from '../support/options';

export const CONTENDERS = [
  'nftables',
  'xvs',
  'c-forwarder',
  'c-director',
  'xdp-redirect',
  'dpdk-testpmd',
] as const;
export const METHODS = ['nat', 'dr', 'tunnel', 'fullnat'] as const;
export const MODES = ['busy', 'adaptive', 'interrupt'] as const;
export const LOADS = ['flood', 'lossless', 'half', 'steps'] as const;
export type Method = (typeof METHODS)[number];
export type Mode = (typeof MODES)[number];
export type Load = (typeof LOADS)[number];
export type Family = 4 | 6;

/** When receive threads run: see WireLab.pinReceiveThreads. */
export type Receive = 'first' | 'fair';

/** With the frame check sequence, as RFC 2544 counts. */
const SIZES = ['64', '512', '1518'] as const;
const CHECK_SEQUENCE_BYTES = 4;

/** For every bench on the wire. */
export const CPU_OPTIONS = {
  'generator-cpu': numberOption(0, 0, 4095, 'CPU of the generator'),
  'contender-cpu': numberOption(1, 0, 4095, 'CPU of all that the contender does'),
};

/** What it takes to have two sides and the cables between them. */
export const LAB_OPTIONS = {
  ring: numberOption(2048, 64, 16_384, "c-forwarder's ring size, a power of two"),
  ...CPU_OPTIONS,
};

/** Of benches that measure every contender once a round, and again where others disturbed. */
export const ROUND_OPTIONS = {
  rounds: numberOption(10, 1, 1000, 'rounds; in each, every contender is measured once'),
  retries: numberOption(1, 0, 10, 'how often a measurement that others disturbed is repeated'),
  quick: flagOption('one short round: does it work? Its figures mean nothing'),
};

/** How a rate without loss is looked for. */
export const SEARCH_OPTIONS = {
  trial: numberOption(0.3, 0.1, 60, 'seconds of a trial in the search for the lossless rate'),
  loss: numberOption(0, 0, 0.1, 'share of frames that a trial may lose and count as lossless'),
  resolution: numberOption(0.03, 0.005, 0.3, 'the search ends when the rate is known to this'),
  attempts: numberOption(2, 1, 10, 'a rate is lossless when one of so many trials is'),
};

export const OPTIONS = {
  ...ROUND_OPTIONS,
  seconds: numberOption(1.2, 0.2, 60, 'seconds of one measurement'),
  warmup: numberOption(1, 0.1, 60, 'seconds of traffic before the first measurement'),
  flows: numberOption(1024, 1, 1_000_000, 'UDP flows, taking turns frame by frame'),
  loads: choiceOption(
    'flood,lossless,half',
    LOADS,
    true,
    "flood; highest rate without loss; half of nftables' one; loss against offered rate",
  ),
  sizes: choiceOption('64', SIZES, true, 'frame bytes, with the check sequence; IPv6: 84 at least'),
  mode: choiceOption('interrupt', MODES, false, 'xvs and the two in C: spin, or block'),
  contenders: choiceOption(CONTENDERS.join(','), CONTENDERS, true, 'who takes part'),
  methods: choiceOption('nat', METHODS, true, "xvs's forwarding methods"),
  families: choiceOption('4', ['4', '6'], true, 'IP versions'),
  'side-by-side': flagOption(
    'all contenders stand from start to end and take turns by the second: --loads flood',
  ),
  counters: flagOption('show what each contender counted'),
  install: flagOption('install peers that are missing (apt-get)'),
  ...SEARCH_OPTIONS,
  ...LAB_OPTIONS,
};

export interface LabSettings {
  readonly flows: number;
  readonly ring: number;
  readonly generatorCpu: number;
  readonly contenderCpu: number;
}

export interface SearchSettings {
  readonly trial: number;
  readonly loss: number;
  readonly resolution: number;
  readonly attempts: number;
}

export interface RoundSettings {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly retries: number;
}

export interface Settings extends LabSettings, RoundSettings {
  readonly loads: readonly Load[];
  /** Without the frame check sequence. */
  readonly frameBytes: readonly number[];
  readonly mode: Mode;
  readonly contenders: readonly string[];
  readonly methods: readonly Method[];
  readonly families: readonly Family[];
  /** Do all contenders stand at once, and take turns? */
  readonly sideBySide: boolean;
  readonly showCounters: boolean;
  readonly installs: boolean;
  readonly search: SearchSettings;
}

const QUICK: Partial<RoundSettings> = { seconds: 0.3, warmup: 0.3 };
const QUICK_SEARCH: SearchSettings = { trial: 0.1, loss: 0.5, resolution: 0.3, attempts: 1 };

export function readLabSettings(options: Options): LabSettings {
  return {
    flows: options.number('flows'),
    ring: options.number('ring'),
    generatorCpu: options.number('generator-cpu'),
    contenderCpu: options.number('contender-cpu'),
  };
}

export function readSearchSettings(options: Options): SearchSettings {
  if (options.flag('quick')) return QUICK_SEARCH;
  return {
    trial: options.number('trial'),
    loss: options.number('loss'),
    resolution: options.number('resolution'),
    attempts: options.number('attempts'),
  };
}

/** `quick`: what replaces the options in a quick run, beside its single round. */
export function readRoundSettings(options: Options, quick: Partial<RoundSettings>): RoundSettings {
  return {
    rounds: options.number('rounds'),
    seconds: options.number('seconds'),
    warmup: options.number('warmup'),
    retries: options.number('retries'),
    ...(options.flag('quick') ? { rounds: 1, retries: 0, ...quick } : {}),
  };
}

export function readSettings(options: Options): Settings {
  const words = (name: string) => options.text(name).split(',');
  if (options.flag('side-by-side') && options.text('loads') !== 'flood') {
    throw new OptionError(
      `--loads: '${options.text('loads')}' cannot be measured with --side-by-side, only flood can`,
    );
  }
  return {
    ...readLabSettings(options),
    ...readRoundSettings(options, QUICK),
    loads: words('loads') as Load[],
    frameBytes: words('sizes').map((size) => Number(size) - CHECK_SEQUENCE_BYTES),
    mode: options.text('mode') as Mode,
    contenders: words('contenders'),
    methods: words('methods') as Method[],
    families: words('families').map((word) => (word === '4' ? 4 : 6)),
    sideBySide: options.flag('side-by-side'),
    showCounters: options.flag('counters'),
    installs: options.flag('install'),
    search: readSearchSettings(options),
  };
}

/** Ethernet, IP, UDP, 18 bytes of payload; a wire adds 4 bytes of frame check sequence. */
export const FRAME_BYTES_LEAST: Readonly<Record<Family, number>> = { 4: 60, 6: 80 };
export const SERVICE_PORT = 9000;

/** The frame sizes of a run that a family can have. */
export function sizesOf({ frameBytes }: Settings, family: Family): number[] {
  const least = FRAME_BYTES_LEAST[family];
  return [...new Set(frameBytes.map((bytes) => Math.max(bytes, least)))];
}

export interface Addresses {
  readonly prefixLength: number;
  /** The service, and the director's address on the client's side. */
  readonly virtual: string;
  readonly client: string;
  /** Flows' source addresses start here, 60,000 ports each; all of them lie within the prefix. */
  readonly flows: string;
  readonly flowsPrefix: number;
  readonly director: string;
  readonly server: string;
  /** What FULLNAT's connections come from; all lie within the prefix. */
  readonly local: readonly string[];
  readonly localPrefix: number;
}

export const ADDRESSES: Readonly<Record<Family, Addresses>> = {
  4: {
    prefixLength: 16,
    virtual: '198.18.0.1',
    client: '198.18.0.2',
    flows: '198.18.1.0',
    flowsPrefix: 24,
    director: '198.19.0.1',
    server: '198.19.0.2',
    local: [0, 1, 2, 3].map((number) => `198.19.0.${100 + number}`),
    localPrefix: 30,
  },
  6: {
    prefixLength: 64,
    virtual: '2001:2:0:1::1',
    client: '2001:2:0:1::2',
    flows: '2001:2:0:1::1:100',
    flowsPrefix: 120,
    director: '2001:2:0:2::1',
    server: '2001:2:0:2::2',
    local: [0, 1, 2, 3].map((number) => `2001:2:0:2::${(100 + number).toString(16)}`),
    localPrefix: 126,
  },
};

/** Address and port as one word. */
export function endpoint(address: string, port = SERVICE_PORT): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
