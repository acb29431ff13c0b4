/**
 * The promise of the worker's loop: once it runs, nothing is collected and nothing falls back to
 * slower code. Judged from V8's own traces of a child process.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const CHILD = join(__dirname, '..', 'support', 'steadyTraffic.js');
const STEADY_MS = 10_000;
/** A fault shows at once. */
const FAULT_MS = 1000;
const TIMEOUT_MS = 120_000;

interface Outcome {
  /** Trace lines between the marks. */
  readonly traces: readonly string[];
  readonly counted: Readonly<Record<string, number>>;
}

/** V8 prints through C's stdout, Node past it: by the line, both come in the order of making. */
async function runChild(milliseconds: number, fault: string): Promise<Outcome> {
  const words = ['--trace-gc', '--trace-deopt', CHILD, String(milliseconds), fault];
  const child = spawn('stdbuf', ['-oL', process.execPath, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: TIMEOUT_MS,
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const status = await new Promise((resolve, reject) => {
    child.on('close', resolve);
    child.on('error', reject);
  });
  assert.equal(status, 0, text.slice(-2000));
  const lines = text.split('\n');
  const begin = lines.indexOf('steady state begins');
  const end = lines.indexOf('steady state ends');
  assert.ok(begin >= 0 && end > begin, 'both marks were printed');
  const traces = lines.slice(begin + 1, end).filter((line) => line !== '');
  return { traces, counted: JSON.parse(lines[end + 1]!) };
}

test('ten seconds of all kinds of traffic: no garbage collection, no deoptimisation', async () => {
  const { traces, counted } = await runChild(STEADY_MS, '');
  assert.deepEqual(traces, []);
  for (const [what, count] of Object.entries(counted)) {
    assert.ok(count > 1000, `${what}: ${count}, which is too few to mean anything`);
  }
});

test('an allocation for each frame is noticed', async () => {
  const { traces } = await runChild(FAULT_MS, 'allocation');
  assert.ok(
    traces.some((line) => /Scavenge|Mark-Compact/.test(line)),
    traces.join('\n'),
  );
});

test('a change of types is noticed', async () => {
  const { traces } = await runChild(FAULT_MS, 'deoptimisation');
  assert.ok(
    traces.some((line) => /bailout|deoptimiz/.test(line)),
    traces.join('\n'),
  );
});
