/**
 * A connection that ends, and whose entry becomes another's, while a packet of it is in another
 * worker's hands: nothing of the old one may get into the new one. What the other worker does is
 * put between two steps of the first one here, where threads would meet once in a million.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONNECTION } from '#xvs/table/connection';
import { decode } from '../../support/decode';
import { ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverAddress6,
  serverMac,
  VIP,
  VIP6,
} from '../../support/simulation';

const [OWNER, OTHER] = [1, 0];

for (const family of [4, 6] as const) {
  test(`IPv${family}: the next hop of a connection that has ended is not another's`, () => {
    const simulation = new Simulation({ workers: 2 });
    const service = simulation.addService({ family, address: family === 4 ? VIP : VIP6 });
    for (const number of [1, 2]) {
      const server = family === 4 ? serverAddress(number) : serverAddress6(number);
      simulation.addServer(service, server);
    }
    const syn = (source: number): Uint8Array => {
      const start = family === 4 ? ethernet().ipv4() : ethernet().ipv6();
      return start.tcp({ source }).build();
    };
    const mac = (frame: Uint8Array): unknown => decode(frame)['ethernet.destination'];
    const [first] = simulation.receive(CLIENT_SIDE, syn(40001), OWNER).sent[SERVER_SIDE];
    const { nextHops, connections } = simulation.tables;
    const owner = simulation.workers[OWNER]!;
    const entry = 1;
    nextHops.bump();
    const name = family === 4 ? 'resolve' : 'resolve6';
    const resolve = nextHops[name].bind(nextHops) as (...words: number[]) => number;
    let renewed: Uint8Array | undefined;
    nextHops[name] = (...words: number[]): number => {
      nextHops[name] = resolve;
      const hop = resolve(...words);
      connections.entries[(entry << 4) + CONNECTION.at.expiresAt] = simulation.tick;
      owner.pipeline.expiry.sooner(entry, simulation.tick);
      owner.tidyUp(simulation.tick + 1);
      owner.receive(CLIENT_SIDE, [syn(40002)], simulation.tick);
      renewed = owner.take().sent[SERVER_SIDE][0];
      return hop;
    };
    simulation.receive(CLIENT_SIDE, syn(40001), OTHER);
    assert.equal(simulation.connections().length, 1, 'the entry has become the new one');
    assert.notEqual(mac(renewed!), mac(first!), 'the new one is at the other server');
    const [later] = simulation.receive(CLIENT_SIDE, syn(40002), OWNER).sent[SERVER_SIDE];
    assert.equal(mac(later!), mac(renewed!));
    assert.ok([serverMac(1), serverMac(2)].includes(String(mac(later!))));
    simulation.assertNoLeak();
  });
}
