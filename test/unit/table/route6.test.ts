/** The IPv6 route table against a slow model of what the kernel does. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { addressWords } from '#xvs/net/address';
import { type Address6, NO_ADDRESS6, prefixMask6, samePrefix6 } from '#xvs/table/address6';
import {
  ROUTE_LOCAL,
  ROUTE_THROW,
  ROUTE_UNICAST,
  type Route6,
  RouteTable,
  trieNodesNeeded6,
} from '#xvs/table/route';

const CAPACITY = { trieNodes: 16384, nextHops: 1024 };

function address(text: string): Address6 {
  const [word0, word1, word2, word3] = addressWords(text);
  return [word0!, word1!, word2!, word3!];
}

function masked(words: Address6, prefixLength: number): Address6 {
  const word = (index: number) => words[index]! & prefixMask6(prefixLength, index);
  return [word(0), word(1), word(2), word(3)];
}

function route(prefix: string, fields: Partial<Route6> = {}): Route6 {
  const [destination, prefixLength] = prefix.split('/');
  return {
    destination: address(destination!),
    prefixLength: Number(prefixLength),
    kind: ROUTE_UNICAST,
    interfaceSlot: 0,
    gateway: NO_ADDRESS6,
    preferredSource: NO_ADDRESS6,
    mtu: 0,
    ...fields,
  };
}

/** What the kernel does: tables from the last to the first, longest prefix, throw goes on. */
function naiveLookup(tables: readonly (readonly Route6[])[], wanted: Address6): Route6 | null {
  for (let index = tables.length - 1; index >= 0; index--) {
    let best: Route6 | null = null;
    for (const candidate of tables[index]!) {
      const covers = samePrefix6(candidate.destination, wanted, candidate.prefixLength);
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

function found(table: RouteTable, wanted: Address6): string {
  const hop = table.lookup6(...wanted);
  return hop === 0 ? 'none' : `${table.kind(hop)} ${table.gatewayWord(hop, 3)}`;
}

/** The next address up or down. */
function step(words: Address6, by: 1 | -1): Address6 {
  const stepped: [number, number, number, number] = [...words];
  for (let word = 3; word >= 0; word--) {
    stepped[word] = (stepped[word]! + by) | 0;
    if (stepped[word] !== (by === 1 ? 0 : -1)) {
      break;
    }
  }
  return stepped;
}

/** Few distinct bits here and there, so that prefixes nest and collide; all lengths. */
const words6 = fc
  .tuple(
    fc.constantFrom(0, 0x20010db8, 0x20010db9, 0xfe800000 | 0, -1),
    fc.constantFrom(0, 1, 0x00010000, 0x80000000 | 0, -1),
    fc.constantFrom(0, 0x00100000, 0x7fffffff, -1),
    fc.constantFrom(0, 1, 2, 0x0ff00000, -1),
  )
  .map((words): Address6 => words);

const routeTables = fc
  .array(
    fc.uniqueArray(
      fc.record({
        words: words6,
        prefixLength: fc.integer({ min: 0, max: 128 }),
        kind: fc.constantFrom(ROUTE_UNICAST, ROUTE_UNICAST, ROUTE_THROW),
        gateway: fc.integer({ min: 1, max: 200 }),
      }),
      {
        maxLength: 40,
        selector: ({ words, prefixLength }) => `${masked(words, prefixLength)}/${prefixLength}`,
      },
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((tables) =>
    tables.map((routes) =>
      routes.map(({ words, prefixLength, kind, gateway }): Route6 => {
        const destination = masked(words, prefixLength);
        return { ...route('::/0'), destination, prefixLength, kind, gateway: [0, 0, 0, gateway] };
      }),
    ),
  );

test('IPv6 longest prefix match equals the naive model, throw routes and tables included', () => {
  const table = new RouteTable(RouteTable.buffer6(CAPACITY));
  fc.assert(
    fc.property(routeTables, fc.array(words6, { maxLength: 20 }), (tables, others) => {
      assert.equal(table.replace6(tables), true);
      const wanted = [...others];
      for (const { destination, prefixLength } of tables.flat()) {
        const word = (index: number) => destination[index]! | ~prefixMask6(prefixLength, index);
        const last: Address6 = [word(0), word(1), word(2), word(3)];
        wanted.push(destination, last, step(destination, -1), step(last, 1));
      }
      for (const one of wanted) {
        const best = naiveLookup(tables, one);
        const expected = best === null ? 'none' : `${best.kind} ${best.gateway[3]}`;
        assert.equal(found(table, one), expected, `address ${one.map((word) => word >>> 0)}`);
      }
    }),
    { numRuns: 300 },
  );
});

test('the nodes that IPv6 routes need are never underestimated', () => {
  const table = new RouteTable(RouteTable.buffer6(CAPACITY));
  fc.assert(
    fc.property(routeTables, (tables) => {
      const plain = tables[0]!.filter(({ kind }) => kind !== ROUTE_THROW);
      assert.equal(table.replace6([plain]), true);
      const needed = trieNodesNeeded6(plain);
      assert.ok(table.nodeCount <= needed, `${table.nodeCount} used, ${needed} foreseen`);
      assert.ok(needed <= table.nodeCount + plain.length * 2, `${needed} foreseen is far too many`);
    }),
    { numRuns: 200 },
  );
});

test('bits of a destination behind its prefix do not matter', () => {
  const table = new RouteTable(RouteTable.buffer6(CAPACITY));
  const gateway = address('fe80::9');
  table.replace6([[route('2001:db8:1:2:3:4:5:6/30', { gateway }), route('fd00::ffff/9')]]);
  assert.equal(found(table, address('2001:db8::1')), `${ROUTE_UNICAST} 9`);
  assert.equal(found(table, address('2001:dbb:ffff::1')), `${ROUTE_UNICAST} 9`);
  assert.equal(found(table, address('2001:dbc::1')), 'none');
  assert.equal(found(table, address('fd7f::1')), `${ROUTE_UNICAST} 0`);
});

test('an IPv6 next-hop record keeps every field of its route', () => {
  const table = new RouteTable(RouteTable.buffer6(CAPACITY));
  const gateway = address('fe80::1:2:3:4');
  const preferredSource = address('2001:db8:9:8:7:6:5:4');
  const fields = { interfaceSlot: 2, gateway, preferredSource, mtu: 1400 };
  table.replace6([[route('::/0', fields), route('2001:db8::/32', fields)], []]);
  const hop = table.lookup6(...address('2001:db8::9'));
  assert.equal(table.lookup6(...address('2600::1')), hop, 'equal ones are shared');
  assert.equal(table.interfaceSlot(hop), 2);
  assert.equal(table.mtu(hop), 1400);
  const four = (read: (word: number) => number) => [0, 1, 2, 3].map(read);
  assert.deepEqual(
    four((word) => table.gatewayWord(hop, word)),
    [...gateway],
  );
  assert.deepEqual(
    four((word) => table.preferredSourceWord(hop, word)),
    [...preferredSource],
  );
  assert.equal(table.nextHopCount, 1);
  assert.equal(table.routeCount, 2);
});

test('the local table hides longer prefixes of the main table', () => {
  const table = new RouteTable(RouteTable.buffer6(CAPACITY));
  const main = [route('2001:db8:1::/48'), route('::/0')];
  table.replace6([main, [route('2001:db8::/32', { kind: ROUTE_LOCAL })]]);
  assert.equal(table.kind(table.lookup6(...address('2001:db8:1::1'))), ROUTE_LOCAL);
  assert.equal(table.kind(table.lookup6(...address('2001:db9::1'))), ROUTE_UNICAST);
});

test('IPv6 routes that do not fit are refused and the old content stays', () => {
  const table = new RouteTable(RouteTable.buffer6({ trieNodes: 40, nextHops: 4 }));
  assert.equal(table.replace6([[route('fd00::1/128', { gateway: address('::1') })]]), true);
  assert.equal(table.nodeCount, 28);
  const many = [route('fd00::1/128'), route('fd01::1/128')];
  assert.equal(table.replace6([many]), false, 'trie nodes');
  const hops = [1, 2, 3, 4].map((last) => route(`200${last}::/16`, { gateway: [0, 0, 0, last] }));
  assert.equal(table.replace6([hops]), false, 'next hops');
  assert.equal(table.overflowCount, 2);
  assert.equal(found(table, address('fd00::1')), `${ROUTE_UNICAST} 1`);
  assert.equal(table.replace6([hops.slice(1)]), true, 'and a later change that fits is taken');
  assert.equal(found(table, address('2004::1')), `${ROUTE_UNICAST} 4`);
  assert.throws(() => RouteTable.buffer6({ trieNodes: 0, nextHops: 4 }), /0 trie nodes/);
});
