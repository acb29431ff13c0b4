/**
 * Persistence: who keeps whom, for how long, and what templates are not stopped by. The sequences
 * that a real director gave are goldenSched's and goldenConntable's matter.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConnectionQuery } from '#xvs/control/connectionQuery';

import type { ConnectionCounts, ConnectionList, ServiceKey } from '#xvs/control/protocol';
import { decode } from '../../support/decode';
import { Hosts, REFUSED } from '../../support/hosts';
import { ethernet } from '../../support/packet';
import { selectConnections } from '../../support/selectConnections';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  type SimulationOptions,
  serverAddress,
  serverSettings,
  VIP,
} from '../../support/simulation';

const SERVICE = `${VIP}:80`;
const TIMEOUT = 20;

interface Stand {
  readonly simulation: Simulation;
  readonly hosts: Hosts;
  readonly service: ServiceKey;
}

/** A persistent service with `servers` servers; rs2 is chosen before rs1. */
function stand(
  key: Partial<ServiceKey> = {},
  servers = 2,
  settings: Record<string, unknown> = {},
  options: SimulationOptions = {},
): Stand {
  const simulation = new Simulation(options);
  const service = simulation.addService(key, { persistentTimeout: TIMEOUT, ...settings });
  for (let number = 1; number <= servers; number++) {
    simulation.addServer(service, serverAddress(number));
  }
  return { simulation, hosts: new Hosts(simulation), service };
}

/** Templates as they are listed. */
function templates(simulation: Simulation): string[] {
  return simulation
    .connections()
    .filter(({ clientPort }) => clientPort === 0)
    .map(
      (row) =>
        `${row.protocol} ${row.state} ${row.client} ${row.virtual}:${row.virtualPort} ` +
        `${row.real}:${row.realPort} ${row.expiresSeconds}`,
    );
}

const edit = (
  { simulation, service }: Stand,
  number: number,
  settings: Parameters<typeof serverSettings>[0],
): void =>
  simulation.director.execute({
    command: 'edit-server',
    service,
    server: { family: 4, address: serverAddress(number), port: 8000 },
    settings: serverSettings(settings),
  });

const remove = ({ simulation, service }: Stand, number: number): void =>
  simulation.director.execute({
    command: 'delete-server',
    service,
    server: { family: 4, address: serverAddress(number), port: 8000 },
  });

test('a new connection makes a template, and each more refreshes it; packets do not', () => {
  const { simulation, hosts } = stand();
  assert.equal(hosts.connect('172.16.0.1:1001', SERVICE, true), 'rs2');
  assert.deepEqual(templates(simulation), [`TCP ASSURED 172.16.0.1 ${VIP}:80 10.0.2.12:8000 20`]);
  simulation.advance(150);
  assert.ok(hosts.exchange('172.16.0.1:1001', 'rs2'));
  assert.match(templates(simulation)[0]!, / 5$/);
  assert.equal(hosts.connect('172.16.0.1:1002', SERVICE), 'rs2');
  assert.match(templates(simulation)[0]!, / 20$/);
  assert.equal(hosts.connect('172.16.0.2:1001', SERVICE), 'rs1');
  assert.equal(templates(simulation).length, 2);
  simulation.assertNoLeak();
});

test('while connections refer to it a template lives on, a minute each time', () => {
  const { simulation, hosts } = stand();
  hosts.connect('172.16.0.1:1001', SERVICE, true);
  simulation.advance(TIMEOUT * 10 + 1);
  assert.match(templates(simulation)[0]!, / 59$/);
  simulation.advance(600);
  assert.match(templates(simulation)[0]!, / 59$/);
  // And never gets the service's time again.
  hosts.connect('172.16.0.1:1002', SERVICE);
  assert.match(templates(simulation)[0]!, / 60$/);
  hosts.reset('172.16.0.1:1001', 'rs2');
  simulation.advance(10 * 120 + 600 + 10);
  assert.deepEqual(simulation.connections(), []);
  simulation.assertNoLeak();
});

test('without connections it ends on time, and the client may get another server', () => {
  const { simulation, hosts } = stand();
  simulation.director.execute({
    command: 'set-timeouts',
    timeouts: { tcp: 5, tcpFin: 2, udp: 2 },
  });
  hosts.connect('172.16.0.1:1001', SERVICE, true);
  hosts.reset('172.16.0.1:1001', 'rs2');
  simulation.advance(TIMEOUT * 10 - 1);
  assert.equal(templates(simulation).length, 1);
  simulation.advance(2);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.tables.connections.freeCount, 1024);
  assert.equal(hosts.connect('172.16.0.1:1002', SERVICE), 'rs1');
});

