/**
 * A process that measures connections that come and go: on one CPU, made ready as a worker makes
 * itself ready.
 */
import { addon, lineOffset } from '#xvs/port/addon';
import { createMemory } from '#xvs/table/memory';
import { tuneEngine } from '#xvs/worker/engine';
import { warmUp } from '#xvs/worker/warmUp';
import { BATCH_FRAMES } from '../pipeline/settings';
import { answerWith } from '../support/askedProcess';
import { Churn, type ChurnOptions, type ChurnTimes } from './churn';

export type ChurnCommand =
  | { readonly command: 'prepare'; readonly cpu: number }
  | { readonly command: 'open'; readonly capacity: number; readonly options: ChurnOptions }
  | { readonly command: 'run'; readonly connections: number };

const HASH_SEED = 0x5eed1234;
const NOTHING: ChurnTimes = { birth: 0, end: 0 };
let churn: Churn | null = null;

function execute(command: ChurnCommand): ChurnTimes {
  switch (command.command) {
    case 'prepare':
      addon.pinThread(command.cpu);
      tuneEngine();
      warmUp(addon.createPrefetcher);
      return NOTHING;
    case 'open': {
      const { capacity, options } = command;
      const memory = createMemory({
        workers: 1,
        connectionCapacity: capacity,
        hashSeed: HASH_SEED,
        lineOffset,
      });
      churn = new Churn(memory, 0, options, addon.createPrefetcher);
      churn.fill();
      return NOTHING;
    }
    case 'run':
      if (churn === null) throw new Error('no table is open');
      return churn.run(Math.ceil(command.connections / BATCH_FRAMES));
  }
}

answerWith(execute);
