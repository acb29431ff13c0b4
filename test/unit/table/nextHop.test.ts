import assert from 'node:assert/strict';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { NEIGHBOUR_FAILED, NEIGHBOUR_UNRESOLVED } from '#xvs/table/neighbour';
import { HOP_HOST, HOP_LOCAL, HOP_NONE, HOP_WAIT, NextHopTable } from '#xvs/table/nextHop';
import { ROUTE_LOCAL, ROUTE_UNICAST, ROUTE_UNREACHABLE, type Route } from '#xvs/table/route';

const CAPACITY = { trieNodes: 1024, nextHops: 16, neighbours: 64 };
const NET = 0x0a000000;
const HOST = NET | 9;
const GATEWAY = NET | 254;
const FAR = 0x08080808;

function route(destination: number, prefixLength: number, fields: Partial<Route> = {}): Route {
  const base = { kind: ROUTE_UNICAST, interfaceSlot: 1, gateway: 0, preferredSource: 0, mtu: 0 };
  return { destination, prefixLength, ...base, ...fields };
}

const ROUTES = [
  [
    route(0, 0, { gateway: GATEWAY, mtu: 1400 }),
    route(NET, 24),
    route(0x0b000000, 8, { interfaceSlot: -1 }),
    route(0x0c000000, 8, { kind: ROUTE_UNREACHABLE }),
  ],
  [route(NET | 1, 32, { kind: ROUTE_LOCAL })],
];
const LINK = { interfaceIndex: 5, macHigh: 1, macLow: 2, mtu: 1500, up: true, address: NET | 1 };

/** A table with routes and a link, as control plane and as worker; `rings` counts doorbells. */
function tables() {
  const buffers = NextHopTable.buffers(CAPACITY);
  const control = new NextHopTable(buffers);
  const state = { rings: 0 };
  const worker = new NextHopTable(buffers, () => {
    state.rings++;
  });
  control.links.set(1, LINK);
  assert.equal(control.replaceRoutes(ROUTES), true);
  return { control, worker, state };
}

test('each sort of destination has its answer', () => {
  const { worker, state } = tables();
  assert.equal(worker.resolve(0x0b000001), HOP_HOST);
  assert.equal(worker.resolve(0x0c000001), HOP_NONE);
  assert.equal(worker.resolve(NET | 1), HOP_LOCAL);
  assert.equal(state.rings, 0);
  assert.equal(worker.resolve(HOST), HOP_WAIT);
  assert.equal(worker.resolve(HOST), HOP_WAIT);
  assert.equal(state.rings, 1, 'the doorbell rings once for one neighbour');
});

test('a destination beyond a gateway uses the gateway as its neighbour', () => {
  const { control, worker } = tables();
  const slot = control.putResolved(1, GATEWAY, 0x02000000 | 7, 0xbeef, 10);
  const hop = worker.resolve(FAR);
  assert.ok(hop > 0);
  assert.equal(worker.slotOf(hop), slot);
  assert.equal(worker.neighbours.macHigh(slot), 0x02000000 | 7);
  assert.equal(worker.neighbours.macLow(slot), 0xbeef);
  assert.equal(worker.neighbours.interfaceSlot(slot), 1);
  assert.equal(worker.pathMtu4(FAR), 1400);
  assert.equal(worker.pathMtu4(HOST), 1500);
  assert.equal(worker.source4(FAR), NET | 1);
});

test('a request becomes a slot, then a hop, without a new generation', () => {
  const { control, worker } = tables();
  const generation = worker.generation;
  worker.resolve(HOST);
  control.requests.drain((link, address) => {
    assert.deepEqual([link, address], [1, HOST]);
    assert.ok(control.putUnresolved(link, address, NEIGHBOUR_UNRESOLVED, 0) > 0);
    return true;
  });
  assert.equal(worker.resolve(HOST), HOP_WAIT);
  const resolutions = worker.resolutions;
  const slot = control.putResolved(1, HOST, 3, 4, 1);
  assert.equal(worker.resolutions, resolutions + 1);
  assert.equal(worker.slotOf(worker.resolve(HOST)), slot);
  assert.equal(worker.generation, generation);
});

test('another MAC takes another slot, and hops to the old one are no longer current', () => {
  const { control, worker } = tables();
  const before = control.putResolved(1, HOST, 3, 4, 100);
  const hop = worker.resolve(HOST);
  worker.neighbours.touch(before, 99);
  assert.equal(worker.isCurrent(hop), true);
  assert.equal(control.putResolved(1, HOST, 3, 4, 101), before, 'the same MAC changes nothing');
  assert.equal(worker.isCurrent(hop), true);
  const after = control.putResolved(1, HOST, 3, 5, 102);
  assert.notEqual(after, before);
  assert.equal(worker.isCurrent(hop), false);
  assert.equal(
    worker.neighbours.macLow(before),
    4,
    'a burst under way still reads the old MAC whole',
  );
  assert.equal(worker.slotOf(worker.resolve(HOST)), after);
  assert.equal(control.neighbours.lastUsedTick(after), 99, 'it counts as used');
  assert.equal(control.neighbours.usedCount, 1);
});