test('a template is assured by an established connection, or by a reply over UDP', () => {
  const tcp = stand();
  tcp.simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp().build());
  assert.match(templates(tcp.simulation)[0]!, /^TCP NONE /);
  const udp = stand({ protocol: 'udp' });
  udp.simulation.receive(CLIENT_SIDE, ethernet().ipv4().udp({ source: 5 }).build());
  assert.match(templates(udp.simulation)[0]!, /^UDP NONE /);
  udp.hosts.datagram('10.0.1.100:6', SERVICE, 10);
  assert.match(templates(udp.simulation)[0]!, /^UDP ASSURED /);
});

test('persistent connections are counted, and of a server only its templates', () => {
  const { simulation, hosts, service } = stand();
  for (const client of [1, 1, 2, 3]) hosts.connect(`172.16.0.${client}:${1000 + client}`, SERVICE);
  const { realServers } = simulation.tables;
  const count = (number: number) => {
    const slot = simulation.serverSlot(service, serverAddress(number));
    return [realServers.persistent(slot), realServers.active(slot) + realServers.inactive(slot)];
  };
  assert.deepEqual(
    [count(1), count(2)],
    [
      [1, 1],
      [2, 2],
    ],
  );
});

test('a template honours a server of weight 0, until expire_quiescent_template', () => {
  const it = stand();
  const { simulation, hosts } = it;
  assert.equal(hosts.connect('172.16.0.1:1001', SERVICE), 'rs2');
  edit(it, 2, { weight: 0 });
  assert.equal(hosts.connect('172.16.0.1:1002', SERVICE), 'rs2');
  assert.equal(hosts.connect('172.16.0.9:1002', SERVICE), 'rs1');
  simulation.director.sysctls.set({ expire_quiescent_template: 1 });
  assert.equal(hosts.connect('172.16.0.1:1003', SERVICE), 'rs1');
  const all = templates(simulation);
  assert.ok(all.includes(`TCP ASSURED 172.16.0.1 ${VIP}:65535 10.0.2.12:65535 20`), all.join());
  assert.ok(all.includes(`TCP ASSURED 172.16.0.1 ${VIP}:80 10.0.2.11:8000 20`), all.join());
  simulation.advance(3000);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.tables.connections.freeCount, 1024);
});

test('the template of a removed server is of no use, and ends with its connections', () => {
  const it = stand();
  const { simulation, hosts } = it;
  assert.equal(hosts.connect('172.16.0.1:1001', SERVICE, true), 'rs2');
  const slot = simulation.serverSlot(it.service, serverAddress(2));
  remove(it, 2);
  assert.equal(hosts.connect('172.16.0.1:1002', SERVICE), 'rs1');
  assert.equal(simulation.tables.realServers.persistent(slot), 1);
  simulation.advance(20_000);
  assert.equal(simulation.tables.realServers.references(slot), 0);
  simulation.director.emptyTrash();
  assert.deepEqual(simulation.director.trash, []);
});

test('thresholds do not hold for those who have a template', () => {
  const it = stand();
  const { simulation, hosts } = it;
  assert.equal(hosts.connect('172.16.0.1:1001', SERVICE, true), 'rs2');
  edit(it, 2, { upperThreshold: 2 });
  edit(it, 1, { upperThreshold: 1 });
  assert.equal(hosts.connect('172.16.0.2:1001', SERVICE, true), 'rs1');
  assert.equal(hosts.connect('172.16.0.1:1002', SERVICE, true), 'rs2');
  assert.ok(
    simulation.tables.realServers.isOverloaded(simulation.serverSlot(it.service, serverAddress(2))),
  );
  assert.equal(hosts.connect('172.16.0.1:1003', SERVICE, true), 'rs2');
  assert.equal(hosts.connect('172.16.0.2:1002', SERVICE, true), 'rs1');
  assert.equal(hosts.connect('172.16.0.3:1001', SERVICE, true), REFUSED);
});

