/** SCTP services, and AH and ESP that follow an ISAKMP connection, both families. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceKey } from '#xvs/control/protocol';
import { decode, differences } from '../../support/decode';
import { DIRECTOR_MAC_1, ethernet } from '../../support/packet';
import { type ChunkName, type SctpFields, sctp, sctpChecksumIs } from '../../support/sctp';
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

const FAMILIES = [
  { family: 4, client: '10.0.1.100', vip: VIP, server: serverAddress, headers: 34 },
  { family: 6, client: 'fd00:1::100', vip: VIP6, server: serverAddress6, headers: 54 },
] as const;

for (const { family, client, vip, server, headers } of FAMILIES) {
  const name = `IPv${family}`;
  const header = (source: string, destination: string, protocol: number, hops = 64) => {
    const start = ethernet();
    return family === 4
      ? start.ipv4({ source, destination, protocol, ttl: hops })
      : start.ipv6({ source, destination, protocol, hopLimit: hops });
  };
  const inward = (chunks: readonly ChunkName[], fields: SctpFields = {}): Uint8Array =>
    header(client, vip, 132)
      .payload(sctp({ ...fields, chunks }))
      .build();
  const outward = (number: number, chunks: readonly ChunkName[]): Uint8Array =>
    header(server(number), client, 132)
      .payload(sctp({ source: 8000, destination: 40001, chunks }))
      .build();

  function prepared(method: 'nat' | 'dr' = 'nat'): { simulation: Simulation; service: ServiceKey } {
    const simulation = new Simulation();
    const key = { family, protocol: 'sctp', address: vip } as const;
    const service = simulation.addService(key, family === 6 ? { netmask: '128' } : {});
    for (const number of [1, 2]) simulation.addServer(service, server(number), 8000, { method });
    return { simulation, service };
  }
  const state = (simulation: Simulation): string | undefined => simulation.connections()[0]?.state;

  for (const checksum of ['correct', 'unfinished', 'wrong'] as const) {
    test(`${name}: NAT of a packet whose CRC is ${checksum}`, () => {
      const { simulation } = prepared();
      const { sent } = simulation.receive(CLIENT_SIDE, inward(['init'], { checksum }));
      const arrived = sent[SERVER_SIDE][0]!;
      const packet = arrived.slice(headers);
      assert.equal(sctpChecksumIs(packet), checksum === 'wrong' ? 'wrong' : 'correct');
      assert.equal(new DataView(packet.buffer).getUint16(2), 8000);
      assert.equal(decode(arrived)[`ipv${family}.destination`], server(2));
      const back = simulation.receive(SERVER_SIDE, outward(2, ['initAck']));
      const reply = back.sent[CLIENT_SIDE][0]!;
      assert.equal(decode(reply)[`ipv${family}.source`], vip);
      assert.equal(sctpChecksumIs(reply.slice(headers)), 'correct');
      assert.deepEqual(simulation.verdicts(), {});
    });
  }

  test(`${name}: an association through its states`, () => {
    const { simulation, service } = prepared();
    const slot = simulation.serverSlot(service, server(2));
    const steps: readonly [ChunkName[], 'in' | 'out', string][] = [
      [['init'], 'in', 'INIT1'],
      [['initAck'], 'out', 'C-SENT'],
      [['cookieEcho', 'data'], 'in', 'C-REPLIED'],
      [['cookieAck'], 'out', 'ESTABLISHED'],
      [['data'], 'in', 'ESTABLISHED'],
      [['shutdown'], 'in', 'S-RECEIVED'],
      [['shutdownAck'], 'out', 'S-ACK-SENT'],
      [['shutdownComplete'], 'in', 'CLOSED'],
    ];
    const active: number[] = [];
    for (const [chunks, way, wanted] of steps) {
      if (way === 'in') simulation.receive(CLIENT_SIDE, inward(chunks));
      else simulation.receive(SERVER_SIDE, outward(2, chunks));
      assert.equal(state(simulation), wanted, chunks.join());
      active.push(simulation.tables.realServers.active(slot));
    }
    assert.deepEqual(active, [0, 0, 0, 1, 1, 0, 0, 0]);
    // A new one with the same ports begins anew, elsewhere.
    const { sent } = simulation.receive(CLIENT_SIDE, inward(['init']));
    assert.equal(decode(sent[SERVER_SIDE][0]!)[`ipv${family}.destination`], server(1));
    simulation.advance(50);
    assert.equal(simulation.connections().length, 0, 'INIT1 lasts four seconds');
  });

  test(`${name}: what begins an association, and what does not`, () => {
    const strays: readonly ChunkName[][] = [['data'], ['cookieEcho'], ['abort'], ['initAck']];
    const { simulation } = prepared();
    for (const chunks of strays) simulation.receive(CLIENT_SIDE, inward(chunks));
    assert.deepEqual(simulation.verdicts(), { not_scheduled: 4 });
    simulation.tables.settings.set('sloppySctp', 1);
    simulation.receive(CLIENT_SIDE, inward(['abort']));
    assert.deepEqual(simulation.verdicts(), { not_scheduled: 5 });
    simulation.receive(CLIENT_SIDE, inward(['cookieEcho', 'abort']));
    assert.deepEqual(simulation.verdicts(), { not_scheduled: 6 });
    simulation.receive(CLIENT_SIDE, inward(['data']));
    assert.equal(state(simulation), 'ESTABLISHED');
  });

  test(`${name}: direct routing leaves the packet alone, but for a CRC left to the device`, () => {
    const { simulation } = prepared('dr');
    const { sent } = simulation.receive(CLIENT_SIDE, inward(['init']));
    const start = ethernet({ source: DIRECTOR_MAC_1, destination: serverMac(2) });
    const expected = (
      family === 4
        ? start.ipv4({ protocol: 132, ttl: 63 })
        : start.ipv6({ protocol: 132, hopLimit: 63 })
    ).payload(sctp());
    assert.deepEqual(differences(sent[SERVER_SIDE][0]!, expected.build()), []);
    const left = simulation.receive(CLIENT_SIDE, inward(['data'], { checksum: 'unfinished' }));
    assert.equal(sctpChecksumIs(left.sent[SERVER_SIDE][0]!.slice(headers)), 'correct');
    simulation.receive(CLIENT_SIDE, inward(['cookieEcho']));
    assert.equal(state(simulation), 'ESTABLISHED', 'by the table for unseen replies');
  });

  test(`${name}: the host gets an unfinished CRC finished`, () => {
    const { simulation } = prepared();
    const frame = inward(['init'], { destination: 81, checksum: 'unfinished' });
    const { host } = simulation.receive(CLIENT_SIDE, frame);
    assert.equal(sctpChecksumIs(host[0]!.slice(headers)), 'correct');
  });

  for (const protocol of [50, 51]) {
    // IPv6's AH is an extension header: what it guards is followed by itself.
    if (family === 6 && protocol === 51) continue;
    test(`${name}: protocol ${protocol} follows the ISAKMP connection, and makes none`, () => {
      const simulation = new Simulation();
      const key = { family, protocol: 'udp', address: vip, port: 500 } as const;
      const service = simulation.addService(key, family === 6 ? { netmask: '128' } : {});
      for (const number of [1, 2]) simulation.addServer(service, server(number), 500);
      const guarded = (source: string, destination: string, hops = 64) =>
        header(source, destination, protocol, hops).payload('secret bytes');
      const stray = simulation.receive(CLIENT_SIDE, guarded(client, vip).build());
      assert.equal(stray.host.length, 1);
      assert.deepEqual(simulation.verdicts(), { no_connection: 1 });
      const isakmp = header(client, vip, 17).udp({ source: 500, destination: 500 }).build();
      simulation.receive(CLIENT_SIDE, isakmp);
      const there = simulation.receive(CLIENT_SIDE, guarded(client, vip).build());
      const ignored = (field: string): boolean => field.startsWith('ethernet.');
      const arrived = there.sent[SERVER_SIDE][0]!;
      const wanted = guarded(client, server(2), 63).build();
      assert.deepEqual(differences(arrived, wanted, ignored), []);
      const back = simulation.receive(SERVER_SIDE, guarded(server(2), client).build());
      const returned = back.sent[CLIENT_SIDE][0]!;
      assert.deepEqual(differences(returned, guarded(vip, client, 63).build(), ignored), []);
      assert.equal(simulation.connections().length, 1);
    });
  }
}
