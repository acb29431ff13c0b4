/** `xvs top` on a terminal: asks, draws, and does what keys say, until it is to end. */
import type { Picture } from '../../control/overview/picture';
import { UnreachableError } from '../client';
import { type Frame, makeFrame } from './layout';
import { PictureSource } from './source';
import { Terminal } from './terminal';
import { press, type View } from './view';

export interface LiveOptions {
  readonly socketPath: string;
  readonly view: View;
  /** Pictures until it ends by itself; 0: it does not. */
  readonly count: number;
  readonly colours: boolean;
}

/** Which real servers the view shows. */
function serversOf({ section, service }: View): string {
  return section === 'servers' ? (service ?? 'all') : 'none';
}

function troubleOf(error: unknown): string {
  if (error instanceof UnreachableError) return `xvsd does not answer (${error.errno})`;
  return (error as Error).message;
}

class Live {
  readonly #terminal: Terminal;
  readonly #source: PictureSource;
  readonly #ended: (error: Error | null) => void;
  #view: View;
  #left: number;
  #picture: Picture | null = null;
  #trouble = '';
  #frame: Frame = { lines: [], ids: [], height: 0 };
  #asking = false;
  /** What the picture that is shown, or asked for, has of real servers. */
  #servers = '';
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(options: LiveOptions, ended: (error: Error | null) => void) {
    this.#view = options.view;
    this.#left = options.count === 0 ? Number.POSITIVE_INFINITY : options.count;
    this.#ended = ended;
    this.#source = new PictureSource(options.socketPath);
    this.#terminal = new Terminal(process.stdin, process.stdout, options.colours, {
      onKey: (key) => this.#guard(() => this.#press(key)),
      onResize: () => this.#guard(() => this.#draw()),
      onEnd: () => this.#end(null),
    });
  }

  start(): void {
    this.#terminal.open();
    this.#draw();
    void this.#ask();
  }

  /** A fault of ours must not leave the terminal as it is. */
  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#end(error as Error);
    }
  }

  #end(error: Error | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#source.close();
    this.#terminal.close();
    this.#ended(error);
  }

  #press(key: string): void {
    const after = press(this.#view, key, this.#frame);
    if (after === 'quit') this.#end(null);
    else if (after === 'suspend') this.#terminal.suspend();
    else if (after === 'redraw') this.#terminal.redraw();
    else this.#change(after);
  }

  #change(view: View): void {
    const before = this.#view;
    this.#view = view;
    this.#draw();
    const goesOn = before.paused && !view.paused;
    const isFaster = before.intervalMs !== view.intervalMs;
    if (goesOn || isFaster || serversOf(view) !== this.#servers) void this.#ask();
  }

  #draw(): void {
    if (this.#isOver) return;
    this.#frame = makeFrame(this.#picture, this.#view, this.#terminal.size, this.#trouble);
    this.#terminal.draw(this.#frame.lines);
  }

  async #ask(): Promise<void> {
    if (this.#asking || this.#isOver) return;
    clearTimeout(this.#timer);
    this.#asking = true;
    const began = performance.now();
    this.#servers = serversOf(this.#view);
    try {
      this.#picture = await this.#source.next(this.#servers);
      this.#trouble = '';
    } catch (error) {
      this.#trouble = troubleOf(error);
    }
    this.#asking = false;
    if (this.#isOver) return;
    this.#guard(() => this.#draw());
    if (--this.#left <= 0) this.#end(null);
    else this.#wait(performance.now() - began);
  }

  /** `spentMs`: how much of the interval has gone already. */
  #wait(spentMs: number): void {
    // Asked for something else meanwhile: at once.
    if (serversOf(this.#view) !== this.#servers) void this.#ask();
    else if (!this.#view.paused) {
      const left = Math.max(0, this.#view.intervalMs - spentMs);
      this.#timer = setTimeout(() => void this.#ask(), left);
    }
  }
}

/** Resolves with the exit status once the terminal is given back. */
export function runLive(options: LiveOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const live = new Live(options, (error) => (error === null ? resolve(0) : reject(error)));
    live.start();
  });
}
