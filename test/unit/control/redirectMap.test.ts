/** The control plane's side of a map: whatever is wanted, the kernel's map becomes that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RedirectMap } from '#xvs/control/redirectMap';

const KEY_BYTES = 24;

/** A kernel's map that can run out of memory. */
class Kernel {
  readonly entries = new Map<string, number>();
  updates = 0;
  /** Entries that are written before one is refused. */
  left = Number.POSITIVE_INFINITY;

  mapUpdateMany(map: string, keys: Uint8Array, values: Uint8Array): void {
    assert.equal(map, 'services');
    assert.equal(keys.length / KEY_BYTES, values.length / 4);
    const view = new DataView(values.buffer, values.byteOffset, values.length);
    for (let at = 0; at * KEY_BYTES < keys.length; at++) {
      if (this.left-- <= 0) throw new Error('E2BIG');
      this.entries.set(idOf(keys, at), view.getUint32(at * 4, true));
      this.updates++;
    }
  }
  mapDeleteMany(_map: string, keys: Uint8Array): void {
    for (let at = 0; at * KEY_BYTES < keys.length; at++) {
      assert.ok(this.entries.delete(idOf(keys, at)), 'there is no such');
    }
  }
  sorted(): [string, number][] {
    return [...this.entries].sort();
  }
}

/** Repeats a map from what it is told. */
class Follower {
  readonly told = new Map<string, number>();
  committed: ReadonlyMap<string, number> = new Map();
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  change(words: Int32Array, at: number, before: number, after: number): void {
    const id = Buffer.from(words.buffer, at * 4, KEY_BYTES).toString('hex');
    assert.equal(this.told.get(id) ?? 0, before);
    if (after === 0) this.told.delete(id);
    else this.told.set(id, after);
  }

  /** Additions first, then what is gone; when the kernel has refused something, too. */
  commit(): void {
    for (const id of this.told.keys()) assert.ok(this.#kernel.entries.has(id));
    this.committed = new Map(this.told);
  }
}

function idOf(keys: Uint8Array, at: number): string {
  return Buffer.from(keys.subarray(at * KEY_BYTES, (at + 1) * KEY_BYTES)).toString('hex');
}

function fill(map: RedirectMap, number: number): string {
  map.key.setUint32(0, number);
  map.key.setUint8(19, 4);
  return Buffer.from(map.key.buffer).toString('hex');
}

interface Round {
  /** All there is to be, or what is added. */
  readonly isWhole: boolean;
  readonly wanted: readonly (readonly [number: number, bits: number])[];
  /** The kernel refuses what comes after so many entries. */
  readonly refusedAfter: number | null;
}

const rounds = fc.array(
  fc.record({
    isWhole: fc.boolean(),
    wanted: fc.array(fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 7 })), {
      maxLength: 200,
    }),
    refusedAfter: fc.option(fc.nat({ max: 100 }), { freq: 4 }),
  }),
  { maxLength: 12 },
);

function play(map: RedirectMap, kernel: Kernel, model: Map<string, number>, round: Round): void {
  if (round.isWhole) {
    map.begin();
    model.clear();
  }
  for (const [number, bits] of round.wanted) {
    const id = fill(map, number);
    map.want(bits);
    model.set(id, (model.get(id) ?? 0) | bits);
  }
  if (round.refusedAfter !== null) {
    kernel.left = round.refusedAfter;
    try {
      map.commit();
    } catch (error) {
      assert.equal((error as Error).message, 'E2BIG');
    }
    kernel.left = Number.POSITIVE_INFINITY;
  }
  map.commit();
}

test('the kernel gets what is wanted, however it comes, and after it has refused some', () => {
  const property = fc.property(rounds, (all) => {
    const kernel = new Kernel();
    const follower = new Follower(kernel);
    const map = new RedirectMap(kernel, 'services', KEY_BYTES, follower);
    const model = new Map<string, number>();
    for (const round of all) {
      play(map, kernel, model, round);
      assert.deepEqual([...follower.committed].sort(), [...model].sort());
      assert.deepEqual(kernel.sorted(), [...model].sort());
      assert.equal(map.size, model.size);
    }
  });
  fc.assert(property, { numRuns: 200 });
});

test('what stays is not written again, among a hundred thousand', () => {
  const kernel = new Kernel();
  const map = new RedirectMap(kernel, 'services', KEY_BYTES);
  const all = (count: number): void => {
    map.begin();
    for (let number = 0; number < count; number++) {
      fill(map, number);
      map.want(1);
    }
    map.commit();
  };
  all(100_000);
  assert.equal(kernel.updates, 100_000);
  all(100_001);
  assert.equal(kernel.updates, 100_001);
  all(3);
  assert.equal(kernel.updates, 100_001);
  assert.equal(kernel.entries.size, 3);
});
