/** Local ports: unique, given back, reused late, also when hardly any is left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  LOCAL_PORT_FIRST,
  LOCAL_PORT_LAST,
  LOCAL_PORTS,
  LocalPortTable,
} from '#xvs/table/localPort';

const OWNER = 1;
const SEED = 0x1234567;

function table(maps = 8): LocalPortTable {
  return new LocalPortTable(LocalPortTable.buffers(maps), SEED);
}

/** Key of a local address and a real server by number. */
function choose(ports: LocalPortTable, local: number, real = 1, protocol = 6): void {
  const words = Int32Array.from([local, 0, 0, 0, real, 0, 0, 0]);
  ports.setKey(words, 0, words, 4, 8000, protocol);
}

test('all ports from 1025 to 65535 are given once, and no more', () => {
  const ports = table();
  choose(ports, 1);
  const given = new Set<number>();
  for (let taken = 0; taken < LOCAL_PORTS; taken++) given.add(ports.allocate(OWNER));
  assert.equal(given.size, 64511);
  assert.equal(Math.min(...given), LOCAL_PORT_FIRST);
  assert.equal(Math.max(...given), LOCAL_PORT_LAST);
  assert.equal(ports.allocate(OWNER), 0);
  assert.equal(ports.used, LOCAL_PORTS);
});

test('another address, server or protocol has ports of its own', () => {
  const ports = table();
  const first = [1, 2, 3].map(() => {
    choose(ports, 1);
    return ports.allocate(OWNER);
  });
  assert.equal(new Set(first).size, 3);
  for (const [local, real, protocol] of [
    [2, 1, 6],
    [1, 2, 6],
    [1, 1, 17],
  ] as const) {
    choose(ports, local, real, protocol);
    assert.equal(ports.used, 0);
    assert.ok(ports.allocate(OWNER) > 0);
    assert.equal(ports.used, 1);
  }
  choose(ports, 1);
  assert.equal(ports.used, 3);
});

test('a port that was given back is given again last', () => {
  const ports = table();
  choose(ports, 1);
  const first = ports.allocate(OWNER);
  assert.ok(ports.release(first));
  for (let taken = 1; taken < LOCAL_PORTS; taken++) assert.notEqual(ports.allocate(OWNER), first);
  assert.equal(ports.allocate(OWNER), first);
});

test('what is not taken cannot be given back', () => {
  const ports = table();
  choose(ports, 1);
  assert.equal(ports.release(2000), false, 'no map');
  const port = ports.allocate(OWNER);
  assert.equal(ports.release(port === 2000 ? 2001 : 2000), false);
  for (const never of [0, 80, LOCAL_PORT_FIRST - 1, 65536]) {
    assert.equal(ports.release(never), false, `port ${never}`);
  }
  assert.ok(ports.release(port));
  assert.equal(ports.release(port), false, 'twice');
  assert.equal(ports.used, 0);
});

test('maps that are empty serve other keys; while none is, there is no room', () => {
  const ports = table(2);
  choose(ports, 1);
  const port = ports.allocate(OWNER);
  choose(ports, 2);
  assert.ok(ports.allocate(OWNER) > 0);
  choose(ports, 3);
  assert.equal(ports.allocate(OWNER), 0);
  choose(ports, 1);
  assert.ok(ports.release(port));
  for (let local = 3; local < 500; local++) {
    choose(ports, local);
    const taken = ports.allocate(OWNER);
    assert.ok(taken > 0, `address ${local}`);
    assert.ok(ports.release(taken));
  }
  assert.equal(ports.mapsMade, 2);
  choose(ports, 2);
  assert.equal(ports.used, 1, 'what is used keeps its map');
});

test('property: as a set of ports for each key, in any order of taking and giving back', () => {
  const step = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.boolean(), fc.nat(1000));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const ports = table(4);
      const model = new Map<number, number[]>();
      for (const [local, takes, at] of steps) {
        choose(ports, local);
        const held = model.get(local) ?? [];
        if (takes) {
          const port = ports.allocate(OWNER);
          const others = [...model].filter(([key, own]) => key !== local && own.length > 0);
          if (port === 0) assert.ok(held.length === 0 && others.length === 4, 'refused with room');
          else {
            assert.ok(!held.includes(port), `port ${port} is given twice`);
            model.set(local, [...held, port]);
          }
        } else if (held.length > 0) {
          const [port] = held.splice(at % held.length, 1);
          assert.ok(ports.release(port!));
          model.set(local, held);
        }
        assert.equal(ports.used, (model.get(local) ?? []).length);
      }
    }),
    { numRuns: 100 },
  );
});

test('property: nearly full, every free port is found, wherever it is', () => {
  const ports = table(1);
  choose(ports, 1);
  const all: number[] = [];
  for (let taken = 0; taken < LOCAL_PORTS; taken++) all.push(ports.allocate(OWNER));
  const holes = fc.uniqueArray(fc.integer({ min: LOCAL_PORT_FIRST, max: LOCAL_PORT_LAST }), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(
    fc.property(holes, (free) => {
      for (const port of free) assert.ok(ports.release(port));
      const found = free.map(() => ports.allocate(OWNER));
      assert.deepEqual([...found].sort(), [...free].sort());
      assert.equal(ports.allocate(OWNER), 0);
    }),
    { numRuns: 300 },
  );
});

test('the lock of a dead owner is broken', () => {
  const buffers = LocalPortTable.buffers(4);
  const ports = new LocalPortTable(buffers, SEED);
  new Int32Array(buffers.index)[0] = 7;
  assert.equal(ports.breakLocks(3), 0);
  assert.equal(ports.breakLocks(7), 1);
  choose(ports, 1);
  assert.ok(ports.allocate(OWNER) > 0);
});
