/** The connection table against a Map: found both ways, never lost, never double. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CONNECTION,
  CONNECTIONS_MAX,
  CONNECTIONS_MIN,
  ConnectionTable,
  connectionHash6,
  FROM_CLIENT,
  FROM_SERVER,
  INSERT_BUSY,
  INSERT_EXISTS,
  INSERT_FULL,
  kindFamily,
  kindOf6,
  kindProtocol,
  TEMPLATE_OF_MARK,
  TEMPLATE_OF_MARK6,
  templateKind,
  templateKind6,
  VACANCY_UNKNOWN,
} from '#xvs/table/connection';
import { INDEX } from '#xvs/table/connectionIndex';
import { acquire, release } from '#xvs/table/lock';
import {
  type ConnectionKey,
  crowdedBuffers,
  findByClient,
  findByReply,
  hashOf,
  indexState,
  matchOf,
  replyOf,
  SEED,
  vacancyOf,
  writeEntry,
} from '../../support/connections';

const TICK = 100;
const LATER = 1000;
const AT = CONNECTION.at;

const keyOf = (number: number): ConnectionKey => ({
  family: number % 2 === 0 ? 4 : 6,
  protocol: number % 3 === 0 ? 17 : 6,
  client: 0x0a000000 + (number % 7),
  virtual: 0xc6336401 | 0,
  ports: ((1024 + number) << 16) | 80,
});

function table(buckets?: number): ConnectionTable {
  const buffers = ConnectionTable.buffers(CONNECTIONS_MIN);
  return new ConnectionTable(
    buckets === undefined ? buffers : crowdedBuffers(CONNECTIONS_MIN, buckets),
    SEED,
  );
}

/** Inserts as a worker would; returns the entry or -(the INSERT_* code). */
function insert(connections: ConnectionTable, key: ConnectionKey, worker = 0): number {
  const entry = connections.allocate(worker);
  if (entry === 0) return -INSERT_FULL;
  writeEntry(connections, entry, key, worker + 1, LATER);
  const vacancy = vacancyOf(connections, key);
  const result = connections.insert(entry, worker + 1, true, TICK, vacancy);
  if (result === 0) return entry;
  connections.entries[(entry << 4) + AT.identity]! &= ~0xffff;
  connections.free(entry, worker);
  return -result;
}

function remove(connections: ConnectionTable, entry: number): void {
  connections.remove(entry, true);
  connections.free(entry, 0);
}

function checkFound(connections: ConnectionTable, key: ConnectionKey, entry: number): void {
  assert.equal(findByClient(connections, key, TICK), entry);
  assert.equal(findByReply(connections, key, TICK), entry);
}

/** 2 and 4 buckets of 15 slots: most entries stand in another bucket than their own. */
for (const buckets of [2, 4, 8, 64]) {
  test(`random inserts, removals and look-ups in ${buckets} buckets agree with a Map`, () => {
    const step = fc.record({ number: fc.nat({ max: 90 }), add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 250, size: 'max' }), (steps) => {
        const connections = table(buckets);
        const model = new Map<number, number>();
        let fulls = 0;
        for (const { number, add } of steps) {
          const known = model.get(number);
          if (!add) {
            if (known !== undefined) remove(connections, known);
            model.delete(number);
            assert.equal(findByClient(connections, keyOf(number), TICK), 0);
            assert.equal(findByReply(connections, keyOf(number), TICK), 0);
            continue;
          }
          const result = insert(connections, keyOf(number));
          if (known !== undefined) assert.equal(result, -INSERT_EXISTS);
          else if (result > 0) model.set(number, result);
          else {
            assert.equal(result, -INSERT_FULL);
            fulls++;
          }
        }
        for (const [number, entry] of model) checkFound(connections, keyOf(number), entry);
        assert.equal(indexState(connections).slots, model.size * 2);
        const room = Math.min(buckets, 8) * 15;
        if (fulls > 0) assert.ok(model.size * 2 <= room || buckets > 8, 'refused too early');
        for (const entry of model.values()) remove(connections, entry);
        assert.deepEqual(indexState(connections), { slots: 0, heads: 0 });
      }),
      { numRuns: 60 },
    );
  });
}

