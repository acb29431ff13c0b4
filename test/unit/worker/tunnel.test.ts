/**
 * The tunnel room on memory ports: every tunnel, both families inside and outside, and what a
 * change of servers, routes or neighbours does to connections that live.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decapsulate } from '../../support/decapsulate';
import { decode } from '../../support/decode';
import { DIRECTOR_MAC_1, ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  serverAddress,
  serverAddress6,
  serverMac,
  serverSettings,
} from '../../support/simulation';
import {
  FAMILIES,
  GUE,
  inside,
  LINK_MTU,
  OWN,
  only,
  packet,
  SERVER,
  stand,
  TUNNELS,
} from '../../support/tunnelStand';

for (const inner of FAMILIES) {
  for (const outer of FAMILIES) {
    test(`IPv${inner} in IPv${outer}: every tunnel`, () => {
      for (const { tunnel } of TUNNELS) {
        const { simulation, overhead } = stand({ inner, outer, tunnel });
        const came = packet(inner, 'tcp', 100);
        const left = only(simulation.receive(CLIENT_SIDE, came), SERVER_SIDE);
        const found = decapsulate(left);
        assert.equal(decode(left)['ethernet.source'], DIRECTOR_MAC_1);
        assert.equal(decode(left)['ethernet.destination'], serverMac(1));
        assert.deepEqual(
          [found.kind, found.source, found.destination, found.ttl, found.overhead],
          [tunnel.type, OWN[outer], SERVER[outer], 63, overhead],
        );
        assert.equal(found.checksum, tunnel.checksum === 'nocsum' ? 'none' : 'correct');
        assert.equal(found.fragment, inner === 4 && outer === 4 ? 0x4000 : 0);
        assert.deepEqual(
          Buffer.from(found.inner),
          Buffer.from(packet(inner, 'tcp', 100, { ttl: 63 }).subarray(14)),
        );
        const [connection] = simulation.connections();
        assert.equal(connection?.state, 'SYN_RECV');
        assert.deepEqual(simulation.verdicts(), {});
        simulation.assertNoLeak();
      }
    });

    test(`IPv${inner} in IPv${outer}: a neighbour is waited for`, () => {
      const { simulation } = stand({ inner, outer, neighbours: false });
      const outcome = simulation.receive(CLIENT_SIDE, packet(inner, 'tcp', 100));
      assert.deepEqual(outcome, { sent: [[], []], host: [] });
      assert.equal(simulation.counter('neighbour_waited'), 1);
      simulation.resolve(1, outer === 4 ? serverAddress(1) : serverAddress6(1), serverMac(1));
      const left = only(simulation.advance(1), SERVER_SIDE);
      assert.equal(decapsulate(left).destination, SERVER[outer]);
      assert.equal(decapsulate(left).innerFamily, inner);
      simulation.assertNoLeak();
    });
  }
}

test('an unfinished checksum is finished inside every tunnel', () => {
  for (const inner of FAMILIES) {
    for (const { tunnel } of TUNNELS) {
      const { simulation } = stand({ inner, tunnel });
      const start = inner === 4 ? ethernet().ipv4() : ethernet().ipv6();
      const came = start.tcp({ checksum: 'unfinished' }).payload('hello').build();
      const left = only(simulation.receive(CLIENT_SIDE, came), SERVER_SIDE);
      const found = decapsulate(left);
      assert.equal(inside(left)['tcp.checksumIs'], 'correct');
      assert.equal(found.checksum, tunnel.checksum === 'nocsum' ? 'none' : 'correct');
      assert.equal(found.isRemote, tunnel.checksum === 'remcsum');
      assert.equal(simulation.counter('checksums_unfinished'), 1);
    }
  }
});

test('a UDP checksum of none stays none, inside an outer one that is right', () => {
  const { simulation } = stand({ protocol: 'udp', tunnel: { ...GUE, checksum: 'csum' } });
  const came = ethernet().ipv4().udp({ checksum: 0 }).payload('hello').build();
  const left = only(simulation.receive(CLIENT_SIDE, came), SERVER_SIDE);
  assert.equal(inside(left)['udp.checksum'], 0);
  assert.equal(decapsulate(left).checksum, 'correct');
});

test('behind extension headers the outer checksum is right, too', () => {
  for (const { tunnel } of TUNNELS) {
    const { simulation } = stand({ inner: 6, outer: 6, tunnel });
    // Destination options of eight bytes, padded; then TCP.
    const came = ethernet()
      .ipv6({ nextHeader: 60, extensions: Uint8Array.from([6, 0, 1, 4, 0, 0, 0, 0]) })
      .tcp()
      .payload('hello')
      .build();
    const left = only(simulation.receive(CLIENT_SIDE, came), SERVER_SIDE);
    const found = decapsulate(left);
    assert.equal(found.checksum, tunnel.checksum === 'nocsum' ? 'none' : 'correct');
    assert.equal(inside(left)['tcp.checksumIs'], 'correct');
    assert.deepEqual(Buffer.from(found.inner.subarray(40)), Buffer.from(came.subarray(54)));
  }
});

test('packets of one flow have one GUE source port, flows have many', () => {
  const { simulation } = stand({ tunnel: GUE });
  const portOf = (source: number, flags: string): number => {
    const came = packet(4, 'tcp', 100, { source, flags });
    return decapsulate(only(simulation.receive(CLIENT_SIDE, came), SERVER_SIDE)).sourcePort;
  };
  const ports = Array.from({ length: 40 }, (_, client) => {
    const port = portOf(41_000 + client, 'S');
    assert.equal(portOf(41_000 + client, 'A'), port);
    return port;
  });
  assert.ok(new Set(ports).size > 35);
});

describe('changes under a live connection', () => {
  test('an edited tunnel holds from the next packet on', () => {
    const { simulation, service } = stand();
    const send = (flags: string) =>
      decapsulate(
        only(simulation.receive(CLIENT_SIDE, packet(4, 'tcp', 100, { flags })), SERVER_SIDE),
      );
    assert.equal(send('S').kind, 'ipip');
    simulation.director.execute({
      command: 'edit-server',
      service,
      server: { family: 4, address: serverAddress(1), port: 80 },
      settings: serverSettings({ method: 'tunnel', tunnel: { ...GUE, checksum: 'csum' } }),
    });
    const after = send('A');
    assert.deepEqual([after.kind, after.destinationPort, after.checksum], ['gue', 6080, 'correct']);
  });

  test("the outer source follows the link's address", () => {
    const { simulation } = stand();
    const send = (flags: string) =>
      decapsulate(
        only(simulation.receive(CLIENT_SIDE, packet(4, 'tcp', 100, { flags })), SERVER_SIDE),
      );
    assert.equal(send('S').source, '10.0.2.1');
    const { nextHops } = simulation.tables;
    nextHops.links.set(1, {
      ...{ interfaceIndex: 3, macHigh: 0x02000000, macLow: 0x0201, mtu: LINK_MTU, up: true },
      address: 0x0a000202,
    });
    nextHops.bump();
    assert.equal(send('A').source, '10.0.2.2');
  });

  test("two servers whose lines of the cache are one do not get each other's packets", () => {
    const { simulation, service } = stand();
    const first = simulation.serverSlot(service, serverAddress(1), 80);
    const other = simulation.addService({ address: '198.51.100.8' });
    const server = { family: 4 as const, address: serverAddress(2), port: 100 };
    const settings = { method: 'tunnel' as const, weight: 0 };
    const isTwin = () =>
      ((simulation.serverSlot(other, server.address, server.port) - first) & 1023) === 0;
    simulation.addServer(other, server.address, server.port, settings);
    while (!isTwin()) {
      server.port++;
      assert.ok(server.port < 2000, 'no slot has the same line');
      simulation.addServer(other, server.address, server.port, settings);
    }
    simulation.director.execute({
      ...{ command: 'edit-server', service: other, server: { ...server } },
      settings: serverSettings({ method: 'tunnel' }),
    });
    for (let round = 0; round < 4; round++) {
      const source = 40001 + round;
      const here = packet(4, 'tcp', 100, { source });
      const there = ethernet().ipv4({ destination: '198.51.100.8' }).tcp({ source }).build();
      const [one, two] = [here, there].map(
        (frame) =>
          decapsulate(only(simulation.receive(CLIENT_SIDE, frame), SERVER_SIDE)).destination,
      );
      assert.deepEqual([one, two], [serverAddress(1), serverAddress(2)]);
    }
  });
});
