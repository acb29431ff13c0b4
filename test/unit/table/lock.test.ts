/** Locks in one word: taken, given back, given up, broken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { acquire, breakLock, CONTROL_OWNER, release } from '#xvs/table/lock';

const words = (value: number): Int32Array => {
  const array = new Int32Array(new SharedArrayBuffer(8));
  array[1] = value;
  return array;
};
const owner = fc.integer({ min: 1, max: CONTROL_OWNER });
/** What stands above the lock's byte. */
const upper = fc.integer({ min: -0x800000, max: 0x7fffff }).map((bits) => bits << 8);

test('a lock names its owner and leaves the bits above alone', () => {
  fc.assert(
    fc.property(owner, upper, (who, bits) => {
      const array = words(bits);
      assert.ok(acquire(array, 1, who));
      assert.equal(array[1], bits | who);
      release(array, 1, who);
      assert.equal(array[1], bits);
      assert.equal(array[0], 0);
    }),
  );
});

test('bits above may change while the lock is held', () => {
  const array = words(0x100);
  assert.ok(acquire(array, 1, 7));
  Atomics.add(array, 1, 0x300);
  Atomics.sub(array, 1, 0x400);
  release(array, 1, 7);
  assert.equal(array[1], 0);
});

test('who cannot have it gives up and changes nothing', () => {
  const array = words(0x500);
  assert.ok(acquire(array, 1, 3));
  assert.equal(acquire(array, 1, 4), false);
  assert.equal(acquire(array, 1, 3), false, 'not even its owner takes it twice');
  assert.equal(array[1], 0x503);
});

test('only a lock of the dead owner is broken', () => {
  fc.assert(
    fc.property(owner, owner, upper, (holder, dead, bits) => {
      const array = words(bits);
      assert.equal(breakLock(array, 1, dead), false, 'a free lock');
      assert.ok(acquire(array, 1, holder));
      assert.equal(breakLock(array, 1, dead), holder === dead);
      assert.equal(array[1], holder === dead ? bits : bits | holder);
    }),
  );
});
