/** The table of fragmented packets: what is found, for how long, and what gives way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  ADDRESS_WORDS4,
  ADDRESS_WORDS6,
  FATE_DROPPED,
  FATE_FROM_CLIENT,
  FATE_FROM_SERVER,
  FATE_HOST,
  FATE_UNKNOWN,
  FRAGMENT_RECORDS,
  FRAGMENT_TICKS,
  FragmentTable,
  NOT_NOTED,
  NOTED,
  NOTED_BY_FORCE,
} from '#xvs/table/fragment';
import { acquire } from '#xvs/table/lock';

const SEED = 0x1234567;
const UDP4 = (4 << 8) | 17;
const TCP4 = (4 << 8) | 6;
const IPV6 = 6 << 8;
const OWNER = 1;
const FIRST_BYTES = 1480;
/** Records of one bucket. */
const EACH = 8;
/** Words in front of the locks. */
const FIRST_LOCK = 16;

interface Key {
  readonly kind: number;
  readonly id: number;
  /** Two words or eight. */
  readonly addresses: readonly number[];
}
const KEY: Key = { kind: UDP4, id: 7, addresses: [0x0a000164, 0xc6336401 | 0] };

function select(table: FragmentTable, { kind, id, addresses }: Key): number {
  const view = new DataView(new ArrayBuffer(64));
  for (const [at, word] of addresses.entries()) view.setInt32(12 + at * 4, word);
  return table.select(kind, id, view, 12, addresses.length);
}
function create(): { table: FragmentTable; buffer: SharedArrayBuffer } {
  const buffer = FragmentTable.buffer();
  return { table: new FragmentTable(buffer, SEED), buffer };
}
function found(table: FragmentTable, key: Key, tick: number): number[] {
  select(table, key);
  const fate = table.find(tick);
  return fate === FATE_UNKNOWN ? [] : [fate, table.entry, table.identity];
}
function note(table: FragmentTable, key: Key, values: number[], tick: number): number {
  select(table, key);
  return table.note(values[0]!, values[1]!, values[2]!, FIRST_BYTES, tick, OWNER);
}

/** Keys that share one bucket, found by trying ids. */
function crowd(table: FragmentTable, count: number): Key[] {
  const bucket = select(table, KEY) % (FRAGMENT_RECORDS / EACH);
  const keys: Key[] = [];
  for (let id = 0; keys.length < count; id++) {
    assert.ok(id < 0x10000, 'enough ids share a bucket');
    const key = { ...KEY, id };
    if (((select(table, key) ^ bucket) & (FRAGMENT_RECORDS / EACH - 1)) === 0) keys.push(key);
  }
  return keys;
}

test('a packet is found by all of its key and by nothing else', () => {
  const { table } = create();
  note(table, KEY, [FATE_FROM_CLIENT, 5, 0x10106], 100);
  assert.deepEqual(found(table, KEY, 100), [FATE_FROM_CLIENT, 5, 0x10106]);
  const others: Key[] = [
    { ...KEY, id: 8 },
    { ...KEY, kind: TCP4 },
    { ...KEY, addresses: [0x0a000165, 0xc6336401 | 0] },
    { ...KEY, addresses: [0x0a000164, 0xc6336402 | 0] },
    { ...KEY, addresses: [0xc6336401 | 0, 0x0a000164] },
  ];
  for (const other of others) assert.deepEqual(found(table, other, 100), []);
  const long = [1, 2, 3, 4, 5, 6, 7, 8];
  note(table, { kind: IPV6, id: -1, addresses: long }, [FATE_HOST, 0, 0], 100);
  assert.deepEqual(found(table, { kind: IPV6, id: -1, addresses: long }, 100), [FATE_HOST, 0, 0]);
  for (let word = 0; word < ADDRESS_WORDS6; word++) {
    const addresses = long.map((value, at) => (at === word ? value + 1 : value));
    assert.deepEqual(found(table, { kind: IPV6, id: -1, addresses }, 100), [], `word ${word}`);
  }
});

test('the same key noted again has the new fate only', () => {
  const { table } = create();
  for (const fate of [FATE_HOST, FATE_DROPPED, FATE_FROM_SERVER]) {
    assert.equal(note(table, KEY, [fate, fate * 2, fate * 3], 100), NOTED);
    assert.deepEqual(found(table, KEY, 100), [fate, fate * 2, fate * 3]);
  }
});

/** Another fragment of a packet that is known. */
function account(table: FragmentTable, key: Key, bytes: number, end: number, tick: number): void {
  select(table, key);
  assert.notEqual(table.find(tick), FATE_UNKNOWN);
  table.account(bytes, end, tick);
}

test('a record ends with the last byte of its packet, in whatever order they came', () => {
  const orders = [
    [0, 1, 2],
    [2, 0, 1],
    [1, 2, 0],
  ];
  for (const order of orders) {
    const { table } = create();
    note(table, KEY, [FATE_HOST, 0, 0], 100);
    const last = FIRST_BYTES + 3060;
    for (const place of order) {
      assert.equal(found(table, KEY, 100).length, 3);
      account(table, KEY, place === 2 ? 100 : 1480, place === 2 ? last : 0, 100);
    }
    assert.equal(found(table, KEY, 101).length, 3, 'for what came twice');
    assert.deepEqual(found(table, KEY, 102), []);
    assert.equal(note(table, KEY, [FATE_HOST, 0, 0], 102), NOTED);
    assert.equal(found(table, KEY, 104).length, 3);
  }
});

test('a fragment that came twice leaves the end to time', () => {
  const { table } = create();
  note(table, KEY, [FATE_HOST, 0, 0], 100);
  for (let time = 0; time < 3; time++) account(table, KEY, 1480, 0, 100);
  account(table, KEY, 100, FIRST_BYTES + 3060, 100);
  assert.equal(found(table, KEY, 109).length, 3);
  assert.deepEqual(found(table, KEY, 110), []);
});

