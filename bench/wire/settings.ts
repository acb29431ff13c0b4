/**
 * Options of the wire bench, and the addresses it uses: the ranges for benchmarks of RFC 2544 and
 * RFC 5180.
 */
import { choiceOption, numberOption, type Options } from '../support/options';

export const CONTENDERS = ['xvs', 'nftables', 'c-forwarder'] as const;
export const METHODS = ['nat', 'dr', 'tunnel', 'fullnat'] as const;
export type Method = (typeof METHODS)[number];
export type Family = 4 | 6;

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
  methods: choiceOption(METHODS.join(','), METHODS, true, "xvs's forwarding methods"),
  families: choiceOption('4,6', ['4', '6'], true, 'IP versions'),
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
  readonly methods: readonly Method[];
  readonly families: readonly Family[];
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
    methods: options.text('methods').split(',') as Method[],
    families: options
      .text('families')
      .split(',')
      .map((word) => (word === '4' ? 4 : 6)),
    retries: options.number('retries'),
    showCounters: options.text('counters') === 'yes',
    generatorCpu: options.number('generator-cpu'),
    contenderCpu: options.number('contender-cpu'),
  };
}

/** Ethernet, IP, UDP, 18 bytes of payload; a wire adds 4 bytes of frame check sequence. */
export const FRAME_BYTES: Readonly<Record<Family, number>> = { 4: 60, 6: 80 };
export const SERVICE_PORT = 9000;

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
