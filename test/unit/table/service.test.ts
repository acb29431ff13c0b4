/** The index of services: found, removed and added again, in any order, as a Map would. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CONTROL_OWNER } from '#xvs/table/lock';
import { SERVICES_MAX, type ServiceRecord, ServiceTable } from '#xvs/table/service';

const record = (protocol: number, address: number, port: number, fwmark = 0): ServiceRecord => ({
  family: 4,
  protocol,
  address: Int32Array.of(address, 0, 0, 0),
  port,
  fwmark,
});

/** Few addresses and ports, so that keys come again and runs in the index grow together. */
const key = fc.record({
  protocol: fc.constantFrom(6, 17),
  address: fc.constantFrom(0x0a000001, 0x0a000002, -1, 0),
  port: fc.constantFrom(1, 80, 443, 65535),
});
const text = (one: { protocol: number; address: number; port: number }): string =>
  `${one.protocol} ${one.address} ${one.port}`;

test('adding and removing at random, every key is found where a Map has it', () => {
  const step = fc.record({ key, add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const table = new ServiceTable(ServiceTable.buffer());
      const model = new Map<string, number>();
      const used = new Set<string>();
      for (const { key: one, add } of steps) {
        const id = text(one);
        used.add(id);
        const slot = model.get(id);
        if (add && slot === undefined) {
          model.set(id, table.create(record(one.protocol, one.address, one.port), 0));
        } else if (!add && slot !== undefined) {
          table.remove(slot);
          model.delete(id);
        }
        for (const other of used) {
          const [protocol, address, port] = other.split(' ').map(Number);
          assert.equal(table.find4(protocol!, address!, port!), model.get(other) ?? 0, other);
        }
      }
      for (const slot of model.values()) table.remove(slot);
      assert.equal(table.removedCount, 0, 'an empty index has no removed entries');
    }),
    { numRuns: 30 },
  );
});

test('ten thousand services and as many changes leave searches short', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  const slots = Array.from({ length: 10_000 }, (_, at) => table.create(record(6, at, 80), 0));
  for (let round = 0; round < 3; round++) {
    for (let at = 0; at < slots.length; at += 2) {
      table.remove(slots[at]!);
      slots[at] = table.create(record(6, at, 80), 0);
    }
  }
  slots.forEach((slot, at) => {
    assert.equal(table.find4(6, at, 80), slot);
  });
  assert.ok(table.removedCount < 10_000, `${table.removedCount} removed entries are left`);
  for (const slot of slots) table.remove(slot);
  assert.equal(table.removedCount, 0);
});

test('a full table says so, and takes one again when one has gone', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  const slots: number[] = [];
  for (;;) {
    const slot = table.create(record(17, slots.length, 53), 0);
    if (slot === 0) break;
    slots.push(slot);
  }
  assert.equal(slots.length, SERVICES_MAX - 1);
  assert.equal(new Set(slots).size, slots.length);
  assert.equal(table.find4(17, SERVICES_MAX + 5, 53), 0, 'a search in a full table ends');
  table.remove(slots[77]!);
  assert.equal(table.create(record(17, -5, 53), 0), slots[77]);
  assert.equal(table.find4(17, -5, 53), slots[77]);
  assert.equal(table.find4(17, 77, 53), 0);
});

test('a slot that was given up is used again last, however often that goes round', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  const kept = table.create(record(6, 1, 80), 0);
  const ages = new Map<number, number>();
  for (let age = 1; age < SERVICES_MAX * 2; age++) {
    const slot = table.create(record(17, age, 53), 0);
    assert.notEqual(slot, 0);
    assert.notEqual(slot, kept);
    const before = ages.get(slot);
    if (before !== undefined && age - before !== SERVICES_MAX - 2) {
      assert.fail(`slot ${slot} came again after ${age - before} others`);
    }
    ages.set(slot, age);
    table.remove(slot);
  }
  assert.equal(ages.size, SERVICES_MAX - 2);
  assert.equal(table.freeCount, SERVICES_MAX - 2);
});

test('what is reserved or hidden no worker finds, and its slot is nobody else’s', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  const reserved = table.reserve(record(6, 1, 80), 0);
  assert.equal(table.find4(6, 1, 80), 0);
  table.publish(reserved);
  assert.equal(table.find4(6, 1, 80), reserved);
  table.setHidden(reserved, true);
  assert.equal(table.find4(6, 1, 80), 0);
  assert.equal(table.isInUse(reserved), false, 'a worker that has found it sees that it is none');
  assert.equal(table.freeCount, SERVICES_MAX - 2);
  table.setHidden(reserved, false);
  assert.equal(table.find4(6, 1, 80), reserved);
  table.remove(reserved);
  const other = table.reserve(record(6, 2, 80), 0);
  table.giveBack(other);
  assert.equal(table.freeCount, SERVICES_MAX - 1);
  assert.equal(table.removedCount, 0);
});

test('a service of a firewall mark is no service of an address', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  table.create(record(6, 0, 0, 66), 0);
  assert.equal(table.find4(6, 0, 0), 0);
});

/** Creates the service in a slot that was used before: those come last. */
function createIn(table: ServiceTable, slot: number, wanted: ServiceRecord): void {
  const last = (): boolean => table.freeCount === 1;
  for (let port = 1; !last(); port++) table.create(record(17, 0x0a000000 + port, 9), 0);
  assert.equal(table.create(wanted, 0), slot);
}

test('a new service has nothing of the one that had its slot', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  const slot = table.create(record(6, 1, 80), 3);
  table.setFirstServer(slot, 9);
  table.setPosition(slot, 8);
  table.remove(slot);
  assert.equal(table.isInUse(slot), false);
  createIn(table, slot, record(6, 2, 81));
  assert.deepEqual(
    [table.firstServer(slot), table.position(slot), table.scheduler(slot)],
    [0, 0, 0],
  );
  assert.deepEqual([table.address4(slot), table.port(slot)], [2, 81]);
});

test('a lock held over a removal outlives it, and can be broken', () => {
  const table = new ServiceTable(ServiceTable.buffer());
  const slot = table.create(record(6, 1, 80), 0);
  assert.ok(table.lock(slot, 5));
  assert.equal(table.lock(slot, CONTROL_OWNER), false);
  table.remove(slot);
  createIn(table, slot, record(6, 1, 80));
  assert.equal(table.lock(slot, 6), false, 'still held');
  assert.equal(table.breakLocks(6), 0);
  assert.equal(table.breakLocks(5), 1);
  assert.ok(table.lock(slot, 6));
  table.unlock(slot, 6);
});
