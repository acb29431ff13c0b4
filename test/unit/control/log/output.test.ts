/** Log lines to pipes, files and sockets that are full, gone, or come back. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LogOutput } from '#xvs/control/log/output';
import { ended, eventually } from '#xvs/lab/process';

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const WAIT_MS = 20_000;
const LINE = `${'x'.repeat(999)}\n`;

describe('log output', () => {
  let folder: string;
  let pipes = 0;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'xvs-log-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** A pipe's two ends; nobody reads but the test. */
  function pipe(): { reader: number; writer: number } {
    const path = join(folder, `pipe${++pipes}`);
    assert.equal(spawnSync('mkfifo', [path]).status, 0);
    const reader = openSync(path, O_RDONLY | O_NONBLOCK);
    return { reader, writer: openSync(path, O_WRONLY | O_NONBLOCK) };
  }

  /** What there is to read now. */
  function drain(reader: number): string {
    const buffer = Buffer.alloc(1 << 16);
    let text = '';
    for (;;) {
      let length = 0;
      try {
        length = readSync(reader, buffer);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
      if (length === 0) return text;
      text += buffer.toString('latin1', 0, length);
    }
  }

  test('a full pipe stops nobody; what waits comes later, in order and whole', async () => {
    const { reader, writer } = pipe();
    const output = new LogOutput(writer);
    const lines = Array.from({ length: 200 }, (_, at) => `${at} ${LINE}`);
    const written = lines.map((line) => output.write(line));
    assert.ok(written[0] && !written.at(-1), 'the pipe became full');
    assert.equal(output.lost, 0);
    let text = '';
    const all = lines.join('');
    const read = (): boolean => {
      text += drain(reader);
      return text.length >= all.length;
    };
    assert.ok(await eventually(read, WAIT_MS), `${text.length} of ${all.length}`);
    assert.equal(text, all);
    closeSync(reader);
    closeSync(writer);
  });

  test('what is kept for a full pipe has a bound; the rest is counted', () => {
    const { reader, writer } = pipe();
    const output = new LogOutput(writer);
    const count = 3000;
    for (let line = 0; line < count; line++) output.write(LINE);
    assert.ok(output.lost > 0);
    let text = '';
    for (let part = drain(reader); part !== ''; part = drain(reader)) {
      text += part;
      output.flush();
    }
    assert.equal(text.length / LINE.length, count - output.lost);
    closeSync(reader);
    closeSync(writer);
  });

  test('without a reader lines are lost and counted, those that waited too', () => {
    const { reader, writer } = pipe();
    const output = new LogOutput(writer);
    let waiting = 0;
    for (let line = 0; line < 100; line++) waiting += output.write(LINE) ? 0 : 1;
    assert.ok(waiting > 0);
    closeSync(reader);
    assert.equal(output.write('more\n'), false);
    assert.equal(output.lost, waiting + 1);
    closeSync(writer);
    output.write('closed\n');
    assert.equal(output.lost, waiting + 2);
  });

  /** Runs a logger in a process of its own, whose stderr is `stderr`'s doing. */
  const script = (count: number) => `
    const { logger, log } = require(${JSON.stringify(require.resolve('#xvs/daemon/log'))});
    for (let i = 0; i < ${count}; i++) log('warn', 'no_route', 'line ' + i + ' ' + 'x'.repeat(999));
    setTimeout(() => {
      console.log(JSON.stringify({ lost: logger.lost, written: logger.written.warn }));
      process.exit(7);
    }, 50);`;

  test('a process whose stderr is a pipe that nobody reads goes on and ends', async () => {
    const child = spawn(process.execPath, ['-e', script(2000)]);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    // Node reads nothing of it: there is no listener.
    child.stderr.pause();
    assert.equal(await ended(child), 7);
    const { lost, written } = JSON.parse(said) as { lost: number; written: number };
    assert.equal(written, 2000);
    assert.ok(lost > 0 && lost < 2000, `${lost}`);
    child.stderr.destroy();
  });

  test('a process whose stderr is gone goes on and ends; one whose stderr is closed, too', () => {
    const shell = (redirection: string): number | null =>
      spawnSync('bash', ['-c', `exec "$0" -e "$1" ${redirection}`, process.execPath, script(10)], {
        stdio: ['ignore', 'ignore', 'inherit'],
      }).status;
    assert.equal(shell('2> >(exec true)'), 7);
    assert.equal(shell('2>&-'), 7);
    assert.equal(shell('2>/dev/full'), 7);
  });

  test('a file gets every line, the last words before the end too', () => {
    const path = join(folder, 'log');
    const done = spawnSync(
      'bash',
      ['-c', `echo before >"$2"; exec "$0" -e "$1" 2>>"$2"`, process.execPath, script(3), path],
      { stdio: 'ignore' },
    );
    assert.equal(done.status, 7);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 4);
    assert.match(lines[3]!, /^\d{4}-\d\d-\d\dT[\d:.]+Z warn event=no_route line 2 x+$/);
  });
});
