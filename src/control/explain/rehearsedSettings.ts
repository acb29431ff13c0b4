/**
 * The settings of a rehearsal. What the pipeline asks of them tells when it decides: the timeouts,
 * that a connection comes into a state; drop_packet's rate, that a packet may begin a connection.
 */
import { Settings, TICKS_PER_SECOND } from '../../table/setting';
import { STATE_NAMES } from '../../table/state';
import type { Journal } from './journal';
import type { RehearsedConnections } from './rehearsedConnections';

export class RehearsedSettings extends Settings {
  /** As the live ones; each look at one is a state that the connection comes into, or stays in. */
  override readonly timeouts: Int32Array;
  readonly #connections: RehearsedConnections;
  readonly #journal: Journal;
  #state: string | null = null;

  constructor(live: SharedArrayBuffer, connections: RehearsedConnections, journal: Journal) {
    super(live);
    this.#connections = connections;
    this.#journal = journal;
    const own = new Settings(live).timeouts;
    this.timeouts = new Proxy(own, {
      get: (target, state) => {
        const ticks = Reflect.get(target, state) as number;
        if (typeof state === 'string') this.#reportState(Number(state), ticks);
        return ticks;
      },
    });
  }

  #reportState(state: number, ticks: number): void {
    const before = this.#state ?? this.#connections.stateBefore;
    const after = STATE_NAMES[state]!;
    // A new connection comes into its state, then its first packet is counted as any other.
    if (this.#state === after) return;
    this.#state = after;
    const change = before === after ? `stays ${after}` : `${before} becomes ${after}`;
    const table = super.secureTcp === 0 ? '' : ", by secure_tcp's transitions";
    this.#journal.say(
      'state',
      `${before === null ? `begins as ${after}` : change}${table}, ends without packets in ` +
        `${ticks / TICKS_PER_SECOND} s`,
    );
  }

  /**
   * Which packets drop_packet drops is the worker's to know: what becomes of the others is shown,
   * unless it drops all of them.
   */
  override get dropRate(): number {
    const rate = super.dropRate;
    if (rate === 0) return 0;
    const which = rate === 1 ? 'each' : `one of ${rate}, this shows what becomes of the others`;
    this.#journal.say('defense', `drop_packet drops ${which}`);
    return rate === 1 ? 1 : 0;
  }
}
