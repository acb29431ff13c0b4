/** Says when a defense begins or ends by itself: its sysctl goes from 1 to 2, or back. */
import type { Director } from '../director';
import { DEFENSES } from '../sysctl';
import type { Log } from './events';

const HOLDS = 2;

export class DefenseWatch {
  readonly #director: Pick<Director, 'sysctls' | 'tables'>;
  readonly #log: Log;
  readonly #held = new Set<string>();

  constructor(director: Pick<Director, 'sysctls' | 'tables'>, log: Log) {
    this.#director = director;
    this.#log = log;
  }

  /** To be called every second, after the defense. */
  look(): void {
    const { sysctls, tables } = this.#director;
    for (const name of DEFENSES) {
      const holds = sysctls.value(name) === HOLDS;
      if (holds === this.#held.has(name)) continue;
      const free = tables.connections.freeCount;
      const threshold = sysctls.value('amemthresh');
      const message = `${name}: ${free} connections are free, amemthresh is ${threshold}`;
      const fields = { sysctl: name, free, amemthresh: threshold };
      if (holds) {
        this.#held.add(name);
        this.#log('warn', 'defense_on', message, fields);
      } else {
        this.#held.delete(name);
        this.#log('info', 'defense_off', message, fields);
      }
    }
  }
}
