/**
 * Fragments through the whole pipeline, both families: what leaves is put together again, as the
 * receiver does, and compared with what the whole packet would have become.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIpv4 } from '#xvs/net/address';
import { realServerTraffic, TRAFFIC_IN_PACKETS, TRAFFIC_OUT_PACKETS } from '#xvs/table/counter';
import { ROUTE_UNICAST } from '#xvs/table/route';
import { cut } from '../../support/cut';
import { decode } from '../../support/decode';
import { ethernet, type PacketBuilder } from '../../support/packet';
import { reassemble } from '../../support/reassemble';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  type Side,
  Simulation,
  type SimulationOptions,
  serverAddress,
  serverAddress6,
  serverMac,
  VIP,
  VIP6,
} from '../../support/simulation';

type Family = 4 | 6;
const FAMILIES: readonly Family[] = [4, 6];
const METHODS = ['nat', 'dr'] as const;
const SERVER_PORT = 8000;
const HELD_TICKS = 10;

const content = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, at) => (at * 11 + (at >> 8)) & 0xff);

/** A UDP service on port 80 with one server. */
function director(
  family: Family,
  method: (typeof METHODS)[number] = 'nat',
  options: SimulationOptions = {},
): Simulation {
  const simulation = new Simulation(options);
  const address = family === 4 ? VIP : VIP6;
  const netmask = family === 4 ? '255.255.255.255' : '128';
  const service = simulation.addService({ family, protocol: 'udp', address }, { netmask });
  const server = family === 4 ? serverAddress(1) : serverAddress6(1);
  simulation.addServer(service, server, method === 'nat' ? SERVER_PORT : 80, { method });
  return simulation;
}

function ip(builder: PacketBuilder, family: Family, fields: Record<string, unknown> = {}) {
  return family === 4 ? builder.ipv4(fields) : builder.ipv6(fields);
}
/** A datagram from the client to the service. */
function request(family: Family, bytes: number, source = 40001): Uint8Array {
  return ip(ethernet(), family).udp({ source }).payload(content(bytes)).build();
}
/** The server's answer to it. */
function answer(family: Family, bytes: number, source = 40001): Uint8Array {
  const from = family === 4 ? serverAddress(1) : serverAddress6(1);
  const to = family === 4 ? '10.0.1.100' : 'fd00:1::100';
  const macs = { source: serverMac(1), destination: '02:00:00:00:02:01' };
  return ip(ethernet(macs), family, { source: from, destination: to })
    .udp({ source: SERVER_PORT, destination: source })
    .payload(content(bytes))
    .build();
}

/** What a whole datagram becomes: the reference. Frames in memory may be longer than the MTU. */
function whole(family: Family, side: Side, frame: Uint8Array, method: 'nat' | 'dr' = 'nat') {
  const simulation = director(family, method);
  if (side === SERVER_SIDE) simulation.receive(CLIENT_SIDE, request(family, 1));
  return simulation.receive(side, frame).sent[side === CLIENT_SIDE ? SERVER_SIDE : CLIENT_SIDE];
}
/** But for ids, which a whole IPv4 packet has in any case, and checksums over them. */
function parts(frames: readonly Uint8Array[]): unknown[] {
  return frames.map((frame) => {
    const { 'ipv4.id': _id, 'ipv4.checksum': _sum, ...rest } = decode(frame);
    return rest;
  });
}

