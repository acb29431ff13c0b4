/** Functions that are compiled for one object: they do what the method does, and are compiled. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { joinPlainly, Specializer } from '#xvs/worker/specialize';

/** V8's runtime.h, OptimizationStatus: by TurboFan. */
const OPTIMIZED = 1 << 6;

class Account {
  readonly cents: Int32Array;
  payments = 0;

  constructor(places: number) {
    this.cents = new Int32Array(places);
  }

  /** An amount of 0 is none. */
  pay(place: number, amount: number): number {
    if (amount === 0) return 0;
    this.payments++;
    this.cents[place]! += amount;
    return this.cents[place]!;
  }
}

function isOptimized(call: unknown): boolean {
  setFlagsFromString('--allow-natives-syntax');
  const status = runInThisContext('((f) => %GetOptimizationStatus(f))') as (of: unknown) => number;
  return (status(call) & OPTIMIZED) !== 0;
}

test('a function made of a method does what the method does', () => {
  for (const join of [joinPlainly, new Specializer().join]) {
    const account = new Account(4);
    const pay = join(account, 'pay', 0, 0);
    assert.equal(pay(2, 5), 5);
    assert.equal(pay(2, 6), 11);
    assert.deepEqual([...account.cents], [0, 0, 11, 0]);
  }
});

test('two of one class are compiled, each for its object, and nothing is done meanwhile', () => {
  const specializer = new Specializer();
  const accounts = [new Account(4), new Account(9)];
  const calls = accounts.map((account) => specializer.join(account, 'pay', 0, 0));
  assert.deepEqual(calls.map(isOptimized), [false, false]);
  assert.deepEqual(specializer.compile(), []);
  assert.deepEqual(calls.map(isOptimized), [true, true]);
  assert.deepEqual(
    accounts.map(({ payments }) => payments),
    [0, 0],
  );
  calls[0]!(1, 7);
  calls[1]!(8, 9);
  assert.deepEqual([...accounts[0]!.cents], [0, 7, 0, 0]);
  assert.equal(accounts[1]!.cents[8], 9);
});

test('what V8 does not compile is named, and works', () => {
  const specializer = new Specializer();
  const pay = specializer.join(new Account(4), 'pay', 0, 0);
  setFlagsFromString('--turbo-filter=nothing');
  try {
    assert.match(specializer.compile().join(), /^pay \d+$/);
  } finally {
    setFlagsFromString('--turbo-filter=*');
  }
  assert.equal(isOptimized(pay), false);
  assert.equal(pay(1, 2), 2);
});
