/** Options of the pipeline bench, and what its world looks like. */
import { choiceOption, numberOption, type Option, type Options } from '../support/options';
import { METHODS, type Method, type Protocol, type TunnelName } from './row';

const FLOWS = ['1024', '65536', '100000', '1000000', '10000000'];

export const OPTIONS: Readonly<Record<string, Option>> = {
  parts: choiceOption(
    'peer,methods,births,workers',
    ['peer', 'methods', 'births', 'workers'],
    true,
    'NAT beside C; every method beside NAT; the same of new connections; two workers beside one',
  ),
  flows: choiceOption('1024,100000,1000000,10000000', FLOWS, true, 'connections, of the part peer'),
  rowFlows: choiceOption('1024,1000000', FLOWS, true, 'connections of each row, of other parts'),
  protocol: choiceOption('udp', ['udp', 'tcp'], true, 'protocol of the frames'),
  methods: choiceOption(METHODS.join(','), METHODS, true, 'forwarding methods'),
  families: choiceOption('4,6', ['4', '6'], true, 'IP versions'),
  tunnels: choiceOption('ipip', ['ipip', 'gue', 'gre'], true, 'kinds of tunnel'),
  process: choiceOption(
    'own',
    ['own', 'shared'],
    false,
    'each row in a process of its own, or all in one, as mixed traffic has it',
  ),
  prefetch: choiceOption(
    'native',
    ['native', 'reading'],
    false,
    'how xvs gets lines from memory: as the daemon does, or as it would without the addon',
  ),
  rounds: numberOption(21, 1, 1000, 'rounds of each contender'),
  packets: numberOption(262144, 65536, 16777216, 'frames a round, rounded to whole batches'),
  cpu: numberOption(1, 0, 1023, 'CPU for all contenders'),
  otherCpu: numberOption(0, 0, 1023, 'CPU of the second of two workers'),
};

export type PrefetchName = 'native' | 'reading';

export interface Settings {
  readonly parts: readonly string[];
  readonly flows: readonly number[];
  readonly rowFlows: readonly number[];
  readonly protocols: readonly Protocol[];
  readonly methods: readonly Method[];
  readonly families: readonly (4 | 6)[];
  readonly tunnels: readonly TunnelName[];
  readonly sharesProcess: boolean;
  readonly prefetch: PrefetchName;
  readonly rounds: number;
  /** Frames a round: whole batches. */
  readonly packets: number;
  readonly cpu: number;
  readonly otherCpu: number;
}

export function readSettings(options: Options): Settings {
  const list = (name: string) => options.text(name).split(',');
  return {
    parts: list('parts'),
    flows: list('flows').map(Number),
    rowFlows: list('rowFlows').map(Number),
    protocols: list('protocol') as Protocol[],
    methods: list('methods') as Method[],
    families: list('families').map((family) => (family === '4' ? 4 : 6)),
    tunnels: list('tunnels') as TunnelName[],
    sharesProcess: options.text('process') === 'shared',
    prefetch: options.text('prefetch') as PrefetchName,
    rounds: options.number('rounds'),
    packets: Math.ceil(options.number('packets') / BATCH_FRAMES) * BATCH_FRAMES,
    cpu: options.number('cpu'),
    otherCpu: options.number('otherCpu'),
  };
}

export const CHUNK_BYTES = 2048;
/** Frames that are restored, and then timed, in one go: 32 bursts. */
export const BATCH_FRAMES = 4096;
/** The clock goes on by one tick after so many frames: 100 ms at 0.65 million packets a second. */
export const TICK_FRAMES = 65536;
/** Frames in a pass at least, so that few flows do not come in an order that can be learnt. */
export const ORDER_FRAMES_MIN = 65536;
/** Rounds before those that count. Short ones, for a busy host changes speed within seconds. */
export const WARM_UP_ROUNDS = 12;