test('a failed neighbour is no route until it answers, and a worker can ask for it', () => {
  const { control, worker } = tables();
  const slot = control.putResolved(1, HOST, 3, 4, 0);
  const hop = worker.resolve(HOST);
  control.putUnresolved(1, HOST, NEIGHBOUR_FAILED, 1);
  assert.equal(worker.isCurrent(hop), false);
  assert.equal(worker.resolve(HOST), HOP_NONE);
  assert.equal(control.neighbours.takeRequest(slot), true);
  control.putResolved(1, HOST, 3, 4, 2);
  assert.equal(worker.slotOf(worker.resolve(HOST)), slot);
});

test('every change of routes and every neighbour that goes makes a new generation', () => {
  const { control, worker } = tables();
  const slot = control.putResolved(1, HOST, 3, 4, 0);
  let hop = worker.resolve(HOST);
  control.replaceRoutes(ROUTES);
  assert.equal(worker.isCurrent(hop), false);
  hop = worker.resolve(HOST);
  control.removeSlot(slot, 0);
  assert.equal(worker.isCurrent(hop), false);
  assert.equal(worker.resolve(HOST), HOP_WAIT);
  control.replaceRoutes([]);
  assert.equal(worker.resolve(HOST), HOP_NONE);
});

test('the generation wraps and hops stay positive', () => {
  const { control, worker } = tables();
  control.putResolved(1, HOST, 3, 4, 0);
  let before = worker.resolve(HOST);
  for (let change = 0; change < 0x10000; change++) {
    control.bump();
    assert.equal(worker.isCurrent(before), false);
    before = worker.resolve(HOST);
    assert.ok(before > 0);
    assert.ok(worker.generation <= 0xffff);
  }
});

test('a slot of the highest number makes a positive hop', () => {
  const buffers = NextHopTable.buffers({ ...CAPACITY, neighbours: 32767 });
  const table = new NextHopTable(buffers);
  table.links.set(1, LINK);
  table.replaceRoutes(ROUTES);
  for (let host = 0; host < 32766; host++) {
    table.putResolved(2, host, 1, 1, 0);
  }
  assert.equal(table.putResolved(1, HOST, 9, 9, 0), 32767);
  const hop = table.resolve(HOST);
  assert.ok(hop > 0);
  assert.equal(table.slotOf(hop), 32767);
  assert.equal(table.putResolved(2, -1, 1, 1, 0), 0, 'full');
  assert.equal(table.neighbours.overflowCount, 1);
});

test('a changed MAC that finds no slot leaves nobody sending to the old one', () => {
  const buffers = NextHopTable.buffers({ ...CAPACITY, neighbours: 1 });
  const table = new NextHopTable(buffers);
  table.links.set(1, LINK);
  table.replaceRoutes(ROUTES);
  table.putResolved(1, HOST, 3, 4, 0);
  const hop = table.resolve(HOST);
  assert.equal(table.putResolved(1, HOST, 3, 5, 1), 0);
  assert.equal(table.isCurrent(hop), false);
  assert.equal(table.resolve(HOST), HOP_WAIT);
});

/** Resolves as fast as it can and counts answers that no state of the table allows. */
const READER = `
const { parentPort, workerData } = require('node:worker_threads');
const { NextHopTable } = require(workerData.module);
const table = new NextHopTable(workerData.buffers);
const stop = new Int32Array(workerData.stop);
let resolved = 0, halves = 0, others = 0;
for (let i = 0; i < 50_000_000 && stop[0] === 0; i++) {
  const hop = table.resolve(${FAR});
  if (hop > 0 && table.isCurrent(hop)) {
    const slot = table.slotOf(hop);
    resolved++;
    if (table.neighbours.macHigh(slot) !== table.neighbours.macLow(slot) * 3) halves++;
  } else if (hop < -1) others++;
  if (i === 100) parentPort.postMessage('running');
}
parentPort.postMessage({ resolved, halves, others });
`;

test('a worker never reads half a MAC or a route that never was', async () => {
  // Enough slots that none is used again while a reader stands still for lack of a CPU.
  const buffers = NextHopTable.buffers({ ...CAPACITY, neighbours: 32767 });
  const control = new NextHopTable(buffers);
  control.links.set(1, LINK);
  control.replaceRoutes(ROUTES);
  control.putResolved(1, GATEWAY, 3, 1, 0);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const module = require.resolve('#xvs/table/nextHop');
  const workerData = { buffers, module, stop: stop.buffer };
  const worker = new Worker(READER, { eval: true, workerData });
  try {
    await new Promise((resolve) => worker.once('message', resolve));
    const end = performance.now() + 400;
    for (let change = 1; performance.now() < end; change++) {
      // Ticks run 20 a change, as if each were two seconds after the last.
      control.putResolved(
        1,
        GATEWAY,
        ((change % 60000) + 1) * 3,
        (change % 60000) + 1,
        change * 20,
      );
      // Two shapes of the trie that agree on the gateway of FAR.
      const deep = change % 2 === 0 ? [route(FAR, 31, { gateway: GATEWAY })] : [];
      control.replaceRoutes([[...ROUTES[0]!, ...deep], ROUTES[1]!]);
    }
    stop[0] = 1;
    const result = await new Promise<{ resolved: number; halves: number; others: number }>(
      (resolve) => worker.once('message', resolve),
    );
    assert.equal(result.halves, 0);
    assert.equal(result.others, 0);
    assert.ok(result.resolved > 1000, `${result.resolved} resolved`);
  } finally {
    stop[0] = 1;
    await worker.terminate();
  }
});