test('without room for a template there is no connection, and nothing is lost', () => {
  const { simulation, service } = stand();
  const other = simulation.addService({ protocol: 'udp' });
  simulation.addServer(other, serverAddress(3));
  const { connections, realServers } = simulation.tables;
  const frames = Array.from({ length: connections.capacity - 1 }, (_, at) =>
    ethernet()
      .ipv4()
      .udp({ source: 1024 + at })
      .build(),
  );
  for (let at = 0; at < frames.length; at += 200) {
    simulation.receive(CLIENT_SIDE, frames.slice(at, at + 200));
  }
  assert.equal(connections.freeCount, 1);
  simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp().build());
  assert.deepEqual(simulation.verdicts(), { table_full: 1 });
  assert.equal(connections.freeCount, 1);
  for (const number of [1, 2]) {
    assert.equal(realServers.references(simulation.serverSlot(service, serverAddress(number))), 0);
  }
  simulation.advance(3100);
  assert.equal(connections.freeCount, connections.capacity);
});

function portOf(simulation: Simulation, frame: Uint8Array): unknown {
  const { sent } = simulation.receive(CLIENT_SIDE, frame);
  return decode(sent[SERVER_SIDE][0]!)['tcp.destination'];
}
const syn = (destination: number, source = 40001, address = VIP): Uint8Array =>
  ethernet().ipv4({ destination: address }).tcp({ destination, source }).build();

test('ports: mapped for the service’s own, kept behind a mark or port 0', () => {
  const own = stand();
  assert.equal(portOf(own.simulation, syn(80)), 8000);
  const any = stand({ port: 0 });
  assert.equal(portOf(any.simulation, syn(80)), 80);
  assert.equal(portOf(any.simulation, syn(81, 40002)), 81);
  assert.deepEqual(templates(any.simulation), [`TCP NONE 10.0.1.100 ${VIP}:0 10.0.2.12:0 20`]);
  const mark = stand({ address: '0.0.0.0', port: 0, fwmark: 7 });
  mark.simulation.marks.execute({
    operation: 'append',
    family: 4,
    rules: ['-d 198.51.100.0/24 -j MARK --set-mark 7'],
  });
  assert.equal(portOf(mark.simulation, syn(443)), 443);
  assert.equal(portOf(mark.simulation, syn(80, 40002, '198.51.100.9')), 80);
  assert.equal(mark.hosts.datagram('10.0.1.100:9', `${VIP}:53`, 5), 'rs2');
  assert.deepEqual(templates(mark.simulation), ['IP ASSURED 10.0.1.100 0.0.0.7:0 10.0.2.12:0 20']);
});

test('a service by mark that is not persistent maps ports', () => {
  const mark = stand({ address: '0.0.0.0', port: 0, fwmark: 7 }, 1, { persistentTimeout: 0 });
  mark.simulation.marks.execute({
    operation: 'append',
    family: 4,
    rules: ['-j MARK --set-mark 7'],
  });
  assert.equal(portOf(mark.simulation, syn(443)), 8000);
});

test('FTP: control and data of a client go to one server, through one template', () => {
  const { simulation, hosts } = stand({ port: 21 }, 3);
  assert.equal(hosts.connect('172.16.0.1:1001', `${VIP}:21`, true), 'rs3');
  assert.equal(hosts.connect('172.16.0.2:1001', `${VIP}:21`, true), 'rs2');
  assert.equal(hosts.connect('172.16.0.1:1002', `${VIP}:2121`, true), 'rs3');
  assert.equal(hosts.connect('172.16.0.2:1002', `${VIP}:20`, true), 'rs2');
  assert.equal(templates(simulation).length, 2);
  const rows = simulation.connections().filter(({ clientPort }) => clientPort !== 0);
  // The service's own port is mapped, data ports are not.
  assert.deepEqual(rows.map(({ realPort }) => realPort).sort(), [20, 2121, 8000, 8000].sort());
  assert.equal(hosts.connect('172.16.0.1:1003', `${VIP}:1023`), REFUSED);
  assert.deepEqual(simulation.verdicts(), { no_connection: 1 });
});

test('workers share templates, and the one that made a template ends it', () => {
  const { simulation, hosts } = stand({}, 3, {}, { workers: 2 });
  for (let client = 1; client <= 9; client++) {
    const names = new Set<string>();
    for (let turn = 0; turn < 4; turn++) {
      hosts.clientWorker = turn % 2;
      hosts.serverWorker = (turn + client) % 2;
      names.add(hosts.connect(`172.16.1.${client}:${2000 + turn}`, SERVICE));
    }
    assert.equal(names.size, 1, `client ${client} met ${[...names].join()}`);
  }
  assert.equal(templates(simulation).length, 9);
  const slots = [1, 2, 3].map((number) =>
    simulation.tables.realServers.persistent(
      simulation.director.services[0]!.servers[number - 1]!.slot,
    ),
  );
  assert.deepEqual(slots, [3, 3, 3]);
  simulation.advance(2000);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.tables.connections.freeCount, 1024);
});

