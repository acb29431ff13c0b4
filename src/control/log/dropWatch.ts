/**
 * Drops that an operator has to know of: said once they begin, and again each minute that they go
 * on, with how many there were. Read from the workers' counters; what each reason is counts there.
 */
import { DROP, type DropReason } from '../../table/counter';
import { DROP_MEANINGS } from '../reasons';
import type { EventName, Log } from './events';

const PAUSE_MS = 60_000;

const WATCHED: Readonly<Partial<Record<DropReason, EventName>>> = {
  table_full: 'table_full',
  local_ports_exhausted: 'local_ports_exhausted',
  no_real_server: 'no_real_server',
  no_route: 'no_route',
  neighbour_unresolved: 'neighbour_unresolved',
  neighbour_queue_full: 'neighbour_unresolved',
};

interface Watched {
  readonly reason: DropReason;
  readonly event: EventName;
  told: number;
  toldAtMs: number;
}

export class DropWatch {
  readonly #counters: readonly Float64Array[];
  readonly #log: Log;
  readonly #watched: readonly Watched[];

  /** `counters`: a block for each worker. */
  constructor(counters: readonly Float64Array[], log: Log) {
    this.#counters = counters;
    this.#log = log;
    this.#watched = Object.entries(WATCHED).map(([reason, event]) => ({
      reason: reason as DropReason,
      event,
      told: 0,
      toldAtMs: Number.NEGATIVE_INFINITY,
    }));
  }

  /** To be called every few seconds. `nowMs`: of a clock that never goes back. */
  look(nowMs: number): void {
    for (const watched of this.#watched) {
      const { reason, event, told, toldAtMs } = watched;
      const total = this.#counters.reduce((sum, block) => sum + block[DROP[reason]]!, 0);
      const packets = total - told;
      if (packets === 0 || nowMs - toldAtMs < PAUSE_MS) continue;
      watched.told = total;
      watched.toldAtMs = nowMs;
      const message = `${packets} packets dropped, ${reason}: ${DROP_MEANINGS[reason]}`;
      this.#log('warn', event, message, { reason, packets });
    }
  }
}
