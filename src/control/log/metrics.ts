/** Metrics of the log itself: how much it says, and what of it did not get through. */
import type { Registry } from 'prom-client';
import { register } from '../metricsRegister';
import { LEVELS } from './events';
import type { LogCounts } from './logger';

/** Of an exporter in a process that keeps no log: benches, tests. */
export const NO_LOG: LogCounts = {
  written: { error: 0, warn: 0, info: 0, debug: 0 },
  suppressed: 0,
  lost: 0,
};

export function registerLog(registry: Registry, log: LogCounts): void {
  register(
    registry,
    'counter',
    'xvs_log_messages_total',
    'Lines of the log, by level; audit lines are info',
    ['level'],
    () => LEVELS.map((level) => [{ level }, log.written[level]] as const),
  );
  register(
    registry,
    'counter',
    'xvs_log_suppressed_total',
    'Lines held back since the same had just been said several times',
    [],
    () => [[{}, log.suppressed]],
  );
  register(
    registry,
    'counter',
    'xvs_log_lost_total',
    'Lines that were written and that nobody took: stderr is gone or stays full',
    [],
    () => [[{}, log.lost]],
  );
}