for (const family of FAMILIES) {
  for (const method of METHODS) {
    test(`IPv${family}, ${method}: fragments become what the whole datagram becomes`, () => {
      const frame = request(family, 1200);
      const simulation = director(family, method);
      const { sent, host } = simulation.receive(CLIENT_SIDE, cut(frame, 400));
      assert.equal(sent[SERVER_SIDE].length, 4);
      assert.deepEqual(host, []);
      const expected = whole(family, CLIENT_SIDE, frame, method);
      assert.deepEqual(parts(reassemble(sent[SERVER_SIDE])), parts(expected));
      assert.equal(decode(reassemble(sent[SERVER_SIDE])[0]!)['udp.checksumIs'], 'correct');
      simulation.assertNoLeak();
    });
  }

  test(`IPv${family}: the server's answer in fragments goes back to the client`, () => {
    const simulation = director(family);
    simulation.receive(CLIENT_SIDE, request(family, 1));
    const frame = answer(family, 1300);
    const { sent } = simulation.receive(SERVER_SIDE, cut(frame, 480));
    assert.deepEqual(
      parts(reassemble(sent[CLIENT_SIDE])),
      parts(whole(family, SERVER_SIDE, frame)),
    );
    const { inPackets, outPackets } = traffic(simulation);
    assert.deepEqual([inPackets, outPackets], [1, 3], 'each fragment is a packet');
  });

  test(`IPv${family}: later fragments before their first one wait for it, in their order`, () => {
    const simulation = director(family);
    const [first, second, third] = cut(request(family, 1200), 480);
    assert.deepEqual(simulation.receive(CLIENT_SIDE, [third!, second!]).sent, [[], []]);
    assert.equal(simulation.counter('fragments_held'), 2);
    simulation.assertNoLeak();
    const { sent } = simulation.receive(CLIENT_SIDE, first!);
    const offsets = sent[SERVER_SIDE].map((frame) => reassembledOffset(frame));
    assert.deepEqual(offsets, [0, 960, 480]);
    assert.equal(simulation.counter('fragments_rejoined'), 2);
    assert.deepEqual(simulation.verdicts(), {});
    simulation.assertNoLeak();
  });

  test(`IPv${family}: without its first fragment a later one goes to the host, a second on`, () => {
    const simulation = director(family);
    const [, second] = cut(request(family, 800), 480);
    simulation.receive(CLIENT_SIDE, second!);
    assert.deepEqual(simulation.advance(HELD_TICKS - 1).host, []);
    assert.deepEqual(simulation.advance(1).host, [second]);
    assert.deepEqual(simulation.verdicts(), { fragment_orphan: 1 });
    assert.equal(simulation.counter('fragments_timed_out'), 1);
    simulation.assertNoLeak();
  });

  test(`IPv${family}: another worker's first fragment frees what this one holds`, () => {
    const simulation = director(family, 'nat', { workers: 2 });
    const frame = request(family, 1200);
    const [first, second, third] = cut(frame, 480);
    simulation.receive(CLIENT_SIDE, second!, 1);
    const begun = simulation.receive(CLIENT_SIDE, first!, 0).sent[SERVER_SIDE];
    assert.equal(begun.length, 1);
    // At its next round, in the same tick; a third one comes on time.
    const rest = simulation.receive(CLIENT_SIDE, third!, 1).sent[SERVER_SIDE];
    assert.deepEqual(rest.map(reassembledOffset), [480, 960], 'in the order in which they came');
    const expected = whole(family, CLIENT_SIDE, frame);
    assert.deepEqual(parts(reassemble([...begun, ...rest])), parts(expected));
    assert.equal(simulation.counter('foreign_packets'), 2);
    simulation.assertNoLeak();
  });

  test(`IPv${family}: in any order, over two workers, several datagrams at once`, () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7, 8], { minLength: 9 });
    const places = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 9, maxLength: 9 });
    const datagrams = [0, 1, 2].map((number) => request(family, 1200, 40001 + number));
    const byPort = (one: unknown, other: unknown) => port(one) - port(other);
    const expected = parts(datagrams.flatMap((frame) => whole(family, CLIENT_SIDE, frame)));
    fc.assert(
      fc.property(order, places, (sequence, workers) => {
        const simulation = director(family, 'nat', { workers: 2, chunks: 128 });
        const frames = datagrams.flatMap((frame, number) => cut(frame, 480, 100 + number));
        const sent: Uint8Array[] = [];
        sequence.forEach((frame, place) => {
          const outcome = simulation.receive(CLIENT_SIDE, frames[frame]!, workers[place]!);
          sent.push(...outcome.sent[SERVER_SIDE]);
        });
        sent.push(...simulation.advance(1).sent[SERVER_SIDE]);
        assert.deepEqual(parts(reassemble(sent)).sort(byPort), expected.sort(byPort));
        assert.deepEqual(simulation.verdicts(), {});
        simulation.assertNoLeak();
      }),
      { numRuns: 10 },
    );
  });

  test(`IPv${family}: fragments to a port without a service are all the host's, at once`, () => {
    const simulation = director(family);
    const frame = ip(ethernet(), family).udp({ destination: 9 }).payload(content(1000)).build();
    const [first, second, third] = cut(frame, 480);
    const { host } = simulation.receive(CLIENT_SIDE, [second!, first!, third!]);
    assert.deepEqual(reassemble(host), reassemble([first!, second!, third!]));
    assert.deepEqual(simulation.verdicts(), { no_connection: 1, fragment: 2 });
    simulation.assertNoLeak();
  });
}