test('a crowded index holds as much as fits, refuses the rest and loses nothing', () => {
  const connections = table(2);
  const held: [number, number][] = [];
  let refused = 0;
  for (let number = 0; number < 40; number++) {
    const result = insert(connections, keyOf(number));
    if (result > 0) held.push([number, result]);
    else refused++;
  }
  assert.deepEqual([held.length, refused], [15, 25], '30 slots, two a connection');
  for (const [number, entry] of held) checkFound(connections, keyOf(number), entry);
  const [number, entry] = held[3]!;
  remove(connections, entry);
  assert.equal(findByClient(connections, keyOf(number), TICK), 0);
  assert.ok(insert(connections, keyOf(99)) > 0, 'there is room again');
  for (const [other, known] of held) {
    if (other !== number) checkFound(connections, keyOf(other), known);
  }
});

test('the stock gives every entry once, and takes each back', () => {
  const connections = table();
  for (let round = 0; round < 3; round++) {
    const entries = new Set<number>();
    for (;;) {
      const entry = connections.allocate(0);
      if (entry === 0) break;
      assert.ok(entry >= 1 && entry <= CONNECTIONS_MIN);
      assert.ok(!entries.has(entry), `entry ${entry} twice`);
      entries.add(entry);
    }
    assert.equal(entries.size, CONNECTIONS_MIN);
    for (const entry of entries) connections.free(entry, 0);
  }
  assert.equal(connections.usedEnd, CONNECTIONS_MIN + 1);
});

test('what one worker frees another can have, but for a bounded stock of its own', () => {
  const connections = table();
  const entries: number[] = [];
  for (let entry = connections.allocate(0); entry !== 0; entry = connections.allocate(0)) {
    entries.push(entry);
  }
  assert.equal(connections.allocate(1), 0);
  for (const entry of entries) connections.free(entry, 0);
  const second = new Set<number>();
  for (let entry = connections.allocate(1); entry !== 0; entry = connections.allocate(1)) {
    second.add(entry);
  }
  assert.ok(second.size >= CONNECTIONS_MIN - 128, `only ${second.size}`);
  const rest = new Set<number>();
  for (let entry = connections.allocate(0); entry !== 0; entry = connections.allocate(0)) {
    rest.add(entry);
  }
  assert.equal(second.size + rest.size, CONNECTIONS_MIN);
  for (const entry of rest) assert.ok(!second.has(entry), `entry ${entry} twice`);
});

test('an expired entry is nobody’s, and its place can be taken before it ends', () => {
  const connections = table();
  const key = keyOf(5);
  const old = insert(connections, key);
  assert.equal(findByClient(connections, key, LATER - 1), old);
  assert.equal(findByClient(connections, key, LATER), 0);
  connections.entries[(old << 4) + AT.expiresAt] = TICK;
  const young = insert(connections, key);
  assert.ok(young > 0 && young !== old);
  checkFound(connections, key, young);
  remove(connections, old);
  checkFound(connections, key, young);
});

test('an entry that ends changes its generation; ticks may wrap', () => {
  const connections = table();
  const entry = insert(connections, keyOf(1));
  const at = (entry << 4) + AT.identity;
  const before = connections.entries[at]!;
  remove(connections, entry);
  assert.equal((connections.entries[at]! - before) >>> 16, 0);
  assert.notEqual(connections.entries[at]! >>> 16, before >>> 16);
  assert.ok(!connections.isInUse(entry));
  connections.entries[at] = (0xffff << 16) | 0x0106;
  writeEntry(connections, entry, keyOf(1), 1, -0x7fffff00);
  assert.equal(connections.insert(entry, 1, true, 0x7fffffff), 0);
  assert.equal(findByClient(connections, keyOf(1), 0x7fffffff), entry, 'expires after the wrap');
  connections.remove(entry, true);
  assert.equal(connections.entries[at]! >>> 16, 0, 'the generation wraps too');
});

