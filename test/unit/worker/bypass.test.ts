/**
 * cache_bypass: what is to a service by mark that has no server goes on to where it was sent, as a
 * connection of its own, both families.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cut } from '../../support/cut';
import { decode, differences } from '../../support/decode';
import { CLIENT_MAC, DIRECTOR_MAC_0, ethernet } from '../../support/packet';
import { reassemble } from '../../support/reassemble';
import { CLIENT_SIDE, Simulation } from '../../support/simulation';

const FAMILIES = [
  { family: 4 as const, any: '0.0.0.0', elsewhere: '172.16.7.7', own: '198.51.100.1' },
  { family: 6 as const, any: '::', elsewhere: 'fd00:c::7', own: 'fd00:100::1' },
];

for (const { family, any, elsewhere, own } of FAMILIES) {
  const ip = (destination: string, hops = 64) =>
    family === 4
      ? ethernet().ipv4({ destination, ttl: hops })
      : ethernet().ipv6({ destination, hopLimit: hops });

  function prepared(): Simulation {
    const simulation = new Simulation();
    const rules = ['-j MARK --set-mark 5'];
    simulation.marks.execute({ operation: 'append', family, rules });
    const key = { family, address: any, port: 0, fwmark: 5 };
    simulation.addService(key, family === 6 ? { netmask: '128' } : {});
    simulation.director.sysctls.set({ cache_bypass: 1 });
    return simulation;
  }

  test(`IPv${family}: the packets go on to where they were sent, changed by a hop`, () => {
    const simulation = prepared();
    for (const flags of ['S', 'A', 'PA']) {
      const frame = ip(elsewhere).tcp({ flags }).payload('abc').build();
      const { sent, host } = simulation.receive(CLIENT_SIDE, frame);
      assert.deepEqual(host, []);
      const macs = ethernet({ source: DIRECTOR_MAC_0, destination: CLIENT_MAC });
      const next =
        family === 4
          ? macs.ipv4({ destination: elsewhere, ttl: 63 })
          : macs.ipv6({ destination: elsewhere, hopLimit: 63 });
      const expected = next.tcp({ flags }).payload('abc').build();
      assert.deepEqual(differences(sent[CLIENT_SIDE][0]!, expected), []);
    }
    const [listed, ...others] = simulation.connections();
    assert.deepEqual(others, []);
    assert.deepEqual(
      [listed!.state, listed!.virtual, listed!.real, listed!.realPort],
      ['ESTABLISHED', elsewhere, elsewhere, 80],
    );
    assert.deepEqual(simulation.verdicts(), {});
    simulation.assertNoLeak();
  });

  test(`IPv${family}: a packet in fragments goes on whole`, () => {
    const simulation = prepared();
    const datagram = ip(elsewhere).udp().payload('x'.repeat(1000)).build();
    const { sent, host } = simulation.receive(CLIENT_SIDE, cut(datagram, 480));
    assert.deepEqual(simulation.verdicts(), {});
    assert.deepEqual([sent[CLIENT_SIDE].length, host.length], [3, 0]);
    const fields = reassemble(sent[CLIENT_SIDE]).map(decode);
    assert.deepEqual(
      fields.map((packet) => [packet[`ipv${family}.destination`], packet['udp.checksumIs']]),
      [[elsewhere, 'correct']],
    );
    simulation.assertNoLeak();
  });

  test(`IPv${family}: it ends like any other connection, and counts for no server`, () => {
    const simulation = prepared();
    simulation.director.sysctls.set({ expire_nodest_conn: 1 });
    simulation.receive(CLIENT_SIDE, ip(elsewhere).tcp().build());
    simulation.receive(CLIENT_SIDE, ip(elsewhere).tcp({ flags: 'A' }).build());
    simulation.receive(CLIENT_SIDE, ip(elsewhere).tcp({ flags: 'R' }).build());
    assert.deepEqual(
      simulation.connections().map(({ state }) => state),
      ['CLOSE'],
    );
    simulation.advance(101);
    assert.deepEqual(simulation.connections(), []);
    assert.equal(simulation.counter('connections_created'), 1);
    assert.equal(simulation.counter('connections_expired'), 1);
    const { realServers } = simulation.tables;
    assert.deepEqual([realServers.active(0), realServers.inactive(0)], [0, 0]);
  });

  test(`IPv${family}: hop limit 1, and the director's own addresses, are no way on`, () => {
    const simulation = prepared();
    const { sent } = simulation.receive(CLIENT_SIDE, ip(elsewhere, 1).udp().build());
    const kind = family === 4 ? 'icmp' : 'icmp6';
    assert.equal(decode(sent[CLIENT_SIDE][0]!)[`${kind}.type`], family === 4 ? 11 : 3);
    simulation.receive(CLIENT_SIDE, ip(own).udp().build());
    assert.deepEqual(simulation.verdicts(), { ttl_exceeded: 1, no_real_server: 1 });
  });
}
