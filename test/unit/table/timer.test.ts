/** The timer wheel against a model: nothing is looked at late, whatever happens to the clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CONNECTION, CONNECTIONS_MIN, ConnectionTable } from '#xvs/table/connection';
import { attachTables, createMemory } from '#xvs/table/memory';
import { TimerWheel } from '#xvs/table/timer';
import { DUE_MAX, Expiry } from '#xvs/worker/expire';

const AT = CONNECTION.at;
/** One turn of the wheel. */
const TURN = 8192;
const LOOKS_MAX = 100_000;

class Stand {
  readonly table = new ConnectionTable(ConnectionTable.buffers(CONNECTIONS_MIN), 1);
  readonly wheel: TimerWheel;
  readonly buffer = TimerWheel.buffer();
  tick: number;
  /** What has ended, and when. */
  readonly ended = new Map<number, number>();

  constructor(start: number) {
    this.wheel = new TimerWheel(this.buffer, this.table);
    this.wheel.start(start);
    this.tick = start;
  }

  link(entry: number, ticks: number): void {
    this.table.entries[(entry << 4) + AT.expiresAt] = (this.tick + ticks) | 0;
    this.wheel.link(entry, this.tick);
  }

  /** A packet: more time, without telling the wheel. */
  postpone(entry: number, ticks: number): void {
    this.table.entries[(entry << 4) + AT.expiresAt] = (this.tick + ticks) | 0;
  }

  shorten(entry: number, ticks: number): void {
    this.postpone(entry, ticks);
    this.wheel.unlink(entry);
    this.wheel.link(entry, this.tick);
  }

  /** As expire.ts: what has time left is linked anew. */
  run(): number {
    let looks = 0;
    for (;;) {
      const entry = this.wheel.nextDue(this.tick);
      if (entry === 0) return looks;
      looks++;
      assert.ok(looks < LOOKS_MAX, `the wheel stands still at tick ${this.tick}`);
      const left = (this.table.entries[(entry << 4) + AT.expiresAt]! - this.tick) | 0;
      if (left > 0) this.wheel.link(entry, this.tick);
      else this.ended.set(entry, this.tick);
    }
  }
}

const start = fc.constantFrom(0, 1, 5000, 0x7fffffff - 20_000, -10_000);
const step = fc.oneof(
  fc.record({
    kind: fc.constantFrom('link' as const, 'postpone' as const, 'shorten' as const),
    entry: fc.integer({ min: 1, max: 12 }),
    ticks: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 3 * TURN })),
  }),
  fc.record({
    kind: fc.constant('pass' as const),
    entry: fc.constant(0),
    ticks: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3 * TURN })),
  }),
);

test('every entry ends at the first look after its time, and never before', () => {
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 60, size: 'max' }), (begin, steps) => {
      const stand = new Stand(begin);
      const model = new Map<number, number>();
      for (const { kind, entry, ticks } of steps) {
        const expires = (stand.tick + ticks) | 0;
        if (kind === 'pass') {
          stand.tick = expires;
          stand.run();
          for (const [one, at] of model) {
            const due = ((at - stand.tick) | 0) <= 0;
            assert.equal(stand.ended.get(one), due ? stand.tick : undefined, `entry ${one}`);
            if (due) model.delete(one);
          }
          stand.ended.clear();
        } else if (!model.has(entry)) {
          stand.link(entry, ticks);
          model.set(entry, expires);
        } else if (kind === 'postpone' && ((expires - model.get(entry)!) | 0) > 0) {
          stand.postpone(entry, ticks);
          model.set(entry, expires);
        } else if (kind === 'shorten') {
          stand.shorten(entry, ticks);
          model.set(entry, expires);
        }
      }
      stand.tick = (stand.tick + 4 * TURN) | 0;
      stand.run();
      assert.deepEqual([...stand.ended.keys()].sort(), [...model.keys()].sort(), 'all have ended');
    }),
    { numRuns: 300 },
  );
});

test('with the clock read every tick, an entry ends in its very tick', () => {
  const stand = new Stand(100);
  const lives = [1, 2, 9, 100, 600, TURN - 2, TURN - 1, TURN, TURN + 1, 9000, 2 * TURN, 20_000];
  lives.forEach((ticks, at) => {
    stand.link(at + 1, ticks);
  });
  for (let i = 0; i < 20_000; i++) {
    stand.tick++;
    stand.run();
  }
  lives.forEach((ticks, at) => {
    assert.equal(stand.ended.get(at + 1), 100 + ticks);
  });
});

