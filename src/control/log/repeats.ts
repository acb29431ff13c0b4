/**
 * The bound on lines that say the same again and again: so many of them in a while are let through,
 * the others counted, and told of once at its end.
 */

const ALLOWED = 5;
const WINDOW_MS = 10_000;
const KEYS_MAX = 1024;

interface Window {
  readonly began: number;
  count: number;
  /** Set while something is held back. */
  timer: NodeJS.Timeout | undefined;
  tell: () => void;
}

export class Repeats {
  /** How many were held back. */
  suppressed = 0;
  readonly windowMs: number;
  readonly #now: () => number;
  readonly #windows = new Map<string, Window>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(windowMs = WINDOW_MS, now: () => number = () => performance.now()) {
    this.windowMs = windowMs;
    this.#now = now;
  }

  /** False: hold it back. `tell` gets how many were, when the while is over. */
  allows(key: string, tell: (held: number) => void): boolean {
    const now = this.#now();
    let window = this.#windows.get(key);
    if (window === undefined || (window.timer === undefined && this.#isOver(window, now))) {
      if (this.#windows.size >= KEYS_MAX) this.#forget(now);
      window = { began: now, count: 0, timer: undefined, tell: () => undefined };
      this.#windows.set(key, window);
    }
    window.count++;
    if (window.count <= ALLOWED) return true;
    this.suppressed++;
    window.timer ??= this.#hold(key, window, tell, now);
    return false;
  }

  /** Tells what is held back now. */
  flush(): void {
    for (const window of [...this.#windows.values()]) {
      if (window.timer !== undefined) window.tell();
    }
  }

  #hold(key: string, window: Window, tell: (held: number) => void, now: number): NodeJS.Timeout {
    window.tell = () => {
      clearTimeout(window.timer);
      this.#windows.delete(key);
      tell(window.count - ALLOWED);
    };
    return setTimeout(window.tell, window.began + this.windowMs - now).unref();
  }

  #isOver({ began }: Window, now: number): boolean {
    return now - began >= this.windowMs;
  }

  /** Windows that are over; when all are open, the oldest one that holds nothing back, or is. */
  #forget(now: number): void {
    for (const [key, window] of this.#windows) {
      if (window.timer === undefined && this.#isOver(window, now)) this.#windows.delete(key);
    }
    if (this.#windows.size < KEYS_MAX) return;
    const [oldest] = this.#windows;
    if (oldest === undefined) return;
    if (oldest[1].timer === undefined) this.#windows.delete(oldest[0]);
    else oldest[1].tell();
  }
}
