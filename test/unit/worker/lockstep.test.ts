/** Threads in lockstep: none goes on before all have come, however often. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Lockstep } from '#xvs/worker/lockstep';

const MEMBERS = 3;
const MEETINGS = 500;

interface Walk {
  readonly lockstep: SharedArrayBuffer;
  /** Of each meeting: how many have come; and at the end, how often somebody was missing. */
  readonly counts: SharedArrayBuffer;
}

function walk({ lockstep, counts }: Walk): void {
  const others = new Lockstep(lockstep);
  const words = new Int32Array(counts);
  for (let meeting = 0; meeting < MEETINGS; meeting++) {
    Atomics.add(words, meeting, 1);
    others.meet();
    if (Atomics.load(words, meeting) !== MEMBERS) Atomics.add(words, MEETINGS, 1);
  }
}

if (!isMainThread) walk(workerData as Walk);
else {
  test('none goes on before all have come', async () => {
    const lockstep = Lockstep.memory(MEMBERS);
    const counts = new SharedArrayBuffer((MEETINGS + 1) * 4);
    const ends = Array.from({ length: MEMBERS }, () => {
      const thread = new Worker(__filename, { workerData: { lockstep, counts } satisfies Walk });
      return new Promise((resolve, reject) => thread.once('exit', resolve).once('error', reject));
    });
    await Promise.all(ends);
    const words = [...new Int32Array(counts)];
    assert.deepEqual(words.slice(0, MEETINGS), Array(MEETINGS).fill(MEMBERS));
    assert.equal(words[MEETINGS], 0, 'somebody went on alone');
  });

  test('one alone does not wait', () => {
    const alone = new Lockstep(Lockstep.memory(1));
    for (let meeting = 0; meeting < MEETINGS; meeting++) alone.meet();
  });
}