test('an entry that has a whole turn left where the wheel stands does not stop it', () => {
  for (const lag of [1, 2, 3, 100, TURN - 1, TURN, TURN + 5]) {
    const stand = new Stand(1000);
    stand.link(1, 10);
    stand.link(2, 10 + lag);
    // Looked at from slot 1010 with the clock `lag` further, it expires one turn after that slot.
    stand.tick = 1010 + lag;
    stand.postpone(1, TURN - lag);
    const looks = stand.run();
    assert.ok(looks <= 4, `${looks} looks with a lag of ${lag}`);
    assert.equal(stand.ended.has(2), true, `lag ${lag}`);
    stand.tick = 1010 + TURN - 1;
    if (lag < TURN) {
      stand.run();
      assert.equal(stand.ended.has(1), false, `lag ${lag}: too early`);
    }
    stand.tick = 1010 + TURN + 2 * lag;
    stand.run();
    assert.equal(stand.ended.has(1), true, `lag ${lag}`);
  }
});

test('work grows with what comes due, not with the table', () => {
  const stand = new Stand(0);
  for (let entry = 1; entry <= 1000; entry++) stand.link(entry, 9000);
  let looks = 0;
  for (let i = 0; i < TURN - 10; i++) {
    stand.tick++;
    looks += stand.run();
  }
  assert.equal(looks, 0);
  for (let i = 0; i < 1000; i++) {
    stand.tick++;
    looks += stand.run();
  }
  assert.equal(stand.ended.size, 1000);
  assert.equal(looks, 2000, 'once on the way, once at the end');
});

test('mail comes in order, bounded, and each once', () => {
  const { wheel } = new Stand(0);
  assert.equal(wheel.receive(), 0);
  let posted = 0;
  while (posted < 10_000 && wheel.post(posted + 1)) posted++;
  assert.equal(posted, 4096);
  for (let entry = 1; entry <= 10; entry++) assert.equal(wheel.receive(), entry);
  assert.ok(wheel.post(5000));
  for (let entry = 11; entry <= 4096; entry++) assert.equal(wheel.receive(), entry);
  assert.deepEqual([wheel.receive(), wheel.receive()], [5000, 0]);
});

test('a successor goes on where the dead worker’s wheel stood', () => {
  const stand = new Stand(50);
  stand.link(3, 20);
  const next = new TimerWheel(stand.buffer, stand.table);
  next.start(9999);
  assert.equal(next.nextDue(69), 0);
  assert.equal(next.nextDue(70), 3);
});

/** Expiry of two workers on the same tables; entries written as birth.ts does. */
function expiries() {
  const tables = attachTables(
    createMemory({ workers: 2, connectionCapacity: CONNECTIONS_MIN, hashSeed: 1 }),
    () => {},
  );
  for (const wheel of tables.wheels) wheel.start(100);
  const entry = tables.connections.allocate(0);
  const words = tables.connections.entries;
  const at = entry << 4;
  words[at + AT.identity] = (1 << 8) | 6;
  words[at + AT.expiresAt] = 9000;
  tables.wheels[0]!.link(entry, 100);
  tables.realServers.bind(0, false);
  const [own, other] = [new Expiry(tables, 0), new Expiry(tables, 1)];
  return { tables, own, other, entry, words, at };
}

test('a shorter time is told to the owner by mail, and by itself at once', () => {
  const { own, other, entry, words, at, tables } = expiries();
  words[at + AT.expiresAt] = 200;
  other.sooner(entry, 110);
  own.run(199, DUE_MAX);
  assert.ok(tables.connections.isInUse(entry));
  own.run(200, DUE_MAX);
  assert.ok(!tables.connections.isInUse(entry));

  const second = expiries();
  second.words[second.at + AT.expiresAt] = 150;
  second.own.sooner(second.entry, 110);
  second.own.run(149, DUE_MAX);
  assert.ok(second.tables.connections.isInUse(second.entry));
  second.own.run(150, DUE_MAX);
  assert.ok(!second.tables.connections.isInUse(second.entry));
});

test('mail about an entry that has ended meanwhile is left alone', () => {
  const { own, other, entry, words, at, tables } = expiries();
  words[at + AT.expiresAt] = 200;
  other.sooner(entry, 110);
  words[at + AT.expiresAt] = 105;
  own.sooner(entry, 110);
  // The mail is read first: it must not link what the wheel has ended, now or later.
  for (let tick = 111; tick < 400; tick++) own.run(tick, DUE_MAX);
  assert.ok(!tables.connections.isInUse(entry));
  assert.equal(tables.connections.allocate(0), entry, 'the entry is free, once');
  assert.notEqual(tables.connections.allocate(0), entry);
});
