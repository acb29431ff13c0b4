/**
 * What is too long for a tunnel: answered with the length that fits, or cut, before or after the
 * outer header is on; what was learned of the way to the server.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decapsulate } from '../../support/decapsulate';
import { decode } from '../../support/decode';
import { shrinkMtu } from '../../support/icmpCases';
import { ethernet } from '../../support/packet';
import { reassemble } from '../../support/reassemble';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
} from '../../support/simulation';
import {
  FAMILIES,
  inside,
  LINK_MTU,
  only,
  packet,
  stand,
  TUNNELS,
} from '../../support/tunnelStand';

for (const inner of FAMILIES) {
  for (const outer of FAMILIES) {
    test(`IPv${inner} in IPv${outer}: what fits, and what is told of what does not`, () => {
      for (const { tunnel } of TUNNELS) {
        const { simulation, overhead } = stand({ inner, outer, tunnel });
        const room = LINK_MTU - overhead;
        const left = only(simulation.receive(CLIENT_SIDE, packet(inner, 'tcp', room)), SERVER_SIDE);
        assert.equal(left.length, 14 + LINK_MTU);
        const long = packet(inner, 'tcp', room + 1);
        const error = decode(only(simulation.receive(CLIENT_SIDE, long), CLIENT_SIDE));
        const name = inner === 4 ? 'icmp' : 'icmp6';
        assert.deepEqual(
          [error[`${name}.type`], error[`${name}.code`], error[`${name}.rest`]],
          inner === 4 ? [3, 4, room] : [2, 0, room],
        );
        assert.equal(error[`ipv${inner}.source`], inner === 4 ? VIP : VIP6);
        assert.equal(error[`${name}.checksumIs`], 'correct');
        assert.deepEqual(simulation.verdicts(), { mtu_exceeded: 1 });
        simulation.assertNoLeak();
      }
    });

    test(`IPv${inner} in IPv${outer}: a learned path MTU holds for ten minutes`, () => {
      const { simulation, service, overhead } = stand({ inner, outer });
      const server = outer === 4 ? serverAddress(1) : serverAddress6(1);
      const slot = simulation.serverSlot(service, server, 80);
      simulation.tables.realServers.learnPathMtu(slot, 1400, simulation.tick);
      const send = (total: number, source: number) =>
        simulation.receive(CLIENT_SIDE, packet(inner, 'tcp', total, { source }));
      only(send(1400 - overhead, 40001), SERVER_SIDE);
      const error = decode(only(send(1401 - overhead, 40002), CLIENT_SIDE));
      assert.equal(error[inner === 4 ? 'icmp.rest' : 'icmp6.rest'], 1400 - overhead);
      simulation.jump(5999);
      only(send(1401 - overhead, 40003), CLIENT_SIDE);
      simulation.jump(1);
      only(send(1401 - overhead, 40004), SERVER_SIDE);
      simulation.assertNoLeak();
    });
  }
}

const long = (total: number) => packet(4, 'udp', total, { dontFragment: false });

test('a whole packet is cut with the outer header on, every tunnel over IPv4', () => {
  for (const { tunnel } of TUNNELS) {
    const { simulation } = stand({ protocol: 'udp', tunnel });
    const came = long(1500);
    const { sent } = simulation.receive(CLIENT_SIDE, came);
    assert.equal(sent[SERVER_SIDE].length, 2);
    assert.ok(sent[SERVER_SIDE].every((frame) => frame.length <= 14 + LINK_MTU));
    const [whole, ...others] = reassemble(sent[SERVER_SIDE]);
    assert.equal(others.length, 0);
    const found = decapsulate(whole!);
    assert.deepEqual(inside(whole!)['payload'], decode(came)['payload']);
    assert.equal(inside(whole!)['udp.checksumIs'], 'correct');
    assert.notEqual(found.id, 0);
    assert.equal(found.checksum, tunnel.checksum === 'nocsum' ? 'none' : 'correct');
    assert.equal(simulation.counter('packets_split'), 1);
    simulation.assertNoLeak();
  }
});

test('over IPv6 it is cut before, so that each piece has an outer header', () => {
  for (const { tunnel } of TUNNELS) {
    const { simulation } = stand({ protocol: 'udp', outer: 6, tunnel });
    const came = long(1500);
    const { sent } = simulation.receive(CLIENT_SIDE, came);
    assert.equal(sent[SERVER_SIDE].length, 2);
    assert.ok(sent[SERVER_SIDE].every((frame) => frame.length <= 14 + LINK_MTU));
    const unpacked = sent[SERVER_SIDE].map((frame) => {
      const { inner, checksum } = decapsulate(frame);
      assert.equal(checksum, tunnel.checksum === 'nocsum' ? 'none' : 'correct');
      return ethernet().payload(inner).build();
    });
    const [whole, ...others] = reassemble(unpacked);
    assert.equal(others.length, 0);
    assert.equal(decode(whole!)['payload'], decode(came)['payload']);
    assert.equal(decode(whole!)['udp.checksumIs'], 'correct');
    assert.equal(decode(whole!)['ipv4.ttl'], 63);
    simulation.assertNoLeak();
  }
});

test('fragments are cut before, and the server puts the datagram together', () => {
  for (const outer of FAMILIES) {
    const { simulation } = stand({ protocol: 'udp', outer });
    const datagram = packet(4, 'udp', 4400, { dontFragment: false }).subarray(34);
    const frames = [0, 1480, 2960].map((offset) => {
      const more = offset + 1480 < datagram.length;
      const fragment = (more ? 0x2000 : 0) | (offset / 8);
      const part = datagram.subarray(offset, offset + 1480);
      return ethernet().ipv4({ protocol: 17, fragment }).payload(part).build();
    });
    const { sent, host } = simulation.receive(CLIENT_SIDE, frames);
    assert.equal(host.length, 0);
    assert.ok(sent[SERVER_SIDE].every((frame) => frame.length <= 14 + LINK_MTU));
    assert.ok(sent[SERVER_SIDE].every((frame) => decapsulate(frame).fragment === 0));
    const unpacked = sent[SERVER_SIDE].map((frame) =>
      ethernet().payload(decapsulate(frame).inner).build(),
    );
    const [whole, ...others] = reassemble(unpacked);
    assert.equal(others.length, 0);
    assert.deepEqual(Buffer.from(whole!.subarray(34)), Buffer.from(datagram));
    simulation.assertNoLeak();
  }
});

test('an unfinished checksum is finished before a packet is cut', () => {
  const { simulation } = stand({ protocol: 'udp' });
  const came = ethernet()
    .ipv4()
    .udp({ checksum: 'unfinished' })
    .payload(new Uint8Array(1472).fill(9))
    .build();
  const { sent } = simulation.receive(CLIENT_SIDE, came);
  const [whole] = reassemble(sent[SERVER_SIDE]);
  assert.equal(inside(whole!)['udp.checksumIs'], 'correct');
  simulation.assertNoLeak();
});

test('with pmtu_disc 0 everything IPv4 is cut, and "don\'t fragment" is not copied', () => {
  const { simulation } = stand({ protocol: 'udp' });
  simulation.director.sysctls.set({ pmtu_disc: 0 });
  const short = decapsulate(
    only(simulation.receive(CLIENT_SIDE, packet(4, 'udp', 100)), SERVER_SIDE),
  );
  assert.equal(short.fragment, 0);
  assert.notEqual(short.id, 0);
  const { sent } = simulation.receive(CLIENT_SIDE, packet(4, 'udp', 1500));
  assert.equal(sent[SERVER_SIDE].length, 2);
  assert.equal(reassemble(sent[SERVER_SIDE]).length, 1);
  simulation.assertNoLeak();
});

test('with pmtu_disc 0 one with "don\'t fragment" is cut over IPv6 too, outside', () => {
  for (const { tunnel } of TUNNELS) {
    const { simulation } = stand({ protocol: 'udp', outer: 6, tunnel });
    simulation.director.sysctls.set({ pmtu_disc: 0 });
    const came = packet(4, 'udp', 1500);
    const { sent } = simulation.receive(CLIENT_SIDE, came);
    assert.equal(sent[SERVER_SIDE].length, 2, JSON.stringify(simulation.verdicts()));
    const [whole, ...others] = reassemble(sent[SERVER_SIDE]);
    assert.equal(others.length, 0);
    assert.equal(inside(whole!)['payload'], decode(came)['payload']);
    simulation.assertNoLeak();
  }
});

test('IPv6 of 1280 bytes and less goes through IPv4 that is narrower, in pieces', () => {
  const MTU = 1290;
  for (const { tunnel } of TUNNELS) {
    const { simulation } = stand({ inner: 6, protocol: 'udp', tunnel });
    shrinkMtu(simulation, SERVER_SIDE, MTU);
    const came = packet(6, 'udp', 1280);
    const { sent } = simulation.receive(CLIENT_SIDE, came);
    assert.equal(sent[SERVER_SIDE].length, 2, JSON.stringify(simulation.verdicts()));
    assert.ok(sent[SERVER_SIDE].every((frame) => frame.length <= 14 + MTU));
    const [whole, ...others] = reassemble(sent[SERVER_SIDE]);
    assert.equal(others.length, 0);
    assert.equal(inside(whole!)['payload'], decode(came)['payload']);
    assert.equal(inside(whole!)['udp.checksumIs'], 'correct');
    const longer = simulation.receive(CLIENT_SIDE, packet(6, 'udp', 1281));
    assert.equal(decode(only(longer, CLIENT_SIDE))['icmp6.rest'], 1280);
    simulation.assertNoLeak();
  }
});
