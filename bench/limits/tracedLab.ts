/**
 * The lab of the wire bench, in which xvsd tells of its garbage collections (V8's --trace-gc). A
 * line begins with the isolate's address; the worker's isolate is the one that collected on demand,
 * as it does once before it serves (src/worker/warmUp.ts).
 */
import type { Child } from '../support/child';
import { WireLab } from '../wire/lab';

const LINE = /^\[\d+:(0x[0-9a-f]+)\].*?(\S+) \/ \S+ ms /;
const ON_DEMAND = 'testing';

export class TracedLab extends WireLab {
  #director: Child | null = null;
  #worker = '';

  override spawn(...[end, cpu, name, command]: Parameters<WireLab['spawn']>): Child {
    if (name !== 'xvsd') return super.spawn(end, cpu, name, command);
    const [node = '', ...words] = command;
    const traced = ['stdbuf', '-oL', node, '--trace-gc', ...words];
    this.#director = super.spawn(end, cpu, name, traced);
    return this.#director;
  }

  /** Seconds that the worker spent on collections since this was last asked. */
  async takeCollections(): Promise<number> {
    let milliseconds = 0;
    for (const line of await this.#lines()) {
      const [, isolate = '', length = '0'] = LINE.exec(line) ?? [];
      if (line.includes(ON_DEMAND)) this.#worker = isolate;
      else if (isolate !== '' && isolate === this.#worker) milliseconds += Number(length);
    }
    if (this.#worker === '') throw new Error('the trace does not say which isolate is the worker');
    return milliseconds / 1000;
  }

  async #lines(): Promise<string[]> {
    const lines: string[] = [];
    const child = this.#director;
    if (child === null) throw new Error('xvsd was not started in this lab');
    for (;;) {
      const line = await child.line(1).catch(() => null);
      if (line === null) return lines;
      lines.push(line);
    }
  }
}
