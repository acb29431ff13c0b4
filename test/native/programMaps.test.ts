/**
 * Maps of the XDP program, written by thousands of entries at once: all get there, what is refused
 * is said, and a signal that comes while a program is loaded does not keep it from being loaded.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addon, type XdpProgram } from '#xvs/port/addon';
import { thrownBy, word } from './support';

const KEY_BYTES = 24;
/** Some batches and a part of one. */
const COUNT = 10_000;

/** Keys of endpoints from `first` on, one behind the other. */
function keysFrom(first: number, count: number): Uint8Array {
  const keys = new Uint8Array(count * KEY_BYTES);
  const view = new DataView(keys.buffer);
  for (let at = 0; at < count; at++) {
    view.setUint32(at * KEY_BYTES, first + at);
    view.setUint8(at * KEY_BYTES + 19, 4);
  }
  return keys;
}

function valuesOf(count: number, value: number): Uint8Array {
  return new Uint8Array(new Uint32Array(count).fill(value).buffer);
}

describe('maps of the XDP program', () => {
  let program: XdpProgram;
  before(() => {
    program = addon.loadProgram();
  });
  after(() => program.close());

  function held(): Map<number, number> {
    return new Map(
      program.mapEntries('services').map(({ key, value }) => {
        const number = new DataView(key.buffer, key.byteOffset).getUint32(0);
        return [number, new DataView(value.buffer, value.byteOffset).getUint32(0, true)];
      }),
    );
  }

  it('takes many entries at once, and gives them up again', () => {
    program.mapUpdateMany('services', keysFrom(0, COUNT), valuesOf(COUNT, 7));
    program.mapUpdateMany('services', keysFrom(0, 1), word(9));
    const entries = held();
    assert.equal(entries.size, COUNT);
    for (let number = 1; number < COUNT; number++) assert.equal(entries.get(number), 7);
    assert.equal(entries.get(0), 9);
    // Keys that are not there stand among the others.
    program.mapDelete('services', keysFrom(5000, 1));
    program.mapDeleteMany('services', keysFrom(4000, COUNT));
    assert.deepEqual([...held().keys()].sort((left, right) => left - right).slice(-1), [3999]);
    assert.equal(held().size, 4000);
    program.mapDeleteMany('services', keysFrom(0, COUNT));
    assert.equal(held().size, 0);
    program.mapUpdateMany('services', new Uint8Array(0), new Uint8Array(0));
    program.mapDeleteMany('services', new Uint8Array(0));
  });

  it('writes what comes before an entry that is refused, and says why it is', () => {
    const keys = new Uint8Array(new Uint32Array([0, 511, 512, 1]).buffer);
    const rules = new Uint8Array(4 * 192).fill(5);
    const error = thrownBy(() => program.mapUpdateMany('mark_rules_0', keys, rules));
    assert.equal(error.code, 'E2BIG');
    assert.match(error.message, /the map is full, or has no entry of this number/);
    const written = program.mapEntries('mark_rules_0').filter(({ value }) => value[0] === 5);
    assert.deepEqual(
      written.map(({ key }) => new DataView(key.buffer, key.byteOffset).getUint32(0, true)),
      [0, 511],
    );
    for (const [message, call] of [
      [/keys of 25 bytes: must be a multiple of 24/, () => update(25, 4)],
      [/values of 5 bytes: must have 8/, () => update(48, 5)],
      [/map 'verdicts': is written by the kernel/, () => update(4, 8, 'verdicts')],
    ] as const) {
      assert.match(thrownBy(call).message, message);
    }
    function update(keyBytes: number, valueBytes: number, map = 'services'): void {
      program.mapUpdateMany(map, new Uint8Array(keyBytes), new Uint8Array(valueBytes));
    }
  });
});

describe('loading a program', () => {
  it('goes well under a profiler, whose signals come all the time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'xvs-profile-'));
    try {
      const path = require.resolve('#xvs/port/addon');
      const script = `require(${JSON.stringify(path)}).addon.loadProgram().close()`;
      const options = ['--cpu-prof', '--cpu-prof-interval', '200', '--cpu-prof-dir', folder];
      const child = spawn(process.execPath, [...options, '-e', script], {
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: 60_000,
      });
      let said = '';
      child.stderr.on('data', (data: Buffer) => {
        said += data.toString();
      });
      const [status] = await once(child, 'close');
      assert.equal(status, 0, said);
      assert.equal(readdirSync(folder).length, 1, 'it was profiled');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
