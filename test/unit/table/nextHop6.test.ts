/** Next hops of IPv6 destinations; for both families, how long a packet may be, and its source. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { addressWords } from '#xvs/net/address';
import { type Address6, NO_ADDRESS6 } from '#xvs/table/address6';
import { NEIGHBOUR_FAILED, NEIGHBOUR_UNRESOLVED } from '#xvs/table/neighbour';
import { HOP_HOST, HOP_LOCAL, HOP_NONE, HOP_WAIT, NextHopTable } from '#xvs/table/nextHop';
import {
  ROUTE_LOCAL,
  ROUTE_UNICAST,
  ROUTE_UNREACHABLE,
  type Route,
  type Route6,
} from '#xvs/table/route';

const CAPACITY = {
  trieNodes: 64,
  nextHops: 16,
  neighbours: 64,
  routes6: { trieNodes: 256, nextHops: 16 },
};

function six(text: string): Address6 {
  const [word0, word1, word2, word3] = addressWords(text);
  return [word0!, word1!, word2!, word3!];
}

const OWN = six('fd00:77::1');
const HOST = six('fd00:77::9');
const GATEWAY = six('fe80::254');
const FAR = six('2001:db8::8');
const LINK = {
  interfaceIndex: 5,
  macHigh: 1,
  macLow: 2,
  mtu: 1500,
  up: true,
  address: 0x0a000001,
  address6: OWN,
};

function route6(prefix: string, fields: Partial<Route6> = {}): Route6 {
  const [destination, prefixLength] = prefix.split('/');
  return {
    destination: six(destination!),
    prefixLength: Number(prefixLength),
    kind: ROUTE_UNICAST,
    interfaceSlot: 1,
    gateway: NO_ADDRESS6,
    preferredSource: NO_ADDRESS6,
    mtu: 0,
    ...fields,
  };
}

function route4(destination: number, prefixLength: number, fields: Partial<Route> = {}): Route {
  const base = { kind: ROUTE_UNICAST, interfaceSlot: 1, gateway: 0, preferredSource: 0, mtu: 0 };
  return { destination, prefixLength, ...base, ...fields };
}

const ROUTES6 = [
  [
    route6('::/0', { gateway: GATEWAY, mtu: 1400 }),
    route6('fd00:77::/64'),
    route6('fd00:78::/64', { interfaceSlot: -1 }),
    route6('fd00:79::/64', { kind: ROUTE_UNREACHABLE }),
    route6('fd00:80::/64', { gateway: GATEWAY, preferredSource: six('fd00:77::5') }),
  ],
  [route6('fd00:77::1/128', { kind: ROUTE_LOCAL })],
];

/** A table with routes and a link, as control plane and as worker; `rings` counts doorbells. */
function tables() {
  const buffers = NextHopTable.buffers(CAPACITY);
  const control = new NextHopTable(buffers);
  const state = { rings: 0 };
  const worker = new NextHopTable(buffers, () => {
    state.rings++;
  });
  control.links.set(1, LINK);
  assert.equal(control.replaceRoutes6(ROUTES6), true);
  return { control, worker, state };
}

test('each sort of IPv6 destination has its answer', () => {
  const { control, worker, state } = tables();
  assert.equal(worker.resolve6(...six('fd00:78::1')), HOP_HOST);
  assert.equal(worker.resolve6(...six('fd00:79::1')), HOP_NONE);
  assert.equal(worker.resolve6(...OWN), HOP_LOCAL);
  assert.equal(state.rings, 0);
  assert.equal(worker.resolve6(...HOST), HOP_WAIT);
  assert.equal(worker.resolve6(...HOST), HOP_WAIT);
  assert.equal(state.rings, 1, 'the doorbell rings once for one neighbour');
  assert.equal(worker.resolve6(...six('fd00:77::1:0:9')), HOP_WAIT);
  assert.equal(state.rings, 2, 'and again for one that differs in the third word only');
  assert.equal(worker.resolve(0x0a000009), HOP_NONE, 'IPv4 has routes of its own');
  control.replaceRoutes6([]);
  assert.equal(worker.resolve6(...HOST), HOP_NONE);
});

test('an IPv6 destination beyond a gateway uses the gateway as its neighbour', () => {
  const { control, worker } = tables();
  const slot = control.putResolved(1, GATEWAY, 0x02000000 | 7, 0xbeef, 10);
  const hop = worker.resolve6(...FAR);
  assert.ok(hop > 0);
  assert.equal(worker.slotOf(hop), slot);
  assert.equal(worker.isCurrent(hop), true);
  assert.equal(worker.neighbours.macLow(slot), 0xbeef);
  assert.deepEqual(control.neighbours.address(slot), GATEWAY);
});

test('an IPv6 request becomes a slot, then a hop; it fails, and answers again', () => {
  const { control, worker } = tables();
  worker.resolve6(...HOST);
  control.requests.drain((link, address) => {
    assert.deepEqual([link, address], [1, HOST]);
    assert.ok(control.putUnresolved(link, address, NEIGHBOUR_UNRESOLVED, 0) > 0);
    return true;
  });
  assert.equal(worker.resolve6(...HOST), HOP_WAIT);
  const slot = control.putResolved(1, HOST, 3, 4, 1);
  const hop = worker.resolve6(...HOST);
  assert.equal(worker.slotOf(hop), slot);
  control.putUnresolved(1, HOST, NEIGHBOUR_FAILED, 2);
  assert.equal(worker.isCurrent(hop), false);
  assert.equal(worker.resolve6(...HOST), HOP_NONE);
  assert.equal(control.neighbours.takeRequest(slot), true);
  control.putResolved(1, HOST, 3, 4, 3);
  assert.equal(worker.slotOf(worker.resolve6(...HOST)), slot);
  const moved = control.putResolved(1, HOST, 3, 5, 4);
  assert.notEqual(moved, slot);
  assert.equal(worker.slotOf(worker.resolve6(...HOST)), moved);
  control.removeSlot(moved, 5);
  assert.equal(worker.resolve6(...HOST), HOP_WAIT);
});

