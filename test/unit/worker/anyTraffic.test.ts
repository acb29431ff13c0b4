/**
 * Whatever comes in, in whatever order, by whatever method: no chunk is lost or freed twice, what
 * leaves fits its link, and its checksums hold, since all that came in had good ones. Two workers,
 * both families, narrow links, few chunks, neighbours that are not known, fragments out of order,
 * errors about what was sent.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressWords } from '#xvs/net/address';
import {
  createWorld,
  error,
  fromClient,
  fromServer,
  pieces,
  server,
  type World,
} from '../../support/anyTraffic';
import { decapsulate } from '../../support/decapsulate';
import { decode, type Fields } from '../../support/decode';
import { ethernet } from '../../support/packet';
import { CLIENT_SIDE, type Outcome, SERVER_SIDE, type Side } from '../../support/simulation';

const RUNS = 60;
const STEPS = 120;
function assertSound(world: World, side: Side, frame: Uint8Array): void {
  assert.ok(frame.length - 14 <= world.mtu[side], `${frame.length - 14} bytes over ${side}`);
  const fields = decode(frame);
  assertChecksums(fields, JSON.stringify(fields));
  const protocol = fields['ipv4.protocol'] ?? fields['ipv6.nextHeader'];
  const isTunnel = protocol === 4 || protocol === 41 || protocol === 47;
  if (!isTunnel || (Number(fields['ipv4.fragment'] ?? 0) & 0x3fff) !== 0) return;
  const found = decapsulate(frame);
  assert.notEqual(found.checksum, 'wrong');
  const type = found.innerFamily === 4 ? 0x0800 : 0x86dd;
  const inner = ethernet({ type }).payload(found.inner).build();
  assertChecksums(decode(inner), 'inside a tunnel');
}

function assertChecksums(fields: Fields, what: string): void {
  const isPart = (Number(fields['ipv4.fragment'] ?? 0) & 0x3fff) !== 0;
  for (const name of ['ipv4', 'tcp', 'udp', 'icmp', 'icmp6']) {
    const held = fields[`${name}.checksumIs`];
    if (name !== 'ipv4' && isPart) continue;
    assert.ok(held !== 'wrong' && held !== 'unfinished', `${name} is ${held}: ${what}`);
  }
}

function take(world: World, { sent }: Outcome): void {
  for (const side of [CLIENT_SIDE, SERVER_SIDE] as const) {
    for (const frame of sent[side]) {
      assertSound(world, side, frame);
      world.sent.push({ side, frame });
    }
  }
  world.sent.splice(0, Math.max(0, world.sent.length - 20));
}

function step(world: World): void {
  const { lot, simulation } = world;
  const kind = lot.below(12);
  let side: Side = CLIENT_SIDE;
  let frame: Uint8Array | null = null;
  if (kind < 6) frame = fromClient(world);
  else if (kind < 8) {
    side = SERVER_SIDE;
    frame = fromServer(world);
  } else if (kind < 10) {
    const about = error(world);
    if (about !== null) ({ side, frame } = about);
  } else if (kind === 10) take(world, simulation.advance(1 + lot.below(20)));
  else if (lot.below(2) === 0) take(world, simulation.jump(1000 + lot.below(9000)));
  else simulation.resolveAll();
  if (frame !== null) {
    const frames = pieces(world, frame);
    take(world, simulation.receive(side, frames, lot.below(2)));
  }
  simulation.assertNoLeak();
}

/** All connections are over: nothing counts them, nothing is kept for them. */
function assertNothingLeft({ simulation, family, protocol }: World): void {
  assert.deepEqual(simulation.connections(), []);
  const { connections, realServers, localAddresses, localPorts } = simulation.tables;
  assert.equal(connections.freeCount, connections.capacity);
  for (const { servers, localAddresses: locals } of simulation.director.services) {
    for (const { slot } of servers) assert.equal(realServers.references(slot), 0);
    for (const { slot } of locals) {
      assert.equal(localAddresses.connections(slot), 0);
      const real = addressWords(server(family));
      const number = protocol === 'tcp' ? 6 : 17;
      localPorts.setKey(
        localAddresses.words,
        localAddresses.addressAt(slot),
        real,
        0,
        8000,
        number,
      );
      assert.equal(localPorts.used, 0);
    }
  }
}

test('any traffic: no chunk is lost, what leaves fits and is whole', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const world = createWorld(seed);
      for (let count = 0; count < STEPS; count++) step(world);
      // The second time a persistence template may end too: all its connections have.
      for (const ticks of [20_000, 1000]) take(world, world.simulation.jump(ticks));
      take(world, world.simulation.advance(40));
      world.simulation.assertNoLeak();
      assertNothingLeft(world);
      for (const { pipeline } of world.simulation.workers) {
        assert.deepEqual([pipeline.egress.waiting, pipeline.fragments.held], [0, 0]);
      }
    }),
    { numRuns: RUNS },
  );
});

const DRAWN = { 'ipv4.id': '', 'ipv4.checksum': '', 'ipv6.extension44': '' };

/** What came of it, less the identifications of what was cut, which are drawn. */
const judged = ({ simulation, sent }: World): unknown => [
  simulation.counters(),
  sent.map(({ side, frame }) => ({ side, ...decode(frame), ...DRAWN })),
];

test('frames that begin in the middle of a word fare as all others do', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 3 }), (seed, shiftBytes) => {
      const [even, odd] = [createWorld(seed), createWorld(seed)];
      for (const { ports } of odd.simulation.workers) {
        for (const port of ports) port.shiftBytes = shiftBytes;
      }
      for (let count = 0; count < STEPS; count++) {
        step(even);
        step(odd);
        if (count % 10 === 0) assert.deepEqual(judged(odd), judged(even));
      }
    }),
    { numRuns: RUNS / 2 },
  );
});
