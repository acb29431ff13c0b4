import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { HostAddress } from '#xvs/table/address6';
import {
  NEIGHBOUR_RESOLVED,
  NEIGHBOUR_RETIRED,
  NEIGHBOUR_UNRESOLVED,
  NEIGHBOURS_MAX,
  NeighbourTable,
  RETIRED_TICKS,
} from '#xvs/table/neighbour';
import { NeighbourRequests, REQUEST_CELLS } from '#xvs/table/neighbourRequest';

const A = 0x0a000001;
const B = 0xc0a80001 | 0;

function keyOf(link: number, address: HostAddress): string {
  return `${link} ${typeof address} ${address}`;
}

test('find, insert and retire equal a Map, addresses of both families together', () => {
  // Of the IPv6 ones some have the words of an IPv4 one, and each word is what differs in some.
  const addresses: HostAddress[] = [];
  for (let one = -10; one <= 10; one++) {
    addresses.push(one, [one, 0, 0, 0], [1, one, 0, 0], [1, 0, one, 0], [1, 0, 0, one]);
  }
  const distinct = [...new Map(addresses.map((one) => [`${one} ${typeof one}`, one])).values()];
  const step = fc.record({
    insert: fc.boolean(),
    link: fc.integer({ min: 0, max: 3 }),
    address: fc.constantFrom(...distinct),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const table = new NeighbourTable(NeighbourTable.buffer(256));
      const model = new Map<string, number>();
      let mac = 0;
      for (const { insert, link, address } of steps) {
        const key = keyOf(link, address);
        const known = model.get(key);
        if (insert && known === undefined) {
          const slot = table.insert(link, address, ++mac, mac, NEIGHBOUR_RESOLVED, 1000);
          assert.ok(slot >= 1 && slot <= table.slotsMax);
          model.set(key, slot);
        } else if (!insert && known !== undefined) {
          table.retire(known, 1000);
          model.delete(key);
        }
        for (const one of distinct) {
          assert.equal(table.findHost(link, one), model.get(keyOf(link, one)) ?? 0);
        }
      }
      assert.equal(table.usedCount, model.size);
    }),
    { numRuns: 100 },
  );
});

test('a MAC stands in the table as in a frame, before two bytes that are another’s', () => {
  const table = new NeighbourTable(NeighbourTable.buffer(16));
  const slot = table.insert(1, A, 0x02112233, 0x4455, NEIGHBOUR_RESOLVED, 0);
  const words = new Int32Array([table.macStart(slot), table.macEnd(slot)]);
  const expected = [0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0];
  assert.deepEqual([...new Uint8Array(words.buffer)], expected);
});

test('a retired slot keeps its MAC and is not used again for two seconds', () => {
  const table = new NeighbourTable(NeighbourTable.buffer(1));
  const slot = table.insert(0, A, 0x02aabbcc, 0xddee, NEIGHBOUR_RESOLVED, 500);
  assert.equal(slot, 1);
  table.retire(slot, 500);
  assert.equal(table.find(0, A), 0);
  assert.equal(table.state(slot), NEIGHBOUR_RETIRED);
  assert.equal(table.insert(0, B, 1, 1, NEIGHBOUR_RESOLVED, 500 + RETIRED_TICKS - 1), 0);
  assert.equal(table.overflowCount, 1);
  assert.equal(table.macHigh(slot), 0x02aabbcc);
  assert.equal(table.macLow(slot), 0xddee);
  assert.equal(table.insert(0, B, 1, 1, NEIGHBOUR_RESOLVED, 500 + RETIRED_TICKS), slot);
  assert.equal(table.find(0, B), slot);
});

test('slots wait their time across the wrap of the tick', () => {
  const table = new NeighbourTable(NeighbourTable.buffer(1));
  const end = 2 ** 31 - 5;
  table.retire(table.insert(0, A, 1, 1, NEIGHBOUR_RESOLVED, end), end);
  assert.equal(table.insert(0, B, 1, 1, NEIGHBOUR_RESOLVED, (end + 10) | 0), 0);
  assert.equal(table.insert(0, B, 1, 1, NEIGHBOUR_RESOLVED, (end + RETIRED_TICKS) | 0), 1);
});

test('workers leave last use and wishes in the record', () => {
  const buffer = NeighbourTable.buffer(8);
  const control = new NeighbourTable(buffer);
  const worker = new NeighbourTable(buffer);
  const slot = control.insert(1, A, 0, 0, NEIGHBOUR_UNRESOLVED, 0);
  worker.touch(slot, 77);
  worker.request(slot);
  assert.equal(control.lastUsedTick(slot), 77);
  assert.equal(control.takeRequest(slot), true);
  assert.equal(control.takeRequest(slot), false);
  assert.equal(worker.interfaceSlot(slot), 1);
  assert.equal(worker.address(slot), A);
});

test('a slot in no chain cannot be retired, and sizes out of range are refused', () => {
  const table = new NeighbourTable(NeighbourTable.buffer(4));
  assert.throws(() => table.retire(2, 0), /neighbour slot 2 is in no chain/);
  assert.throws(() => NeighbourTable.buffer(NEIGHBOURS_MAX + 1), /allowed are 1\.\.32767/);
});

function drained(requests: NeighbourRequests, take = true): string[] {
  const seen: string[] = [];
  requests.drain((link, address) => {
    seen.push(`${link} ${address}`);
    return take;
  });
  return seen;
}

test('a request is made once, kept until taken, and counted when there is no room', () => {
  const buffer = NeighbourRequests.buffer();
  const worker = new NeighbourRequests(buffer);
  const control = new NeighbourRequests(buffer);
  assert.equal(worker.add(0, A), true);
  assert.equal(worker.add(0, A), false, 'the same again');
  assert.equal(worker.add(1, A), true, 'the same address on another link');
  assert.deepEqual(drained(control, false), [`0 ${A}`, `1 ${A}`]);
  assert.deepEqual(drained(control), [`0 ${A}`, `1 ${A}`]);
  assert.deepEqual(drained(control), []);
  for (let address = 0; address < REQUEST_CELLS; address++) {
    assert.equal(worker.add(0, address), true);
  }
  assert.equal(worker.add(0, REQUEST_CELLS), false);
  assert.equal(control.lostCount, 1);
  assert.equal(drained(control).length, REQUEST_CELLS);
});

test('a cell that a dead worker left half filled is freed at the second look', () => {
  const buffer = NeighbourRequests.buffer();
  const words = new Int32Array(buffer);
  const control = new NeighbourRequests(buffer);
  words[0] = 1; // FILLING
  control.reclaim();
  assert.equal(words[0], 1, 'a worker may be about to fill it');
  control.reclaim();
  assert.equal(words[0], 0);
});
