/** Starts nextHopAgent.ts inside a namespace and asks it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Namespace } from '#xvs/lab/namespace';
import type { Answer, Question } from './nextHopAgent';

/** What is mirrored within milliseconds on a quiet machine gets this long on a busy one. */
const WITHIN_MS = 4000;

export class Agent {
  readonly process: ChildProcess;
  stderr = '';
  private readonly lines: AsyncIterator<string>;

  constructor(namespace: Namespace, interfaces: readonly string[]) {
    const script = join(__dirname, 'nextHopAgent.js');
    const [file, ...words] = namespace.inside([process.execPath, script, ...interfaces]);
    this.process = spawn(file!, words, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  async answer(): Promise<Answer> {
    const { value, done } = await this.lines.next();
    assert.ok(done !== true, `the agent ended: ${this.stderr}`);
    return JSON.parse(value) as Answer;
  }

  ask(question: Question): Promise<Answer> {
    this.process.stdin!.write(`${JSON.stringify(question)}\n`);
    return this.answer();
  }

  resolve(address: string): Promise<Answer> {
    return this.ask({ ask: 'resolve', address });
  }

  /** Asks until the answer fits; fails with the last answer. */
  async until(
    question: Question,
    fits: (answer: Answer) => boolean,
    withinMs = WITHIN_MS,
  ): Promise<Answer> {
    const end = performance.now() + withinMs;
    for (;;) {
      const answer = await this.ask(question);
      if (fits(answer)) return answer;
      assert.ok(performance.now() < end, `not within ${withinMs} ms: ${JSON.stringify(answer)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  untilHop(address: string, fits: (hop: number) => boolean, withinMs?: number): Promise<Answer> {
    const question: Question = { ask: 'resolve', address };
    return this.until(question, ({ hop }) => fits(hop), withinMs);
  }
}
