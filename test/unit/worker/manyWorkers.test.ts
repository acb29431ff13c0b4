/**
 * As many workers as there may be, each with a pipeline on memory ports, on one table: each makes
 * connections, replies come to another one, and what a worker made it ends.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WORKERS_MAX } from '#xvs/table/lock';
import { createMemory } from '#xvs/table/memory';
import { decode } from '../../support/decode';
import { ethernet } from '../../support/packet';
import { CLIENT_SIDE, SERVER_SIDE, Simulation, VIP, withServers } from '../../support/simulation';

const CONNECTIONS_EACH = 4;
const UDP_TICKS = 3000;

test('254 workers share a table: any finds what another made, each ends its own', () => {
  assert.equal(WORKERS_MAX, 254);
  const simulation = new Simulation({
    workers: WORKERS_MAX,
    connectionCapacity: 65_536,
    chunks: 64,
  });
  withServers(simulation, 4, { protocol: 'udp' });
  const { connections, counters } = simulation.tables;
  const free = connections.freeCount;
  let replies = 0;
  for (let worker = 0; worker < WORKERS_MAX; worker++) {
    for (let number = 0; number < CONNECTIONS_EACH; number++) {
      const port = 10_000 + worker * CONNECTIONS_EACH + number;
      const request = ethernet().ipv4({ destination: VIP }).udp({ source: port, destination: 80 });
      const there = simulation.receive(CLIENT_SIDE, request.build(), worker).sent[SERVER_SIDE];
      const seen = decode(there[0]!);
      const server = String(seen['ipv4.destination']);
      const client = String(seen['ipv4.source']);
      const answer = ethernet()
        .ipv4({ source: server, destination: client })
        .udp({ source: Number(seen['udp.destination']), destination: port });
      const other: number = (worker + 101) % WORKERS_MAX;
      const back = simulation.receive(SERVER_SIDE, answer.build(), other).sent[CLIENT_SIDE];
      assert.equal(decode(back[0]!)['ipv4.source'], VIP);
      replies++;
    }
  }
  assert.equal(replies, WORKERS_MAX * CONNECTIONS_EACH);
  assert.equal(simulation.counter('connections_created'), replies);
  assert.equal(simulation.counter('foreign_packets'), replies);
  assert.equal(connections.freeCount, free - replies);
  simulation.jump(UDP_TICKS + 1);
  simulation.advance(1);
  assert.equal(simulation.counter('connections_expired'), replies);
  assert.equal(connections.freeCount, free);
  assert.equal(counters.length, WORKERS_MAX);
  for (const worker of simulation.workers) worker.assertNoLeak();
});

test('one worker more is refused', () => {
  assert.throws(
    () => createMemory({ workers: WORKERS_MAX + 1, connectionCapacity: 1024, hashSeed: 1 }),
    /255 workers: at most 254 are allowed/,
  );
});
