/** The clock that is read where no burst does it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addon } from '#xvs/port/addon';

test('a clock writes three units of one moment, and only while it is open', () => {
  const words = new Int32Array(4).fill(-1);
  const clock = addon.createClock(words);
  const before = process.hrtime.bigint();
  clock.read();
  const after = process.hrtime.bigint();
  const [, , nanoseconds = 0, transmit] = words;
  const since = BigInt.asIntN(32, BigInt(nanoseconds) - before);
  assert.ok(since >= 0n && since <= after - before);
  const moment = before + since;
  assert.equal(words[0], Number(BigInt.asIntN(32, moment / 100_000_000n)));
  assert.equal(words[1], Number(BigInt.asIntN(32, moment / 1000n)));
  assert.equal(transmit, -1);
  clock.close();
  assert.throws(() => clock.read(), /read/);
});

test('what is no clock is refused by name', () => {
  const create = addon.createClock;
  assert.throws(() => create(new Int32Array(3)), /words: .* at least 4 elements/);
  assert.throws(() => create(new Float64Array(4) as unknown as Int32Array), /words: .*Int32Array/);
});
