import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  prefixMask,
  ROUTE_LOCAL,
  ROUTE_THROW,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
  RouteTable,
  trieNodesNeeded,
} from '#xvs/table/route';

const CAPACITY = { trieNodes: 65536, nextHops: 1024 };

function address(text: string): number {
  return text.split('.').reduce((word, byte) => (word << 8) | Number(byte), 0);
}

function route(prefix: string, fields: Partial<Route> = {}): Route {
  const [destination, prefixLength] = prefix.split('/');
  return {
    destination: address(destination!),
    prefixLength: Number(prefixLength),
    kind: ROUTE_UNICAST,
    interfaceSlot: 0,
    gateway: 0,
    preferredSource: 0,
    mtu: 0,
    ...fields,
  };
}

/** What the kernel does: tables from the last to the first, longest prefix, throw goes on. */
function naiveLookup(tables: readonly (readonly Route[])[], wanted: number): Route | null {
  for (let index = tables.length - 1; index >= 0; index--) {
    let best: Route | null = null;
    for (const candidate of tables[index]!) {
      const covers = ((candidate.destination ^ wanted) & prefixMask(candidate.prefixLength)) === 0;
      if (covers && (best === null || candidate.prefixLength > best.prefixLength)) {
        best = candidate;
      }
    }
    if (best !== null && best.kind !== ROUTE_THROW) {
      return best;
    }
  }
  return null;
}

function found(table: RouteTable, wanted: number): string {
  const hop = table.lookup(wanted);
  return hop === 0 ? 'none' : `${table.kind(hop)} ${table.gateway(hop)}`;
}

/** Few distinct high bits, so that prefixes nest and collide; all lengths. */
const prefixes = fc
  .record({
    high: fc.constantFrom(0, 0x0a000000, 0x0a010000, 0x0a01ff00, 0xc0a80000, 0xffffffff),
    low: fc.integer({ min: 0, max: 0x3ff }),
    prefixLength: fc.integer({ min: 0, max: 32 }),
  })
  .map(({ high, low, prefixLength }) => ({
    destination: (high ^ low ^ (low << 16)) & prefixMask(prefixLength),
    prefixLength,
  }));

const routeTables = fc
  .array(
    fc.uniqueArray(
      fc.record({
        prefix: prefixes,
        kind: fc.constantFrom(ROUTE_UNICAST, ROUTE_UNICAST, ROUTE_THROW),
        gateway: fc.integer({ min: 1, max: 200 }),
      }),
      {
        maxLength: 40,
        selector: ({ prefix }) => `${prefix.destination}/${prefix.prefixLength}`,
      },
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((tables) =>
    tables.map((routes) =>
      routes.map(({ prefix, kind, gateway }): Route => {
        const base = { interfaceSlot: 0, preferredSource: 0, mtu: 0 };
        return { ...prefix, ...base, kind, gateway };
      }),
    ),
  );

test('longest prefix match equals the naive model, throw routes and three tables included', () => {
  const table = new RouteTable(RouteTable.buffer(CAPACITY));
  fc.assert(
    fc.property(
      routeTables,
      fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 20 }),
      (tables, others) => {
        assert.equal(table.replace(tables), true);
        const wanted = [...others];
        for (const { destination, prefixLength } of tables.flat()) {
          const last = destination | ~prefixMask(prefixLength);
          wanted.push(destination, last, (destination - 1) | 0, (last + 1) | 0);
        }
        for (const one of wanted) {
          const best = naiveLookup(tables, one);
          const expected = best === null ? 'none' : `${best.kind} ${best.gateway}`;
          assert.equal(found(table, one), expected, `address ${one >>> 0}`);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('the nodes that routes need are never underestimated', () => {
  const table = new RouteTable(RouteTable.buffer(CAPACITY));
  fc.assert(
    fc.property(routeTables, (tables) => {
      const plain = tables[0]!.filter(({ kind }) => kind !== ROUTE_THROW);
      assert.equal(table.replace([plain]), true);
      const needed = trieNodesNeeded(plain);
      assert.ok(table.nodeCount <= needed, `${table.nodeCount} used, ${needed} foreseen`);
      assert.ok(needed <= table.nodeCount + plain.length * 3, `${needed} foreseen is far too many`);
    }),
    { numRuns: 200 },
  );
});

test('a next-hop record keeps every field of its route, and equal ones are shared', () => {
  const table = new RouteTable(RouteTable.buffer(CAPACITY));
  const via = { interfaceSlot: 2, gateway: address('10.0.0.254'), mtu: 1400 };
  const fields = { ...via, preferredSource: address('192.168.0.100') };
  table.replace([[route('0.0.0.0/0', fields), route('203.0.113.0/24', fields)]]);
  const hop = table.lookup(address('203.0.113.9'));
  assert.notEqual(hop, 0);
  assert.equal(table.lookup(address('8.8.8.8')), hop);
  assert.equal(table.kind(hop), ROUTE_UNICAST);
  assert.equal(table.interfaceSlot(hop), 2);
  assert.equal(table.gateway(hop), address('10.0.0.254'));
  assert.equal(table.preferredSource(hop), address('192.168.0.100'));
  assert.equal(table.mtu(hop), 1400);
  assert.equal(table.nextHopCount, 1);
  assert.equal(table.routeCount, 2);
});

test('the local table hides longer prefixes of the main table, as in the kernel', () => {
  const table = new RouteTable(RouteTable.buffer(CAPACITY));
  const main = [route('10.9.1.0/24'), route('0.0.0.0/0')];
  const local = [route('10.9.0.0/16', { kind: ROUTE_LOCAL })];
  table.replace([[], main, local]);
  assert.equal(table.kind(table.lookup(address('10.9.1.1'))), ROUTE_LOCAL);
  assert.equal(table.kind(table.lookup(address('10.10.1.1'))), ROUTE_UNICAST);
});

test('an unreachable route is found, and is not "no route"', () => {
  const table = new RouteTable(RouteTable.buffer(CAPACITY));
  table.replace([[route('10.0.0.0/8', { kind: ROUTE_UNREACHABLE })]]);
  assert.equal(table.kind(table.lookup(address('10.1.1.1'))), ROUTE_UNREACHABLE);
  assert.equal(table.lookup(address('11.1.1.1')), 0);
});

test('what does not fit is refused and the old content stays', () => {
  const table = new RouteTable(RouteTable.buffer({ trieNodes: 20, nextHops: 4 }));
  assert.equal(table.replace([[route('10.0.0.1/32', { gateway: 1 })]]), true);
  assert.equal(table.nodeCount, 16);
  const many = [route('10.0.0.1/32', { gateway: 2 }), route('10.1.0.1/32', { gateway: 2 })];
  assert.equal(table.replace([many]), false, 'trie nodes');
  const hops = [1, 2, 3, 4].map((gateway) => route(`${gateway}.0.0.0/8`, { gateway }));
  assert.equal(table.replace([hops]), false, 'next hops');
  assert.equal(table.overflowCount, 2);
  assert.equal(found(table, address('10.0.0.1')), `${ROUTE_UNICAST} 1`);
  assert.equal(table.routeCount, 1);
  assert.equal(table.replace([hops.slice(1)]), true, 'and a later change that fits is taken');
  assert.equal(found(table, address('4.0.0.1')), `${ROUTE_UNICAST} 4`);
});

test('a capacity out of range is refused', () => {
  assert.throws(() => RouteTable.buffer({ trieNodes: 0, nextHops: 4 }), /0 trie nodes/);
  assert.throws(() => RouteTable.buffer({ trieNodes: 1, nextHops: 1 }), /1 next hops/);
});
