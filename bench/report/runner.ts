/**
 * The benches one after another, each a process of its own in a process group of its own, so that
 * an interrupt ends the running one and nothing else. What a bench says goes to our stderr and to a
 * file; its table to another.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { formatDuration } from './html';
import { PLAN, wordsOf } from './plan';
import { type Ran, reportFile, type State } from './saved';

const RUN = join(__dirname, '..', 'run.js');
/** From an interrupt to the end by force: a lab has to be taken down. */
const END_MS = 30_000;
const LINES_KEPT = 12;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

export class Runner {
  isInterrupted = false;
  #child: ChildProcess | null = null;
  #killer: NodeJS.Timeout | null = null;

  /** Ends the running bench; those that are left do not run. A second time: by force. */
  interrupt(): void {
    const signal = this.isInterrupted ? 'SIGKILL' : 'SIGINT';
    this.isInterrupted = true;
    this.#signal(signal);
    this.#killer ??= setTimeout(() => this.#signal('SIGKILL'), END_MS);
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It has ended already.
    }
  }

  async runAll(names: readonly string[], folder: string, isQuick: boolean): Promise<Ran[]> {
    const ran: Ran[] = [];
    for (const [place, name] of names.entries()) {
      const words = [...wordsOf(name, isQuick)];
      if (this.isInterrupted) {
        ran.push({ name, words, state: 'not run', seconds: 0, said: '' });
        continue;
      }
      const left = names.slice(place).reduce((sum, each) => sum + PLAN[each]!.minutes, 0);
      const wait = isQuick ? '' : `, about ${formatDuration(left * 60)} left`;
      say(`bench ${name} (${place + 1} of ${names.length}${wait})`);
      const one = await this.#run(name, words, folder);
      say(`bench ${name}: ${one.state} in ${formatDuration(one.seconds)}`);
      ran.push(one);
    }
    if (this.#killer !== null) clearTimeout(this.#killer);
    return ran;
  }

  async #run(name: string, words: string[], folder: string): Promise<Ran> {
    const json = reportFile(folder, name);
    rmSync(json, { force: true });
    const table = openSync(join(folder, `${name}.txt`), 'w');
    const log = openSync(join(folder, `${name}.log`), 'w');
    const began = performance.now();
    try {
      const command = [process.execPath, RUN, name, '--json', json, ...words];
      const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...command], {
        stdio: ['ignore', table, 'pipe'],
        detached: true,
      });
      this.#child = child;
      const { status, said } = await listen(child, log);
      const state = this.#stateOf(status, json);
      const seconds = (performance.now() - began) / 1000;
      return { name, words, state, seconds, said: state === 'measured' ? '' : said };
    } finally {
      this.#child = null;
      for (const file of [table, log]) closeSync(file);
    }
  }

  #stateOf(status: number | null, json: string): State {
    if (status === 0) return 'measured';
    if (this.isInterrupted) return 'interrupted';
    return existsSync(json) ? 'incomplete' : 'failed';
  }
}

/** Returns its status, null when a signal ended it, and its last lines. */
function listen(
  child: ChildProcess,
  log: number,
): Promise<{ readonly status: number | null; readonly said: string }> {
  const lines: string[] = [];
  let rest = '';
  const take = (line: string) => {
    say(`  ${line}`);
    lines.push(line);
    if (lines.length > LINES_KEPT) lines.shift();
  };
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    writeSync(log, text);
    const parts = (rest + text).split('\n');
    rest = parts.pop()!;
    for (const line of parts) take(line);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      if (rest !== '') take(rest);
      resolve({ status, said: lines.join('\n') });
    });
  });
}
