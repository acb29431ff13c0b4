/**
 * Keeps the XDP program's maps with the director, one change after the other: additions at once,
 * removals together with others that come soon after, so that ten thousand commands in a row cost
 * ten thousand steps and not ten thousand times the whole table.
 */
import type { Director } from './director';
import type { Command } from './protocol';
import type { Redirect } from './redirect';

const DELAY_MS = 100;
/** Updates of the whole take at most a part of the main thread's time. */
const PAUSE_FACTOR = 4;

export class RedirectFollower {
  readonly #redirect: Redirect;
  #timer: NodeJS.Timeout | undefined;
  #delayMs = DELAY_MS;

  constructor(redirect: Redirect) {
    this.#redirect = redirect;
  }

  /** `command`: what was done; null: anything may be different. */
  changed(director: Director, command: Command | null): void {
    if (command === null) this.update(director);
    else if (this.#redirect.follow(director, command)) {
      this.#timer ??= setTimeout(() => this.update(director), this.#delayMs);
    }
  }

  /** Everything as it is now. */
  update(director: Director): void {
    this.close();
    const began = performance.now();
    this.#redirect.updateServices(director);
    this.#delayMs = Math.max(DELAY_MS, (performance.now() - began) * PAUSE_FACTOR);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
