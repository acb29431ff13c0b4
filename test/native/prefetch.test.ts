/** Prefetching changes nothing that can be seen: these tests are about arguments and life. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LINE_BYTES } from '#xvs/layout/record';
import { addon, lineOffset } from '#xvs/port/addon';
import { createMemory } from '#xvs/table/memory';

test('a prefetcher takes any count and any place, and reads and writes nothing', () => {
  const table = new Int32Array(new SharedArrayBuffer(64 * 16 * 4)).fill(7);
  const places = new Int32Array(64).fill(-1);
  const before = addon.openHandles()['prefetchers']!;
  const prefetcher = addon.createPrefetcher(table, places, 0xffffff, 4);
  assert.equal(addon.openHandles()['prefetchers'], before + 1);
  for (const count of [0, 1, 64, 65, 1 << 30]) prefetcher.fetch(count);
  assert.ok(table.every((word) => word === 7));
  assert.ok(places.every((place) => place === -1));
  prefetcher.close();
  assert.equal(addon.openHandles()['prefetchers'], before);
  assert.throws(() => prefetcher.fetch(1), /fetch/);
});

test('what is no table or out of range is refused by name', () => {
  const table = new Int32Array(16);
  const places = new Int32Array(8);
  const create = addon.createPrefetcher;
  assert.throws(() => create(new Uint8Array(8) as unknown as Int32Array, places, 1, 4), /table/);
  assert.throws(() => create(table, null as unknown as Int32Array, 1, 4), /places/);
  assert.throws(() => create(table, places, -1, 4), /mask/);
  assert.throws(() => create(table, places, 1, 17), /shift/);
});

test('entries and buckets begin at cache lines, wherever their memory lies', () => {
  // Small memory lies anywhere in a page, large in pages of its own.
  for (const connectionCapacity of [1024, 4096, 100_000]) {
    const options = { workers: 1, connectionCapacity, hashSeed: 1, lineOffset };
    const { connections } = createMemory(options);
    for (const [buffer, offset] of [
      [connections.entries, connections.entriesOffset],
      [connections.index, connections.indexOffset],
      [connections.extension, connections.extensionOffset],
    ] as const) {
      assert.ok(offset >= 0 && offset < LINE_BYTES);
      // pageOffset: bytes to the next page, a page being a number of whole lines.
      assert.equal((addon.pageOffset(buffer) - offset) % LINE_BYTES, 0, `${connectionCapacity}`);
    }
  }
});