for (const number of [4, 5]) {
  const key = keyOf(number);
  test(`IPv${key.family}: match tells the direction, and candidate the entry`, () => {
    const connections = table();
    const entry = insert(connections, key);
    const match = (change: Partial<ConnectionKey>): number =>
      matchOf(connections, entry, { ...key, ...change }, TICK);
    assert.equal(match({}), FROM_CLIENT);
    assert.equal(match(replyOf(key)), FROM_SERVER);
    assert.equal(match({ protocol: 23 - key.protocol }), 0);
    assert.equal(match({ ports: key.ports ^ 1 }), 0);
    assert.equal(match({ family: key.family === 4 ? 6 : 4 }), 0);
    // One word of either address another: each of the four in turn.
    for (let word = 0; word < 4; word++) {
      const other = ((key.client & ~3) | word) ^ 0x4000;
      assert.equal(match({ client: other }), 0, `client, word ${word}`);
      assert.equal(match({ virtual: ((key.virtual & ~3) | word) ^ 0x4000 }), 0, `word ${word}`);
    }
    assert.equal(matchOf(connections, entry, key, LATER), 0, 'expired');
    assert.equal(connections.candidate(hashOf(key)), entry);
    assert.equal(connections.candidate(hashOf(key) ^ 0x01000000), 0, 'another tag');
  });
}

test('the same numbers in both families are two connections; kinds tell which', () => {
  const connections = table();
  const four = insert(connections, { ...keyOf(4), family: 4 });
  const six = insert(connections, { ...keyOf(4), family: 6 });
  assert.ok(four > 0 && six > 0 && four !== six);
  for (const protocol of [6, 17, 132]) {
    const kinds = [protocol, kindOf6(protocol), templateKind(protocol), templateKind6(protocol)];
    assert.deepEqual(kinds.map(kindFamily), [4, 6, 4, 6]);
    assert.deepEqual(kinds.map(kindProtocol), [protocol, protocol, protocol, protocol]);
  }
  assert.deepEqual([kindFamily(TEMPLATE_OF_MARK), kindFamily(TEMPLATE_OF_MARK6)], [4, 6]);
  const all = [6, 17, 132].flatMap((protocol) => [
    protocol,
    kindOf6(protocol),
    templateKind(protocol),
    templateKind6(protocol),
  ]);
  assert.equal(new Set([...all, TEMPLATE_OF_MARK, TEMPLATE_OF_MARK6]).size, 14);
});

test('hashes of IPv6 spread, whichever word of an address differs', () => {
  for (let word = 0; word < 4; word++) {
    const buckets = new Set<number>();
    const view = new DataView(new ArrayBuffer(32));
    for (let number = 0; number < 4096; number++) {
      view.setInt32(word * 4, number);
      buckets.add(connectionHash6(SEED, 0x46, view, 0, 16, 80) & 4095);
    }
    // 63 % of the buckets are met by 4096 throws.
    assert.ok(buckets.size > 2400 && buckets.size < 2800, `word ${word}: ${buckets.size}`);
  }
});

test('without replies only one slot is taken', () => {
  const connections = table();
  const entry = connections.allocate(0);
  writeEntry(connections, entry, keyOf(2), 1, LATER);
  assert.equal(connections.insert(entry, 1, false, TICK), 0);
  assert.equal(findByClient(connections, keyOf(2), TICK), entry);
  assert.equal(findByReply(connections, keyOf(2), TICK), 0);
  assert.equal(indexState(connections).slots, 1);
  connections.remove(entry, false);
  assert.deepEqual(indexState(connections), { slots: 0, heads: 0 });
});

