/**
 * Workers that end with everything open: a thousand of them leave no file, mapping or BPF object
 * behind. A third returns, a third is terminated while it spins, a third while it waits in poll().
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { addon } from '#xvs/port/addon';
import { Lab } from './support';

const WORKERS = 1000;
const AT_ONCE = 4;
/** Every so many workers also load the XDP program, and open sockets on the veth pair. */
const HEAVY_EVERY = 10;
const ENDINGS = ['return', 'spin', 'poll'] as const;

interface Left {
  readonly files: number;
  readonly xskMappings: number;
  readonly threads: number;
  /** Of the BPF objects that this process ever had open, how many are there. */
  readonly programs: number;
  readonly maps: number;
}

const seen = { prog: new Set<number>(), map: new Set<number>() };

/** Notes the BPF objects that this process holds now, by their kernel ids. */
function noteBpfObjects(): void {
  for (const name of readdirSync('/proc/self/fdinfo')) {
    let text = '';
    try {
      text = readFileSync(`/proc/self/fdinfo/${name}`, 'utf8');
    } catch {
      continue; // closed meanwhile
    }
    for (const kind of ['prog', 'map'] as const) {
      const id = new RegExp(`^${kind}_id:\\s*(\\d+)`, 'm').exec(text)?.[1];
      if (id !== undefined) seen[kind].add(Number(id));
    }
  }
}

function bpfCount(kind: 'prog' | 'map'): number {
  const text = execFileSync('bpftool', ['-j', kind, 'show'], { encoding: 'utf8' });
  return JSON.parse(text).filter((each: { id: number }) => seen[kind].has(each.id)).length;
}

function look(): Left {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    files: readdirSync('/proc/self/fd').length,
    // Ring mappings are mappings of the socket's file.
    xskMappings: maps.filter((line) => line.includes('socket:')).length,
    programs: bpfCount('prog'),
    maps: bpfCount('map'),
    threads: readdirSync('/proc/self/task').length,
  };
}

/** Programs and maps are freed some time after their last file is closed. */
async function settled(expected: Left): Promise<Left> {
  const deadline = Date.now() + 5000;
  let found = look();
  while (JSON.stringify(found) !== JSON.stringify(expected) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    found = look();
  }
  return found;
}

async function oneWorker(index: number): Promise<void> {
  const ending = ENDINGS[index % ENDINGS.length]!;
  const heavy = index % HEAVY_EVERY === 0;
  // One side of the pair for each lane, so that two heavy workers do not want the same queue.
  const interfaceName = heavy && index % AT_ONCE === 0 ? 'xvsnk0' : '';
  const worker = new Worker(`${__dirname}/leakWorker.js`, {
    workerData: { ending, interfaceName, heavy },
  });
  const exited = once(worker, 'exit');
  const [{ eventFd, open }] = await once(worker, 'message');
  if (heavy) noteBpfObjects();
  assert.equal(open.umems, 1);
  assert.equal(open.sockets, interfaceName === '' ? 0 : 1);
  assert.equal(open.programs, heavy ? 1 : 0);
  if (ending === 'spin') await worker.terminate();
  if (ending === 'poll') {
    const terminated = worker.terminate();
    addon.signalEvent(eventFd);
    await terminated;
  }
  await exited;
}

async function runWorkers(count: number): Promise<void> {
  const lanes = Array.from({ length: AT_ONCE }, async (_, lane) => {
    for (let index = lane; index < count; index += AT_ONCE) await oneWorker(index);
  });
  await Promise.all(lanes);
}

describe('a thousand workers', { timeout: 170_000 }, () => {
  const lab = new Lab();
  before(() => lab.pair('xvsnk0', 'xvsnk1'));
  after(() => lab.remove());

  it('leave nothing behind', async (context) => {
    await runWorkers(24);
    // The kernel may still be freeing what these had.
    const before = await settled({ ...look(), programs: 0, maps: 0 });
    const started = Date.now();
    await runWorkers(WORKERS);
    const left = await settled(before);
    context.diagnostic(`${WORKERS} workers in ${Date.now() - started} ms`);
    assert.deepEqual(left, before);
    assert.equal(left.programs, 0);
    assert.ok(seen.prog.size > WORKERS / HEAVY_EVERY / 3, `${seen.prog.size} programs were seen`);
    assert.ok(seen.map.size > seen.prog.size);
    const open = Object.values(addon.openHandles()).reduce((sum, count) => sum + count, 0);
    assert.equal(open, 0);
  });

  it('and what is only forgotten is closed by garbage collection', async () => {
    const text = execFileSync(
      process.execPath,
      ['--expose-gc', `${__dirname}/forgetScript.js`, 'xvsnk1'],
      { encoding: 'utf8' },
    );
    const { held, left } = JSON.parse(text);
    assert.ok(held >= 40, `${held} handles`);
    assert.equal(left, 0);
  });
});
