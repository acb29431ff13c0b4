/** Long lists of connections come in pieces, which together are one answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionDump } from '#xvs/control/connectionDump';
import { Pool } from '#xvs/control/pool';
import type { ConnectionList, ConnectionQuery } from '#xvs/control/protocol';
import { CONNECTION, CONNECTION_LIVES } from '#xvs/table/connectionEntry';
import { attachTables, createMemory } from '#xvs/table/memory';
import { UDP_NORMAL } from '#xvs/table/state';

const AT = CONNECTION.at;
const COUNT = 10_000;
const TICK = 1000;
const UDP = 17;

function stand() {
  const memory = createMemory({ workers: 1, connectionCapacity: COUNT, hashSeed: 1 });
  const { connections } = attachTables(memory, () => {});
  for (let number = 0; number < COUNT; number++) {
    const entry = connections.allocate(0);
    const at = entry << 4;
    connections.entries[at + AT.client] = 0x0a000000 + number;
    connections.entries[at + AT.state] = CONNECTION_LIVES | UDP_NORMAL;
    connections.entries[at + AT.expiresAt] = TICK + 100;
    connections.entries[at + AT.identity] = (1 << 8) | UDP;
  }
  return { memory, connections };
}

test('a list is made piece by piece, and is what it would be in one', async () => {
  const { memory, connections } = stand();
  const pool = new Pool();
  const dump = new ConnectionDump(memory, pool);
  const read = async (query: ConnectionQuery) => {
    const answer = await dump.connections(TICK, query);
    assert.ok(!(answer instanceof Uint8Array));
    const pieces: string[] = [];
    for await (const piece of answer) pieces.push(Buffer.from(piece).toString());
    return { pieces, list: JSON.parse(pieces.join('')) as ConnectionList };
  };
  try {
    const { pieces, list } = await read({ sort: 'client', reverse: true });
    assert.equal(list.total, COUNT);
    assert.equal(list.connections.length, COUNT);
    assert.equal(list.connections[0]?.client, '10.0.39.15');
    assert.equal(list.connections.at(-1)?.client, '10.0.0.0');
    const longest = Math.max(...pieces.map((piece) => piece.length));
    assert.ok(longest < pieces.join('').length / 2, `a piece of ${longest} characters`);
    const limited = (await read({ limit: 5000 })).list;
    assert.equal(limited.total, COUNT);
    assert.equal(limited.connections.length, 5000);
    assert.deepEqual((await read({ expiresWithin: 5 })).list, { total: 0, connections: [] });

    // What ends while the reader takes his time is in no later piece.
    const answer = await dump.connections(TICK);
    assert.ok(!(answer instanceof Uint8Array));
    const rest = answer[Symbol.asyncIterator]();
    let text = `${(await rest.next()).value}${Buffer.from((await rest.next()).value)}`;
    for (let entry = 1; entry < connections.usedEnd; entry++) {
      connections.entries[(entry << 4) + AT.expiresAt] = TICK;
    }
    for (let next = await rest.next(); !next.done; next = await rest.next()) text += next.value;
    const cut = JSON.parse(text) as ConnectionList;
    assert.equal(cut.total, COUNT);
    assert.ok(cut.connections.length > 0 && cut.connections.length < COUNT);
    const counts = await dump.connections(TICK, { count: 'all' });
    assert.ok(counts instanceof Uint8Array);
    assert.equal(JSON.parse(Buffer.from(counts).toString()).total, 0);
  } finally {
    await pool.close();
  }
});
