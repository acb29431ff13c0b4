import assert from 'node:assert/strict';
import test from 'node:test';
import { LINKS_MAX, type Link, LinkTable } from '#xvs/table/link';

const ETH0 = {
  interfaceIndex: 7,
  macHigh: 0x02000000,
  macLow: 0xfffe,
  mtu: 1500,
  up: true,
  address: 0xac19fe64 | 0,
  address6: [0xfd000000 | 0, 1, 2, 3],
} as const;

test('a link written by the control plane is read by every attached table', () => {
  const buffer = LinkTable.buffer();
  const writer = new LinkTable(buffer);
  const reader = new LinkTable(buffer);
  assert.equal(writer.set(3, ETH0), true);
  assert.equal(reader.interfaceIndex(3), 7);
  assert.equal(reader.macHigh(3), 0x02000000);
  assert.equal(reader.macLow(3), 0xfffe);
  assert.equal(reader.mtu(3), 1500);
  assert.equal(reader.up(3), 1);
  assert.equal(reader.address(3), 0xac19fe64 | 0);
  assert.deepEqual(
    [0, 1, 2, 3].map((word) => reader.address6(3, word)),
    [0xfd000000 | 0, 1, 2, 3],
  );
  assert.equal(reader.slotOf(7), 3);
  assert.equal(reader.slotOf(8), -1);
  assert.equal(reader.slotOf(0), -1, 'ifindex 0 is no interface, though empty slots hold it');
});

test('a MAC stands in the table as in a frame, behind two bytes that are another’s', () => {
  const table = new LinkTable(LinkTable.buffer());
  table.set(3, { ...ETH0, macHigh: 0x02112233, macLow: 0x4455 });
  const words = new Int32Array([table.macStart(3), table.macEnd(3)]);
  const expected = [0, 0, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55];
  assert.deepEqual([...new Uint8Array(words.buffer)], expected);
});

test('set says whether anything changed', () => {
  const table = new LinkTable(LinkTable.buffer());
  assert.equal(table.set(0, ETH0), true);
  assert.equal(table.set(0, ETH0), false);
  const changes: Partial<Link>[] = [
    { mtu: 9000 },
    { up: false },
    { macLow: 1 },
    { address: 1 },
    { address6: [0xfd000000 | 0, 1, 2, 4] },
    { address6: [0, 0, 0, 0] },
  ];
  for (const change of changes) {
    assert.equal(table.set(0, { ...ETH0, ...change }), true, JSON.stringify(change));
    table.set(0, ETH0);
  }
});

test('a slot out of range is refused', () => {
  const table = new LinkTable(LinkTable.buffer());
  assert.throws(() => table.set(LINKS_MAX, ETH0), /interface slot 32: allowed are 0\.\.31/);
  assert.throws(() => table.set(-1, ETH0), RangeError);
});
