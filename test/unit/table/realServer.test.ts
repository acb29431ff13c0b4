/** Real servers: counts, thresholds, slots. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  METHOD_NAT,
  METHOD_TUNNEL,
  REAL_SERVERS_MAX,
  type RealServerSettings,
  RealServerTable,
} from '#xvs/table/realServer';

const RECORD = { family: 4, address: Int32Array.of(0x0a00020b, 0, 0, 0), port: 8000 };

function settings(fields: Partial<RealServerSettings> = {}): RealServerSettings {
  return {
    method: METHOD_NAT,
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnelType: 0,
    tunnelPort: 0,
    tunnelChecksum: 0,
    ...fields,
  };
}

function server(fields: Partial<RealServerSettings> = {}): [RealServerTable, number] {
  const table = new RealServerTable(RealServerTable.buffer());
  const slot = table.create(1, RECORD);
  table.configure(slot, settings(fields));
  return [table, slot];
}

test('counts follow binds, moves and unbinds; overload follows the thresholds', () => {
  const upper = fc.nat({ max: 6 });
  const lower = fc.nat({ max: 6 });
  const step = fc.constantFrom('bind', 'bindInactive', 'unbind', 'move');
  fc.assert(
    fc.property(
      upper,
      lower,
      fc.array(step, { maxLength: 60, size: 'max' }),
      (high, low, steps) => {
        const [table, slot] = server({ upperThreshold: high, lowerThreshold: Math.min(low, high) });
        const bound = Math.min(low, high);
        let active = 0;
        let inactive = 0;
        let overloaded = false;
        for (const one of steps) {
          if (one === 'bind' || one === 'bindInactive') {
            table.bind(slot, one === 'bind');
            if (one === 'bind') active++;
            else inactive++;
            if (high !== 0 && active + inactive >= high) overloaded = true;
          } else if (one === 'move' && active > 0) {
            table.move(slot, false);
            active--;
            inactive++;
          } else if (one === 'unbind' && inactive > 0) {
            table.unbind(slot, false);
            inactive--;
            const total = active + inactive;
            // Below the lower threshold, or without one below three quarters of the upper.
            if (bound !== 0 ? total < bound : total < high * 0.75) overloaded = false;
          }
          assert.deepEqual([table.active(slot), table.inactive(slot)], [active, inactive]);
          assert.equal(table.isOverloaded(slot), overloaded);
          assert.equal(table.isEligible(slot), !overloaded);
          assert.equal(table.references(slot), active + inactive);
        }
      },
    ),
  );
});

test('an edit that raises or removes the limit ends an overload, another does not', () => {
  const overloaded = (): [RealServerTable, number] => {
    const [table, slot] = server({ upperThreshold: 2 });
    table.bind(slot, true);
    table.bind(slot, true);
    assert.ok(table.isOverloaded(slot));
    return [table, slot];
  };
  for (const [upperThreshold, clears] of [
    [3, true],
    [0, true],
    [2, false],
    [1, false],
  ] as const) {
    const [table, slot] = overloaded();
    table.configure(slot, settings({ upperThreshold }));
    assert.equal(table.isOverloaded(slot), !clears, `upper ${upperThreshold}`);
  }
});

test('a limit set below the count admits one more, as Linux 6.12 does', () => {
  const [table, slot] = server();
  for (let i = 0; i < 5; i++) table.bind(slot, true);
  table.configure(slot, settings({ upperThreshold: 3 }));
  assert.ok(table.isEligible(slot));
  table.bind(slot, true);
  assert.equal(table.isEligible(slot), false);
});

test('weight 0 is not eligible; an edit changes the method too', () => {
  const [table, slot] = server({ weight: 7, method: METHOD_TUNNEL });
  assert.ok(table.isEligible(slot));
  table.configure(slot, settings({ weight: 0 }));
  assert.equal(table.isEligible(slot), false);
  assert.equal(table.weight(slot), 0);
  assert.equal(table.method(slot), METHOD_NAT);
});

test('a removed server keeps its slot and counts until it is freed', () => {
  const [table, slot] = server();
  table.setAvailable(slot, 4, true);
  assert.deepEqual([table.isAvailable(slot), table.service(slot)], [true, 4]);
  table.bind(slot, true);
  table.setAvailable(slot, 0, false);
  assert.equal(table.isAvailable(slot), false);
  assert.equal(table.references(slot), 1);
  assert.notEqual(table.create(1, RECORD), slot, 'not given to another');
  table.unbind(slot, true);
  table.free(slot);
  const again = table.create(2, { ...RECORD, port: 81 });
  assert.equal(again, slot);
  assert.deepEqual([table.port(slot), table.references(slot), table.weight(slot)], [81, 0, 0]);
});

test('a full table says so', () => {
  const table = new RealServerTable(RealServerTable.buffer());
  const slots = new Set<number>();
  for (let slot = table.create(1, RECORD); slot !== 0; slot = table.create(1, RECORD)) {
    assert.ok(!slots.has(slot) && slots.size < REAL_SERVERS_MAX, `slot ${slot}`);
    slots.add(slot);
  }
  assert.equal(slots.size, REAL_SERVERS_MAX - 1);
  assert.equal(table.freeCount, 0);
  table.free(77);
  assert.equal(table.freeCount, 1);
  assert.equal(table.create(1, RECORD), 77);
});

test('a learned path MTU shrinks only, has a floor, and is forgotten after ten minutes', () => {
  for (const [family, floor] of [
    [4, 552],
    [6, 1280],
  ] as const) {
    const table = new RealServerTable(RealServerTable.buffer());
    const slot = table.create(1, { ...RECORD, family });
    const start = 0x7ffffff0; // the clock runs over meanwhile
    assert.equal(table.pathMtu(slot, start), 0);
    table.learnPathMtu(slot, 1400, start);
    table.learnPathMtu(slot, 1450, start + 10);
    assert.equal(table.pathMtu(slot, start + 20), 1400);
    assert.equal(table.pathMtu(slot, (start + 5999) | 0), 1400);
    assert.equal(table.pathMtu(slot, (start + 6000) | 0), 0);
    table.learnPathMtu(slot, 100, start);
    assert.equal(table.pathMtu(slot, start), floor);
  }
});

test('a revision tells workers that address or tunnel may be another', () => {
  const [table, slot] = server({ method: METHOD_TUNNEL });
  const first = table.revision(slot);
  table.configure(slot, settings({ method: METHOD_TUNNEL, tunnelPort: 6080 }));
  const second = table.revision(slot);
  table.free(slot);
  assert.equal(table.create(2, RECORD), slot);
  assert.equal(new Set([first, second, table.revision(slot)]).size, 3);
});