test('one-packet scheduling leaves nothing, counts each packet, and keeps no replies', () => {
  const { simulation, service } = stand({ protocol: 'udp' }, 3, {
    persistentTimeout: 0,
    onePacket: true,
  });
  const frame = ethernet().ipv4().udp().payload('hi').build();
  const to = Array.from({ length: 6 }, () => {
    const { sent } = simulation.receive(CLIENT_SIDE, frame);
    return String(decode(sent[SERVER_SIDE][0]!)['ipv4.destination']).slice(-1);
  });
  assert.deepEqual(to, ['3', '2', '1', '3', '2', '1']);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.tables.connections.freeCount, 1024);
  assert.equal(simulation.counter('connections_created'), 6);
  assert.equal(simulation.counter('connections_expired'), 6);
  for (const number of [1, 2, 3]) {
    const slot = simulation.serverSlot(service, serverAddress(number));
    assert.equal(simulation.tables.realServers.references(slot), 0);
  }
  const answer = ethernet({ source: '02:00:00:00:02:13', destination: '02:00:00:00:02:01' })
    .ipv4({ source: serverAddress(3), destination: '10.0.1.100' })
    .udp({ source: 8000, destination: 40001 })
    .build();
  const back = simulation.receive(SERVER_SIDE, answer);
  assert.deepEqual(back, { sent: [[], []], host: [answer] });
  simulation.advance(4000);
  simulation.assertNoLeak();
});

test('one packet by mark is for UDP alone; with persistence a template stays', () => {
  const { simulation, hosts } = stand({ address: '0.0.0.0', port: 0, fwmark: 7 }, 2, {
    onePacket: true,
  });
  simulation.marks.execute({ operation: 'append', family: 4, rules: ['-j MARK --set-mark 7'] });
  const frame = ethernet().ipv4().udp().payload('hi').build();
  simulation.receive(CLIENT_SIDE, [frame, frame]);
  assert.deepEqual(templates(simulation), ['IP NONE 10.0.1.100 0.0.0.7:0 10.0.2.12:0 20']);
  assert.equal(simulation.connections().length, 1);
  assert.equal(hosts.connect('10.0.1.100:1001', SERVICE, true), 'rs2');
  assert.ok(hosts.exchange('10.0.1.100:1001', 'rs2'));
  assert.equal(simulation.connections().length, 2);
});

test('templates are found, counted and sorted among connections', () => {
  const { simulation, hosts } = stand({ address: '0.0.0.0', port: 0, fwmark: 7 });
  simulation.marks.execute({ operation: 'append', family: 4, rules: ['-j MARK --set-mark 7'] });
  hosts.connect('172.16.0.1:1001', SERVICE, true);
  hosts.connect('172.16.0.2:1001', SERVICE, true);
  simulation.receive(CLIENT_SIDE, syn(80));
  const ask = (words: Record<string, string>): unknown => {
    const query = parseConnectionQuery(Object.entries(words));
    const { connections } = simulation.tables;
    return JSON.parse(selectConnections(connections, simulation.tick, query));
  };
  const assured = (ask({ state: 'assured', sort: 'client' }) as ConnectionList).connections;
  assert.deepEqual(
    assured.map(({ protocol, client, virtual }) => `${protocol} ${client} ${virtual}`),
    ['IP 172.16.0.1 0.0.0.7', 'IP 172.16.0.2 0.0.0.7'],
  );
  const byState = ask({ count: 'state' }) as ConnectionCounts;
  assert.equal(byState.total, 6);
  assert.deepEqual(byState.groups.map(({ key, connections }) => `${key} ${connections}`).sort(), [
    'ASSURED 2',
    'ESTABLISHED 2',
    'NONE 1',
    'SYN_RECV 1',
  ]);
  const byService = ask({ count: 'service' }) as ConnectionCounts;
  assert.deepEqual(byService.groups.map(({ key, connections }) => `${key} ${connections}`).sort(), [
    'ip 0.0.0.7:0 3',
    `tcp ${VIP}:80 3`,
  ]);
  const marked = ask({ service: '0.0.0.7' }) as ConnectionList;
  assert.equal(marked.total, 3);
});
