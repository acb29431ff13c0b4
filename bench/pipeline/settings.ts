/** Options of the pipeline bench, and what its world looks like. */
import { choiceOption, numberOption, type Option, type Options } from '../support/options';

export const OPTIONS: Readonly<Record<string, Option>> = {
  flows: choiceOption('1024,1000000', ['1024', '65536', '1000000'], true, 'connections'),
  protocol: choiceOption('udp', ['udp', 'tcp'], false, 'protocol of the frames'),
  prefetch: choiceOption(
    'native',
    ['native', 'reading'],
    false,
    'how xvs gets lines from memory: as the daemon does, or as it would without the addon',
  ),
  rounds: numberOption(41, 1, 1000, 'rounds of each contender'),
  packets: numberOption(262144, 65536, 16777216, 'frames a round, rounded to whole batches'),
  cpu: numberOption(1, 0, 1023, 'CPU for both contenders'),
};

export interface Settings {
  readonly flows: readonly number[];
  readonly protocol: 'udp' | 'tcp';
  readonly prefetch: 'native' | 'reading';
  readonly rounds: number;
  readonly packets: number;
  readonly cpu: number;
}

export function readSettings(options: Options): Settings {
  return {
    flows: options.text('flows').split(',').map(Number),
    protocol: options.text('protocol') === 'tcp' ? 'tcp' : 'udp',
    prefetch: options.text('prefetch') === 'native' ? 'native' : 'reading',
    rounds: options.number('rounds'),
    packets: options.number('packets'),
    cpu: options.number('cpu'),
  };
}

/** On the wire without frame check sequence: the least Ethernet allows. */
export const FRAME_BYTES = 60;
/** Prepared frames are kept one a cache line. */
export const FRAME_STRIDE = 64;
export const CHUNK_BYTES = 2048;
/** Frames that are restored, and then timed, in one go: 64 bursts. */
export const BATCH_FRAMES = 4096;
/** The clock goes on by one tick after so many frames: 100 ms at 0.65 million packets a second. */
export const TICK_FRAMES = 65536;
export const SERVER_COUNT = 8;
/** Frames in a pass at least, so that few flows do not come in an order that can be learnt. */
export const ORDER_FRAMES_MIN = 65536;
