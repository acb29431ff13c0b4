/** The defense: when it holds, and whom drop_entry takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SysctlValues } from '#xvs/control/protocol';
import { Hosts } from '../../support/hosts';
import { ethernet } from '../../support/packet';
import { type ChunkName, sctp } from '../../support/sctp';
import {
  CLIENT_SIDE,
  Simulation,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
  withServers,
} from '../../support/simulation';

const SERVICE = `${VIP}:80`;
const datagram = (source: number): Uint8Array => ethernet().ipv4().udp({ source }).build();

function fill(simulation: Simulation, count: number, first = 1024): void {
  const frames = Array.from({ length: count }, (_, at) => datagram(first + at));
  for (let at = 0; at < frames.length; at += 200) {
    simulation.receive(CLIENT_SIDE, frames.slice(at, at + 200));
  }
}

const MODES: SysctlValues = { drop_entry: 1, drop_packet: 1, secure_tcp: 1 };

test('modes 1 and 2 go by the free entries, back and forth', () => {
  const simulation = new Simulation();
  withServers(simulation, 1, { protocol: 'udp' });
  const { director, tables } = simulation;
  director.sysctls.set({ ...MODES, amemthresh: 200 });
  const modes = (): number[] => Object.keys(MODES).map((name) => director.sysctls.value(name));
  fill(simulation, 824);
  simulation.defend();
  assert.deepEqual(modes(), [1, 1, 1], '200 are free');
  assert.deepEqual([tables.settings.dropRate, tables.settings.secureTcp], [0, 0]);
  fill(simulation, 1, 99);
  simulation.defend();
  assert.deepEqual(modes(), [2, 2, 2]);
  assert.deepEqual([tables.settings.dropRate, tables.settings.secureTcp], [200, 1]);
  director.sysctls.set({ drop_packet: 0 });
  fill(simulation, 100, 100);
  director.sysctls.set({ drop_packet: 2 });
  assert.equal(tables.settings.dropRate, 1, '200 / (200 - 99), without a fraction');
  simulation.advance(3100);
  assert.deepEqual(modes(), [1, 1, 1]);
  assert.deepEqual([tables.settings.dropRate, tables.settings.secureTcp], [0, 0]);
});

test('modes 0 and 3 hold never and always', () => {
  const simulation = new Simulation();
  const { director, tables } = simulation;
  director.sysctls.set({ secure_tcp: 3, drop_packet: 3, am_droprate: 7 });
  assert.deepEqual([tables.settings.dropRate, tables.settings.secureTcp], [7, 1]);
  simulation.advance(20);
  assert.deepEqual([tables.settings.dropRate, tables.settings.secureTcp], [7, 1]);
  director.sysctls.set({ secure_tcp: 0, drop_packet: 0, amemthresh: 2000 });
  assert.deepEqual([tables.settings.dropRate, tables.settings.secureTcp], [0, 0]);
  assert.deepEqual(
    [director.sysctls.value('secure_tcp'), director.sysctls.value('amemthresh')],
    [0, 2000],
  );
});

test('drop_entry takes half-open connections at once, others not before a minute', () => {
  const simulation = new Simulation({ workers: 2 });
  simulation.random = () => 0;
  const service = withServers(simulation, 2);
  withServers(simulation, 1, { protocol: 'udp' });
  const hosts = new Hosts(simulation);
  hosts.connect('172.16.0.1:1', SERVICE, true); // 4 packets from the client
  hosts.connect('172.16.0.1:2', SERVICE); // TIME_WAIT: never
  simulation.receive(CLIENT_SIDE, datagram(3));
  simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp({ source: 4 }).build());
  const ports = (): number[] =>
    simulation
      .connections()
      .map(({ clientPort }) => clientPort)
      .sort();
  simulation.director.sysctls.set({ drop_entry: 3 });
  simulation.advance(20);
  assert.deepEqual(ports(), [1, 2, 3], 'SYN_RECV goes');
  simulation.advance(560);
  assert.deepEqual(ports(), [1, 2, 3]);
  simulation.advance(40);
  assert.deepEqual(ports(), [2], 'a datagram of one packet, and few packets of an old connection');
  simulation.advance(700);
  const { realServers, connections } = simulation.tables;
  for (const number of [1, 2]) {
    assert.equal(realServers.references(simulation.serverSlot(service, serverAddress(number))), 0);
  }
  assert.equal(connections.freeCount, 1024);
});

test('drop_entry takes half-open associations of SCTP, and IPv6 as IPv4', () => {
  const simulation = new Simulation();
  simulation.random = () => 0;
  const six = { family: 6, address: VIP6 } as const;
  for (const protocol of ['sctp', 'tcp', 'udp'] as const) {
    const service = simulation.addService({ ...six, protocol }, { netmask: '128' });
    simulation.addServer(service, serverAddress6(1));
  }
  const associate = (source: number, chunks: readonly ChunkName[]): void => {
    const packet = sctp({ source, chunks });
    simulation.receive(CLIENT_SIDE, ethernet().ipv6({ protocol: 132 }).payload(packet).build());
  };
  simulation.director.sysctls.set({ sloppy_sctp: 1 });
  associate(1, ['init']);
  associate(2, ['init']);
  associate(2, ['init']); // INIT
  associate(3, ['data']); // ESTABLISHED
  associate(4, ['initAck']); // C-WAIT: never
  simulation.receive(CLIENT_SIDE, ethernet().ipv6().tcp({ source: 5 }).build());
  simulation.receive(CLIENT_SIDE, ethernet().ipv6().udp({ source: 6 }).build());
  const ports = (): number[] =>
    simulation
      .connections()
      .map(({ clientPort }) => clientPort)
      .sort();
  assert.deepEqual(ports(), [1, 2, 3, 4, 5, 6]);
  simulation.director.sysctls.set({ drop_entry: 3 });
  simulation.advance(20);
  assert.deepEqual(ports(), [3, 4, 6]);
  simulation.advance(570);
  assert.deepEqual(ports(), [3, 4, 6]);
  simulation.advance(40);
  assert.deepEqual(ports(), [], 'too old; C-WAIT ended by itself');
});

test('drop_entry spares connections with more than eight packets from the client', () => {
  const simulation = new Simulation();
  simulation.random = () => 0;
  withServers(simulation, 1, { protocol: 'udp' });
  simulation.director.sysctls.set({ drop_entry: 3 });
  for (let packet = 0; packet < 9; packet++) simulation.receive(CLIENT_SIDE, datagram(1));
  for (let packet = 0; packet < 8; packet++) simulation.receive(CLIENT_SIDE, datagram(2));
  simulation.advance(600);
  simulation.advance(200);
  assert.deepEqual(
    simulation.connections().map(({ clientPort }) => clientPort),
    [1],
  );
});

test('of connections with n packets every n-th is taken', () => {
  const simulation = new Simulation();
  simulation.random = () => 0;
  withServers(simulation, 1, { protocol: 'udp' });
  for (let port = 101; port <= 140; port++) {
    for (let packet = 0; packet < 4; packet++) simulation.receive(CLIENT_SIDE, datagram(port));
  }
  simulation.advance(610);
  simulation.director.sysctls.set({ drop_entry: 3 });
  simulation.defend();
  // The first is taken at once, then every fourth.
  assert.equal(simulation.connections().length, 30);
});

test('drop_entry takes templates without use, with or after their last connection', () => {
  const simulation = new Simulation();
  simulation.random = () => 0;
  const service = simulation.addService({}, { persistentTimeout: 1000 });
  simulation.addServer(service, serverAddress(1));
  const hosts = new Hosts(simulation);
  hosts.connect('172.16.0.1:1', SERVICE);
  simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp({ source: 4 }).build());
  assert.equal(simulation.connections().length, 4);
  simulation.director.sysctls.set({ drop_entry: 3 });
  simulation.advance(12);
  assert.deepEqual(
    simulation
      .connections()
      .map(({ state, client }) => `${state} ${client}`)
      .sort(),
    ['ASSURED 172.16.0.1', 'TIME_WAIT 172.16.0.1'],
  );
  const slot = simulation.serverSlot(service, serverAddress(1));
  assert.equal(simulation.tables.realServers.persistent(slot), 1);
  simulation.advance(1300);
  assert.deepEqual(
    simulation.connections().map(({ state }) => state),
    ['ASSURED'],
    'what proved to be of use stays',
  );
});

test('drop_entry looks at about one entry in 32 each second', () => {
  const simulation = new Simulation({ connectionCapacity: 8192, chunks: 1024 });
  withServers(simulation, 1);
  const syns = Array.from({ length: 8000 }, (_, at) =>
    ethernet()
      .ipv4()
      .tcp({ source: 101 + at })
      .build(),
  );
  for (let at = 0; at < syns.length; at += 200) {
    simulation.receive(CLIENT_SIDE, syns.slice(at, at + 200));
  }
  const left = (): number => simulation.connections().length;
  assert.equal(left(), 8000);
  let lot = 0;
  // Blocks in turn, so that none is drawn twice.
  simulation.random = () => (lot++ % 125) / 125;
  simulation.director.sysctls.set({ drop_entry: 3 });
  simulation.advance(12);
  const taken = 8000 - left();
  assert.ok(taken >= 200 && taken <= 300, `${taken} taken`);
  simulation.assertNoLeak();
});

test('a full mailbox stops drop_entry too, and the rest comes when it is worked off', () => {
  const simulation = new Simulation({ connectionCapacity: 200_000, chunks: 1024 });
  withServers(simulation, 1);
  const count = 180_000;
  for (let at = 0; at < count / 200; at++) {
    const source = `172.16.${at >> 8}.${at & 255}`;
    simulation.receive(
      CLIENT_SIDE,
      Array.from({ length: 200 }, (_, port) =>
        ethernet()
          .ipv4({ source })
          .tcp({ source: 101 + port })
          .build(),
      ),
    );
  }
  let lot = 0;
  simulation.random = () => (lot++ % 2813) / 2813;
  simulation.director.sysctls.set({ drop_entry: 3 });
  const { defense, tick } = simulation;
  defense.second();
  assert.equal(defense.walk(tick), true);
  assert.equal(defense.isStalled, true);
  assert.equal(simulation.connections().length, count - 4096);
  simulation.advance(1);
  assert.equal(defense.walk(simulation.tick), false);
  assert.equal(simulation.connections().length, count - 88 * 64);
});

test('a full mailbox stops the walk for removed servers, and the next second goes on', () => {
  const simulation = new Simulation({ connectionCapacity: 8192, chunks: 1024 });
  const service = withServers(simulation, 1, { protocol: 'udp' });
  simulation.director.sysctls.set({ expire_nodest_conn: 1 });
  fill(simulation, 6000);
  const slot = simulation.serverSlot(service, serverAddress(1));
  simulation.director.execute({
    command: 'delete-server',
    service,
    server: { family: 4, address: serverAddress(1), port: 8000 },
  });
  simulation.defend();
  assert.equal(simulation.connections().length, 6000 - 4096);
  simulation.advance(30);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.tables.realServers.references(slot), 0);
  assert.equal(simulation.tables.connections.freeCount, 8192);
});
