/**
 * The README's five-minute tour, typed line by line as it stands there, in a lab that is kept. Each
 * line that the README shows of what is said must be said, in this order; "…" stands for anything.
 * Afterwards nothing is left.
 */
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import { executable } from '#xvs/lab/director';
import { ended, eventually, runCommand } from '#xvs/lab/process';
import { fencedBlocks, ROOT, readDocument } from '../support/document';
import { assertNothingLeft, hostState } from '../support/namespace';
import { whyNoNetwork } from '../support/probe';

const SAID_TIMEOUT_MS = 60_000;
/** What set-up does before it is no part of the tour. */
const LAB = 'npm run lab --';
const STAND_IN = `'${process.execPath}' '${executable('lab')}'`;
const WARNED_STATUS = 3;
const PROMPT = /^(\$|director#) (.*)$/;

interface Step {
  readonly prompt: string;
  readonly command: string;
  readonly shown: string[];
}

function tourSteps(): Step[] {
  const [, tour = ''] = readDocument('README.md').split(/^## Five-minute tour$/m);
  const blocks = fencedBlocks(tour.split(/^## /m)[0]!);
  const steps: Step[] = [];
  for (const line of blocks.flatMap(({ lines }) => lines)) {
    const [, prompt, command] = PROMPT.exec(line) ?? [];
    if (prompt !== undefined) steps.push({ prompt, command: command!, shown: [] });
    else steps.at(-1)!.shown.push(line);
  }
  return steps;
}

/** Does `text` have the lines that are shown, in their order? */
function says(text: string, shown: readonly string[]): boolean {
  const single = (line: string): string => line.trim().replace(/\s+/g, ' ');
  const lines = text.split('\n').map(single);
  let at = 0;
  return shown.every((line) => {
    const parts = single(line)
      .split('…')
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    const pattern = new RegExp(`^${parts.join('.*')}$`);
    const found = lines.findIndex((one, index) => index >= at && pattern.test(one));
    at = found + 1;
    return found >= 0;
  });
}

/** A shell that is typed into. */
class Shell {
  readonly #child: ChildProcessWithoutNullStreams;
  #text = '';
  #lines = 0;

  constructor(command: string) {
    this.#child = spawn('bash', ['-c', command], { cwd: ROOT });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text;
      });
    }
  }

  /** What a line has said, with its exit status. */
  async type(line: string): Promise<{ readonly status: number; readonly text: string }> {
    const end = new RegExp(`^typed ${++this.#lines} (\\d+)$`, 'm');
    this.#text = '';
    this.#child.stdin.write(`${line}\necho "typed ${this.#lines} $?"\n`);
    const done = () => end.test(this.#text) || this.#child.exitCode !== null;
    assert.ok(await eventually(done, SAID_TIMEOUT_MS), `${line}: ${this.#text}`);
    const status = Number(end.exec(this.#text)?.[1] ?? -1);
    return { status, text: this.#text.replace(end, '') };
  }

  leave(line: string): Promise<number> {
    this.#child.stdin.end(`${line}\n`);
    return ended(this.#child);
  }
}

describe('tour', { skip: whyNoNetwork() }, () => {
  const steps = tourSteps();
  let prefix = '';

  /** As it stands, of this lab: others may be there that somebody kept. */
  const typed = (command: string): string => {
    const own = command.replace(LAB, STAND_IN);
    return / --(enter|remove)$/.test(own) ? `${own} ${prefix}` : own;
  };

  async function takeStep(shell: Shell, { command, shown }: Step): Promise<void> {
    let said = await shell.type(command);
    // A doctor who has warnings to give for the machine at hand says so by his status.
    const isGood = said.status === 0 || (command === 'xvs doctor' && said.status === WARNED_STATUS);
    assert.ok(isGood, `${command}: status ${said.status}: ${said.text}`);
    // What the daemon has been told to do, it does a little later.
    const retried = command.startsWith('tail ');
    const fits = async (): Promise<boolean> => {
      if (!says(said.text, shown) && retried) said = await shell.type(command);
      return !retried || says(said.text, shown);
    };
    await eventually(fits, SAID_TIMEOUT_MS);
    assert.ok(says(said.text, shown), `${command}\nshown:\n${shown.join('\n')}\nis:\n${said.text}`);
  }

  test('every line of it says what the README shows, and nothing is left', async () => {
    assert.ok(steps.length >= 22, `${steps.length} commands`);
    const [keep, enter, ...rest] = steps as [Step, Step, ...Step[]];
    const remove = rest.pop()!;
    const leave = rest.pop()!;
    assert.deepEqual(
      [keep, enter, remove].map(({ prompt }) => prompt),
      ['$', '$', '$'],
    );
    assert.ok(rest.every((step) => step.prompt === 'director#'));
    const before = hostState();
    const kept = await runCommand(['bash', '-c', typed(keep.command)]);
    prefix = /--remove (xvs-\d+)$/m.exec(kept.stdout)?.[1] ?? '';
    try {
      assert.equal(kept.status, 0, kept.stdout + kept.stderr);
      assert.ok(says(kept.stdout, keep.shown), kept.stdout);
      const shell = new Shell(typed(enter.command));
      for (const step of rest) await takeStep(shell, step);
      assert.equal(await shell.leave(leave.command), 0);
    } finally {
      const removed = await runCommand(['bash', '-c', typed(remove.command)]);
      assert.equal(removed.status, 0, removed.stderr);
      assert.ok(says(removed.stdout, remove.shown), removed.stdout);
    }
    await assertNothingLeft(before);
  });
});