test('a bucket that was searched is vacant until something is inserted', () => {
  const connections = table(2);
  const one = keyOf(1);
  const hash = hashOf(one);
  const vacancy = vacancyOf(connections, one);
  assert.ok(connections.isVacant(hash, vacancy));
  assert.ok(!connections.isVacant(hash, VACANCY_UNKNOWN));
  const entry = insert(connections, one);
  assert.ok(!connections.isVacant(hash, vacancy));
  assert.equal(vacancyOf(connections, one), VACANCY_UNKNOWN);
  remove(connections, entry);
  assert.ok(!connections.isVacant(hash, vacancy), 'what came and went has been there');
  const again = vacancyOf(connections, one);
  // The same connection twice, by one who searched before: seen, for the bucket has changed.
  assert.ok(insert(connections, one) > 0);
  const late = connections.allocate(0);
  writeEntry(connections, late, one, 1, LATER);
  assert.equal(connections.insert(late, 1, true, TICK, again), INSERT_EXISTS);
  for (let number = 3; number < 40; number++) insert(connections, keyOf(number));
  const head = connections.index[(hash & 1) << 4]! & ~INDEX.lockBits;
  assert.ok(!connections.isVacant(hash, head), 'some stand in the other bucket');
});

test('a locked bucket is busy; the lock of a dead worker is broken', () => {
  const connections = table(2);
  for (const bucket of [0, 1]) assert.ok(acquire(connections.index, bucket << 4, 9));
  assert.equal(insert(connections, keyOf(1)), -INSERT_BUSY);
  assert.equal(indexState(connections).slots, 0);
  assert.equal(connections.breakLocks(8), 0);
  assert.equal(connections.breakLocks(9), 2);
  assert.ok(insert(connections, keyOf(1)) > 0);
  assert.ok(acquire(connections.index, 0, 3));
  release(connections.index, 0, 3);
});

test('a capacity out of range is refused with what is allowed', () => {
  for (const capacity of [CONNECTIONS_MIN - 1, CONNECTIONS_MAX + 1]) {
    const allowed = `${CONNECTIONS_MIN} to ${CONNECTIONS_MAX} are allowed`;
    assert.throws(() => ConnectionTable.buffers(capacity), {
      name: 'RangeError',
      message: `connection capacity ${capacity}: ${allowed}`,
    });
  }
});

test('a connection takes at most 96 bytes, all included; 160 over IPv6', () => {
  for (const capacity of [65536, 1 << 20, 10_000_000]) {
    const buffers = ConnectionTable.buffers(capacity);
    const { entries, index, control, born, extension } = buffers;
    const bytes = entries.byteLength + index.byteLength + control.byteLength + born.byteLength;
    const slots = (index.byteLength / 64) * 15;
    assert.ok(bytes / capacity <= 96.1, `${bytes / capacity} bytes at ${capacity}`);
    const bytes6 = bytes + extension.byteLength;
    assert.ok(bytes6 / capacity <= 160.1, `${bytes6 / capacity} bytes at ${capacity}`);
    assert.ok((capacity * 2) / slots <= 0.61, `index load ${(capacity * 2) / slots}`);
  }
});

test('what only IPv6 needs takes no memory while there is none of it', () => {
  const resident = (): number => process.memoryUsage.rss();
  const capacity = 1 << 20;
  const before = resident();
  const connections = new ConnectionTable(ConnectionTable.buffers(capacity), SEED);
  for (let worker = 0; worker < 2; worker++) {
    for (let made = 0; made < 1000; made++) {
      const number = 2 * (worker * 1000 + made);
      assert.ok(insert(connections, { ...keyOf(number), client: number }, worker) > 0);
    }
  }
  const grown = (resident() - before) / (1 << 20);
  assert.ok(grown < 32, `${grown} MB for 2,000 connections of ${capacity}`);
});
