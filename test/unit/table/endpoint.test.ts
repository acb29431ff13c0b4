import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Address6, HostAddress } from '#xvs/table/address6';
import { type Endpoint, EndpointTable } from '#xvs/table/endpoint';
import { REAL_SERVERS_MAX } from '#xvs/table/realServer';

const TCP = 6;

function has(table: EndpointTable, { protocol, address, port }: Endpoint): boolean {
  return typeof address === 'number'
    ? table.has(protocol, address, port)
    : table.has6(protocol, ...address, port);
}

const word = fc.constantFrom(0, 1, -1, 0x0a000001, 0xfd000000 | 0);
const addresses = fc.oneof<fc.Arbitrary<HostAddress>[]>(
  word,
  fc.tuple(word, word, word, word).map((words): Address6 => words),
);
const endpoints = fc.record({
  protocol: fc.constantFrom(TCP, 17, 132),
  address: addresses,
  port: fc.constantFrom(0, 1, 80, 65535),
});

test('what was put in last is there and nothing else, of both families', () => {
  const buffer = EndpointTable.buffer();
  const control = new EndpointTable(buffer);
  const worker = new EndpointTable(buffer);
  const keyOf = ({ protocol, address, port }: Endpoint): string =>
    `${protocol} ${typeof address} ${address} ${port}`;
  fc.assert(
    fc.property(
      fc.array(endpoints, { maxLength: 60 }),
      fc.array(endpoints, { maxLength: 60 }),
      (held, others) => {
        control.replace(held);
        const wanted = new Set(held.map(keyOf));
        for (const one of [...held, ...others]) {
          assert.equal(has(worker, one), wanted.has(keyOf(one)), keyOf(one));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('an empty table has nothing, and more than there can be is refused', () => {
  const table = new EndpointTable(EndpointTable.buffer());
  assert.equal(table.has(TCP, 1, 80), false);
  const many = new Array<Endpoint>(REAL_SERVERS_MAX + 1).fill({
    protocol: TCP,
    address: 1,
    port: 1,
  });
  assert.throws(() => table.replace(many), /262145 endpoints: allowed are 262144/);
});

test('a long list takes a table of its size, and a short one after it', () => {
  const table = new EndpointTable(EndpointTable.buffer());
  const list = (count: number): Endpoint[] =>
    Array.from({ length: count }, (_, host) => ({
      protocol: TCP,
      address: [0xfd000000 | 0, 0, 0, host] as const,
      port: 80,
    }));
  table.replace(list(5000));
  assert.ok(list(5000).every((one) => has(table, one)));
  assert.equal(table.has6(TCP, 0xfd000000 | 0, 0, 0, 5000, 80), false);
  table.replace(list(3));
  assert.ok(list(3).every((one) => has(table, one)));
  assert.equal(table.has6(TCP, 0xfd000000 | 0, 0, 0, 3, 80), false);
});
