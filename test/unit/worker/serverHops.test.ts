/** New connections take the next hop that the worker remembers for their server, while it holds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../support/decode';
import { ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverMac,
} from '../../support/simulation';

/** A hop carries so many bits of the generation; changes that bring them back to what they were. */
const GENERATIONS = 65_536;
const OTHER_MAC = '02:00:00:00:02:99';

/** To which MAC the first packet of a new connection goes. */
function receiver(simulation: Simulation, port: number): string {
  const frame = ethernet().ipv4().tcp({ source: port }).build();
  const { sent } = simulation.receive(CLIENT_SIDE, frame);
  assert.equal(sent[SERVER_SIDE].length, 1);
  return String(decode(sent[SERVER_SIDE][0]!)['ethernet.destination']);
}

for (const changes of [1, GENERATIONS - 1, GENERATIONS, 2 * GENERATIONS]) {
  test(`a server's MAC as it is after ${changes} changes`, () => {
    const simulation = new Simulation();
    simulation.addServer(simulation.addService(), serverAddress(1));
    const before = simulation.tables.nextHops.generation;
    assert.equal(receiver(simulation, 40_001), serverMac(1));
    simulation.resolve(SERVER_SIDE, serverAddress(1), OTHER_MAC);
    const { nextHops } = simulation.tables;
    for (let change = 1; change < changes; change++) nextHops.bump();
    assert.equal((nextHops.generation - before) & 0xffff, changes & 0xffff);
    assert.equal(receiver(simulation, 40_002), OTHER_MAC);
  });
}
