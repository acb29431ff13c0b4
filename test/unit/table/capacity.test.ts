/** The largest table there may be: entries up to 2^24 - 1, which is what an index slot can name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONNECTIONS_MAX, ConnectionTable } from '#xvs/table/connection';
import { CONNECTION, connectionHash } from '#xvs/table/connectionEntry';

const AT = CONNECTION.at;
const SEED = 7;
const [TICK, OWNER, WORKER] = [1000, 1, 0];
const TCP = 6;
/** Word of the stock's memory: entries from there on were never used. */
const STOCK_UNUSED = 1;
const LEFT = 70;

test('the last entries of the largest table are found and given back as any other', () => {
  assert.equal(CONNECTIONS_MAX, 16_777_215);
  // Memory is given out page by page: this test touches a few hundred of them.
  const buffers = ConnectionTable.buffers(CONNECTIONS_MAX);
  const first = CONNECTIONS_MAX + 1 - LEFT;
  new Int32Array(buffers.control)[STOCK_UNUSED] = first;
  const table = new ConnectionTable(buffers, SEED);
  const made: number[] = [];
  for (let entry = table.allocate(WORKER); entry !== 0; entry = table.allocate(WORKER)) {
    const at = entry << 4;
    table.entries[at + AT.client] = entry;
    table.entries[at + AT.virtual] = 9;
    table.entries[at + AT.clientPorts] = (1000 << 16) | 80;
    table.entries[at + AT.real] = 8;
    table.entries[at + AT.reply] = entry;
    table.entries[at + AT.replyPorts] = (8000 << 16) | 1000;
    table.entries[at + AT.expiresAt] = TICK + 100;
    table.entries[at + AT.identity] = (OWNER << 8) | TCP;
    assert.equal(table.insert(entry, OWNER, true, TICK), 0);
    made.push(entry);
  }
  assert.equal(made.length, LEFT);
  assert.equal(Math.max(...made), CONNECTIONS_MAX);
  const find = (source: number, destination: number, ports: number) =>
    table.find(
      connectionHash(SEED, TCP, source, destination, ports),
      TCP,
      source,
      destination,
      ports,
      TICK,
    );
  for (const entry of made) {
    assert.equal(find(entry, 9, (1000 << 16) | 80), entry, 'by the client');
    assert.equal(find(8, entry, (8000 << 16) | 1000), entry, 'by the server');
  }
  for (const entry of made) {
    table.remove(entry, true);
    table.free(entry, WORKER);
  }
  assert.equal(table.freeCount, LEFT);
  assert.equal(find(CONNECTIONS_MAX, 9, (1000 << 16) | 80), 0);
});