function port(fields: unknown): number {
  return Number((fields as Record<string, number>)['udp.source']);
}
function reassembledOffset(frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset);
  const isIpv4 = view.getUint16(12) === 0x0800;
  return isIpv4 ? (view.getUint16(20) & 0x1fff) * 8 : view.getUint16(56) & 0xfff8;
}
function traffic(simulation: Simulation): { inPackets: number; outPackets: number } {
  const [block] = simulation.tables.counters;
  const at = realServerTraffic(1);
  return {
    inPackets: block![at + TRAFFIC_IN_PACKETS]!,
    outPackets: block![at + TRAFFIC_OUT_PACKETS]!,
  };
}

test('a packet that waited for its neighbour is cut when it goes', () => {
  const simulation = director(4, 'nat', { neighbours: false });
  simulation.resolve(CLIENT_SIDE, '10.0.1.100', '02:00:00:00:01:64');
  shorten(simulation, 600);
  const datagrams = [request(4, 1000, 40001), request(4, 1000, 40002)];
  simulation.receive(CLIENT_SIDE, datagrams);
  assert.equal(simulation.counter('neighbour_waited'), 2);
  simulation.resolve(SERVER_SIDE, serverAddress(1), serverMac(1));
  const { sent } = simulation.advance(1);
  assert.equal(sent[SERVER_SIDE].length, 4);
  const lengths = sent[SERVER_SIDE].map((frame) => frame.length - 14);
  assert.ok(Math.max(...lengths) <= 600);
  assert.equal(simulation.counter('packets_split'), 2);
  simulation.assertNoLeak();
});

test('a route with a smaller MTU than its link has packets cut, or refused with that MTU', () => {
  const simulation = director(4);
  const { nextHops } = simulation.tables;
  const narrow = {
    destination: parseIpv4(serverAddress(1)),
    prefixLength: 32,
    kind: ROUTE_UNICAST,
    interfaceSlot: SERVER_SIDE,
    gateway: 0,
    preferredSource: 0,
    mtu: 700,
  };
  const client = { ...narrow, destination: parseIpv4('10.0.1.0'), prefixLength: 24, mtu: 0 };
  assert.ok(nextHops.replaceRoutes([[narrow, { ...client, interfaceSlot: CLIENT_SIDE }]]));
  const { sent } = simulation.receive(CLIENT_SIDE, request(4, 1000));
  assert.deepEqual(
    sent[SERVER_SIDE].map((frame) => frame.length - 14),
    [20 + 680, 20 + 328],
  );
  const whole4 = ethernet().ipv4({ fragment: 0x4000 }).udp().payload(content(1000)).build();
  const refused = simulation.receive(CLIENT_SIDE, whole4).sent;
  assert.deepEqual(refused[SERVER_SIDE], []);
  const error = decode(refused[CLIENT_SIDE][0]!);
  assert.deepEqual([error['icmp.type'], error['icmp.code'], error['icmp.rest']], [3, 4, 700]);
});

function shorten(simulation: Simulation, mtu: number): void {
  const { links } = simulation.tables.nextHops;
  links.set(SERVER_SIDE, {
    interfaceIndex: 3,
    macHigh: links.macHigh(SERVER_SIDE),
    macLow: links.macLow(SERVER_SIDE),
    mtu,
    up: true,
    address: links.address(SERVER_SIDE),
  });
}