test('an IPv4 neighbour is never taken for an IPv6 one of the same words', () => {
  const { control, worker } = tables();
  control.replaceRoutes([[route4(0x0a000000, 8)]]);
  const alike: Address6 = [0x0a000009, 0, 0, 0];
  control.replaceRoutes6([[route6('::/0')]]);
  const slot4 = control.putResolved(1, 0x0a000009, 1, 4, 0);
  assert.equal(worker.resolve6(...alike), HOP_WAIT);
  const slot6 = control.putResolved(1, alike, 1, 6, 0);
  assert.equal(worker.slotOf(worker.resolve6(...alike)), slot6);
  assert.equal(worker.slotOf(worker.resolve(0x0a000009)), slot4);
  assert.equal(control.neighbours.address(slot4), 0x0a000009);
  control.removeSlot(slot4, 1);
  assert.equal(worker.resolve(0x0a000009), HOP_WAIT);
  assert.equal(worker.slotOf(worker.resolve6(...alike)), slot6);
});

test('a change of IPv6 routes makes hops of both families old', () => {
  const { control, worker } = tables();
  control.putResolved(1, HOST, 3, 4, 0);
  const hop = worker.resolve6(...HOST);
  control.replaceRoutes([[route4(0x0a000000, 8)]]);
  assert.equal(worker.isCurrent(hop), false);
  const again = worker.resolve6(...HOST);
  assert.equal(worker.isCurrent(again), true);
  control.replaceRoutes6(ROUTES6);
  assert.equal(worker.isCurrent(again), false);
});

test('the source is the route’s own, else the primary address of the link', () => {
  const { control, worker } = tables();
  const source = (text: string) =>
    worker.source6(...six(text)) ? [...worker.sourceWords] : 'none';
  assert.deepEqual(source('fd00:80::1'), [...six('fd00:77::5')]);
  assert.deepEqual(source('2001:db8::1'), [...OWN]);
  assert.deepEqual(source('fd00:78::1'), 'none', 'by an interface that is not served');
  assert.deepEqual(source('fd00:79::1'), 'none', 'unreachable');
  control.links.set(1, { ...LINK, address6: NO_ADDRESS6 });
  assert.deepEqual(source('2001:db8::1'), 'none');
  control.replaceRoutes([
    [route4(0x0a000000, 8), route4(0x0b000000, 8, { preferredSource: 0x0a000005 })],
  ]);
  assert.equal(worker.source4(0x0a000009), 0x0a000001);
  assert.equal(worker.source4(0x0b000009), 0x0a000005);
  assert.equal(worker.source4(0x0c000009), 0, 'no route');
});

test('a route’s MTU counts for packets longer than the smallest there is', () => {
  const { control, worker } = tables();
  const hop = control.putResolved(1, GATEWAY, 3, 4, 0) << 16;
  assert.deepEqual([worker.fitsRoutes(1400), worker.fitsRoutes(1400 + 1)], [true, false]);
  assert.equal(worker.pathMtu6(...FAR), 1400);
  assert.equal(worker.pathMtu6(...HOST), 1500);
  assert.equal(worker.pathMtu6(...six('fd00:79::1')), 0, 'unreachable');
  assert.equal(worker.mtu6(hop, ...FAR, 1401), 1400);
  assert.equal(worker.mtu6(hop, ...HOST, 1401), 1500);
  control.replaceRoutes([[route4(0x0a000000, 8, { mtu: 1300 }), route4(0x0b000000, 8)]]);
  assert.deepEqual([worker.fitsRoutes(1300), worker.fitsRoutes(1300 + 1)], [true, false]);
  const fit = [1300, 1301].map((bytes) => worker.fits(hop, bytes));
  assert.deepEqual(fit, [true, false]);
  assert.equal(worker.mtu4(hop, 0x0a000009, 1301), 1300);
  assert.equal(worker.mtu4(hop, 0x0b000009, 1301), 1500);
  assert.equal(worker.mtu4(hop, 0x0a000009, 1300), 1500, 'routes are not asked: it fits');
  control.replaceRoutes([[route4(0x0a000000, 8, { mtu: 9000 })]]);
  assert.equal(worker.mtu4(hop, 0x0a000009, 9100), 1500, 'no longer than the link takes');
  control.replaceRoutes6([]);
  assert.deepEqual(
    [1500, 1501].map((bytes) => worker.fits(hop, bytes)),
    [true, false],
  );
  assert.deepEqual([worker.fitsRoutes(9000), worker.fitsRoutes(9000 + 1)], [true, false]);
  control.replaceRoutes([]);
  assert.equal(worker.fitsRoutes(0x7fffffff), true);
  assert.equal(worker.mtu4(hop, 0x0a000009, 65535), 1500);
});