test('a record lives five seconds, and one from the last fragment on', () => {
  for (const start of [100, 0x7fffffff - 20]) {
    const { table } = create();
    note(table, KEY, [FATE_HOST, 0, 0], start);
    assert.equal(found(table, KEY, (start + FRAGMENT_TICKS - 1) | 0).length, 3);
    assert.deepEqual(found(table, KEY, (start + FRAGMENT_TICKS) | 0), []);
    account(table, KEY, 100, 20_000, start);
    assert.equal(found(table, KEY, (start + 9) | 0).length, 3);
    assert.deepEqual(found(table, KEY, (start + 10) | 0), []);
    // Another worker's clock is a tick behind.
    assert.equal(found(table, KEY, start - 1).length, 3);
  }
});

test('the version changes with each note', () => {
  const { table, buffer } = create();
  const other = new FragmentTable(buffer, SEED);
  const before = other.version;
  note(table, KEY, [FATE_HOST, 0, 0], 100);
  assert.notEqual(other.version, before);
});

test('in a full bucket the record with least time left gives way, which is told', () => {
  const { table } = create();
  const keys = crowd(table, EACH + 3);
  keys.slice(0, EACH).forEach((key, number) => {
    assert.equal(note(table, key, [FATE_FROM_CLIENT, number + 1, 1], 100 + number), NOTED);
  });
  const now = 100 + EACH;
  assert.equal(note(table, keys[EACH]!, [FATE_HOST, 0, 0], now), NOTED_BY_FORCE);
  assert.deepEqual(found(table, keys[0]!, now), [], 'the oldest has gone');
  for (const key of keys.slice(1, EACH + 1)) assert.equal(found(table, key, now).length, 3);
  // One whose last fragment was seen is no loss.
  account(table, keys[5]!, 100, 20_000, now);
  assert.equal(note(table, keys[EACH + 1]!, [FATE_HOST, 0, 0], now), NOTED);
  assert.deepEqual(found(table, keys[5]!, now), []);
  // What has expired is none either.
  assert.equal(note(table, keys[EACH + 2]!, [FATE_HOST, 0, 0], now + FRAGMENT_TICKS), NOTED);
});

test('a record that a dead worker was writing is nobody’s, until it is written anew', () => {
  const { table, buffer } = create();
  note(table, KEY, [FATE_FROM_CLIENT, 5, 6], 100);
  const words = new Int32Array(buffer);
  const at = words.findIndex((word, index) => index > FIRST_LOCK && word !== 0);
  words[at]! |= 1; // its sequence
  assert.deepEqual(found(table, KEY, 100), []);
  assert.equal(note(table, KEY, [FATE_HOST, 7, 8], 100), NOTED);
  assert.deepEqual(found(table, KEY, 100), [FATE_HOST, 7, 8]);
});

test('a lock that a dead worker held is broken; until then nothing is noted in its bucket', () => {
  const { table, buffer } = create();
  const bucket = select(table, KEY) & (FRAGMENT_RECORDS / EACH - 1);
  assert.ok(acquire(new Int32Array(buffer), FIRST_LOCK + bucket, 9));
  assert.equal(note(table, KEY, [FATE_HOST, 0, 0], 100), NOT_NOTED);
  assert.deepEqual(found(table, KEY, 100), []);
  assert.equal(table.breakLocks(8), 0);
  assert.equal(table.breakLocks(9), 1);
  assert.equal(note(table, KEY, [FATE_HOST, 0, 0], 100), NOTED);
});

test('another seed, other buckets', () => {
  const one = new FragmentTable(FragmentTable.buffer(), SEED);
  const other = new FragmentTable(FragmentTable.buffer(), SEED + 1);
  const keys = crowd(one, EACH * 4);
  const mask = FRAGMENT_RECORDS / EACH - 1;
  const buckets = new Set(keys.map((key) => select(other, key) & mask));
  assert.ok(buckets.size > EACH, `${buckets.size} buckets`);
});

test('as a map of what is alive, while there is room', () => {
  const keys = fc.record({
    kind: fc.constantFrom(UDP4, TCP4),
    id: fc.integer({ min: 0, max: 3 }),
    addresses: fc.array(fc.integer({ min: 0, max: 1 }), {
      minLength: ADDRESS_WORDS4,
      maxLength: ADDRESS_WORDS4,
    }),
  });
  const step = fc.record({
    key: keys,
    ticks: fc.integer({ min: 0, max: 20 }),
    act: fc.constantFrom('note', 'find', 'end'),
    entry: fc.integer({ min: 1, max: 1000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const { table } = create();
      const model = new Map<string, { entry: number; until: number }>();
      let tick = 0;
      for (const { key, ticks, act, entry } of steps) {
        tick += ticks;
        const name = JSON.stringify(key);
        const known = model.get(name);
        select(table, key);
        if (act === 'note') {
          // 32 keys in 2048 buckets: hardly ever nine in one.
          if (note(table, key, [FATE_FROM_CLIENT, entry, 1], tick) !== NOTED) return;
          model.set(name, { entry, until: tick + FRAGMENT_TICKS });
        } else if (act === 'end') {
          if (table.find(tick) !== FATE_UNKNOWN) table.account(100, 20_000, tick);
          if (known && known.until > tick) known.until = Math.min(known.until, tick + 10);
        } else {
          const isAlive = known !== undefined && known.until > tick;
          const expected = isAlive ? [FATE_FROM_CLIENT, known.entry, 1] : [];
          assert.deepEqual(found(table, key, tick), expected);
        }
      }
    }),
  );
});
