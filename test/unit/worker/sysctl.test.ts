/**
 * What each sysctl changes, seen on packets and tables. cache_bypass and single packets of
 * nat_icmp_send are in test/fixture/verdicts.test.ts, expire_quiescent_template in
 * persistence.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceKey } from '#xvs/control/protocol';
import { SYSCTLS } from '#xvs/control/sysctl';
import { decode } from '../../support/decode';
import { Hosts, TIMEOUT } from '../../support/hosts';
import { ethernet } from '../../support/packet';
import { Scheduling } from '../../support/scheduling';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverSettings,
  VIP,
  withServers,
} from '../../support/simulation';

const CLIENT = '10.0.1.100:40001';
const SERVICE = `${VIP}:80`;

const segment = (flags: string, source = 40001): Uint8Array =>
  ethernet().ipv4().tcp({ source, flags }).build();

/** Last digit of the server that a frame from the client goes to, '' when it goes nowhere. */
function serverOf(simulation: Simulation, frame: Uint8Array): string {
  const [sent] = simulation.receive(CLIENT_SIDE, frame).sent[SERVER_SIDE];
  return sent === undefined ? '' : String(decode(sent)['ethernet.destination']).slice(-1);
}

const states = (simulation: Simulation): string[] =>
  simulation.connections().map(({ state }) => state);

const serverKey = (number: number, port = 8000) =>
  ({ family: 4, address: serverAddress(number), port }) as const;

function quiesce(simulation: Simulation, service: ServiceKey, number: number): void {
  const settings = serverSettings({ weight: 0 });
  const server = serverKey(number);
  simulation.director.execute({ command: 'edit-server', service, server, settings });
}

test('conn_reuse_mode 0: a SYN in TIME_WAIT stays the old connection’s', () => {
  const simulation = new Simulation();
  withServers(simulation, 2);
  simulation.director.sysctls.set({ conn_reuse_mode: 0 });
  const hosts = new Hosts(simulation);
  assert.equal(hosts.connect(CLIENT, SERVICE), 'rs2');
  assert.equal(hosts.connect(CLIENT, SERVICE), 'rs2');
  simulation.director.sysctls.set({ conn_reuse_mode: 1 });
  assert.equal(hosts.connect(CLIENT, SERVICE), 'rs1');
});

test('conn_reuse_mode 2: also in FIN_WAIT with direct routing', () => {
  for (const mode of [1, 2, 3]) {
    const simulation = new Simulation();
    const service = simulation.addService();
    for (const number of [1, 2]) {
      simulation.addServer(service, serverAddress(number), 80, { method: 'dr' });
    }
    simulation.director.sysctls.set({ conn_reuse_mode: mode });
    const hosts = new Hosts(simulation, 'dr');
    assert.equal(hosts.connect(CLIENT, SERVICE), 'rs2');
    assert.deepEqual(states(simulation), ['FIN_WAIT']);
    assert.equal(serverOf(simulation, segment('S')), mode === 1 ? '2' : '1');
  }
});

test('connections of a persistent service are never reused', () => {
  const simulation = new Simulation();
  const service = simulation.addService({}, { persistentTimeout: 20 });
  simulation.addServer(service, serverAddress(1));
  const hosts = new Hosts(simulation);
  hosts.connect(CLIENT, SERVICE);
  hosts.connect(CLIENT, SERVICE);
  assert.equal(simulation.counter('connections_created'), 1);
});

test('expire_nodest_conn: a SYN to a quiesced server begins anew elsewhere', () => {
  const simulation = new Simulation();
  const service = withServers(simulation, 2);
  const hosts = new Hosts(simulation);
  assert.equal(hosts.connect(CLIENT, SERVICE, true), 'rs2');
  quiesce(simulation, service, 2);
  assert.equal(serverOf(simulation, segment('S')), '2', 'by default it is honoured');
  simulation.director.sysctls.set({ expire_nodest_conn: 1 });
  assert.ok(hosts.exchange(CLIENT, 'rs2'), 'what runs goes on');
  assert.equal(serverOf(simulation, segment('S')), '1');
});

test('expire_nodest_conn: a datagram of a removed server’s connection goes to another', () => {
  const simulation = new Simulation();
  const service = withServers(simulation, 2, { protocol: 'udp' });
  const hosts = new Hosts(simulation);
  assert.equal(hosts.datagram(CLIENT, SERVICE, 5), 'rs2');
  simulation.director.execute({ command: 'delete-server', service, server: serverKey(2) });
  assert.equal(hosts.datagram(CLIENT, SERVICE, 5), TIMEOUT);
  assert.deepEqual(simulation.verdicts(), { real_server_unavailable: 1 });
  simulation.director.sysctls.set({ expire_nodest_conn: 1 });
  assert.equal(hosts.datagram(CLIENT, SERVICE, 5), 'rs1');
  simulation.advance(2);
  assert.equal(simulation.connections().length, 1);
});

test('expire_nodest_conn: with a server all of its connections go, of others none', () => {
  for (const on of [0, 1]) {
    const simulation = new Simulation({ workers: 2 });
    const service = withServers(simulation, 2);
    const hosts = new Hosts(simulation);
    simulation.director.sysctls.set({ expire_nodest_conn: on });
    for (let port = 1; port <= 300; port++) {
      hosts.clientWorker = port % 2;
      hosts.connect(`172.16.0.1:${1024 + port}`, SERVICE, true);
    }
    const slot = simulation.serverSlot(service, serverAddress(2));
    simulation.director.execute({ command: 'delete-server', service, server: serverKey(2) });
    simulation.advance(20);
    assert.equal(simulation.tables.realServers.references(slot), on === 0 ? 150 : 0);
    assert.equal(simulation.connections().length, on === 0 ? 300 : 150);
    assert.equal(simulation.tables.connections.freeCount, on === 0 ? 724 : 874);
  }
});

test('expire_nodest_conn: a template goes once no connection needs it', () => {
  const simulation = new Simulation();
  const service = simulation.addService({}, { persistentTimeout: 1000 });
  simulation.addServer(service, serverAddress(1));
  const hosts = new Hosts(simulation);
  hosts.connect(CLIENT, SERVICE, true);
  simulation.director.sysctls.set({ expire_nodest_conn: 1 });
  simulation.director.execute({ command: 'delete-server', service, server: serverKey(1) });
  simulation.advance(20);
  assert.deepEqual(
    simulation.connections().map((row) => [row.clientPort, row.expiresSeconds > 900]),
    [[0, true]],
    'its connection went, it was not looked at before',
  );
  simulation.director.execute({ command: 'delete-service', service });
  simulation.addServer(simulation.addService(), serverAddress(3));
  simulation.director.execute({ command: 'flush' });
  simulation.advance(20);
  assert.deepEqual(simulation.connections(), []);
});

test('sloppy_tcp: any packet but a RST begins a connection, and assures its template', () => {
  const simulation = new Simulation();
  const service = simulation.addService({}, { persistentTimeout: 20 });
  simulation.addServer(service, serverAddress(1));
  assert.equal(serverOf(simulation, segment('A')), '');
  simulation.director.sysctls.set({ sloppy_tcp: 1 });
  assert.equal(serverOf(simulation, segment('R')), '');
  assert.equal(serverOf(simulation, segment('A')), '1');
  assert.deepEqual(states(simulation).sort(), ['ASSURED', 'ESTABLISHED']);
  assert.equal(serverOf(simulation, segment('FA', 40002)), '1');
  assert.deepEqual(states(simulation).sort(), ['ASSURED', 'CLOSE', 'ESTABLISHED']);
  const slot = simulation.serverSlot(service, serverAddress(1));
  const { realServers } = simulation.tables;
  assert.deepEqual([realServers.active(slot), realServers.inactive(slot)], [1, 1]);
});

test('drop_packet 3: every am_droprate-th packet that would begin a connection', () => {
  const simulation = new Simulation();
  withServers(simulation, 1);
  simulation.director.sysctls.set({ drop_packet: 3, am_droprate: 4 });
  const answers = Array.from({ length: 12 }, (_, at) => serverOf(simulation, segment('S', 1 + at)));
  assert.equal(answers.filter((answer) => answer === '').length, 3);
  assert.deepEqual(simulation.verdicts(), { drop_packet: 3 });
  // Packets of connections are not its matter.
  const [first] = answers.map((answer, at) => (answer === '' ? 0 : 1 + at)).filter((port) => port);
  for (let turn = 0; turn < 8; turn++) assert.equal(serverOf(simulation, segment('A', first)), '1');
  simulation.director.sysctls.set({ drop_packet: 0 });
  for (let port = 100; port < 120; port++)
    assert.equal(serverOf(simulation, segment('S', port)), '1');
});

test('secure_tcp 3: a handshake is finished by the client’s second packet only', () => {
  const simulation = new Simulation();
  const nat = withServers(simulation, 1);
  const answer = ethernet({ source: '02:00:00:00:02:11', destination: '02:00:00:00:02:01' })
    .ipv4({ source: serverAddress(1), destination: '10.0.1.100' })
    .tcp({ source: 8000, destination: 40001, flags: 'SA' })
    .build();
  const run = (): string[] => {
    const seen: string[] = [];
    for (const [side, frame] of [
      [CLIENT_SIDE, segment('S')],
      [SERVER_SIDE, answer],
      [CLIENT_SIDE, segment('A')],
    ] as const) {
      simulation.receive(side, frame);
      seen.push(states(simulation).join());
    }
    simulation.receive(CLIENT_SIDE, segment('R'));
    simulation.advance(1300);
    return seen;
  };
  assert.deepEqual(run(), ['SYN_RECV', 'SYN_RECV', 'ESTABLISHED']);
  simulation.director.sysctls.set({ secure_tcp: 3 });
  assert.deepEqual(run(), ['SYN_RECV', 'SYNACK', 'SYNACK']);
  const slot = simulation.serverSlot(nat, serverAddress(1));
  assert.equal(simulation.tables.realServers.references(slot), 0);
  const direct = simulation.addService({ port: 81 });
  simulation.addServer(direct, serverAddress(1), 81, { method: 'dr' });
  simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp({ destination: 81 }).build());
  assert.deepEqual(states(simulation), ['SYNACK']);
});

test('nat_icmp_send follows the servers that there are', () => {
  const simulation = new Simulation();
  const service = withServers(simulation, 1);
  simulation.director.sysctls.set({ nat_icmp_send: 1 });
  const stray = (number: number): number => {
    const frame = ethernet({
      source: `02:00:00:00:02:1${number}`,
      destination: '02:00:00:00:02:01',
    })
      .ipv4({ source: serverAddress(number), destination: '10.0.1.200' })
      .udp({ source: 8000, destination: 9 })
      .build();
    return simulation.receive(SERVER_SIDE, frame).sent[SERVER_SIDE].length;
  };
  assert.equal(stray(1), 0, 'it is a TCP server');
  const udp = withServers(simulation, 2, { protocol: 'udp' });
  simulation.addServer(udp, serverAddress(3), 8000, { method: 'dr' });
  simulation.advance(10);
  assert.deepEqual([stray(1), stray(2), stray(3)], [1, 1, 0]);
  simulation.director.execute({ command: 'delete-server', service: udp, server: serverKey(1) });
  simulation.advance(10);
  assert.deepEqual([stray(1), stray(2)], [0, 1]);
  simulation.director.sysctls.set({ nat_icmp_send: 0 });
  assert.equal(stray(2), 0);
  assert.ok(simulation.director.find(service));
});

/** Choices for one destination while the time goes on, and what is remembered afterwards. */
function remembered(scheduler: 'lblc' | 'lblcr', expirationSeconds: number): number {
  const scheduling = new Scheduling();
  scheduling.start(scheduler);
  for (const number of [1, 2]) scheduling.add(number, 1);
  scheduling.director.sysctls.set({ [`${scheduler}_expiration`]: expirationSeconds });
  scheduling.choose({ client: '172.16.0.1', port: 1, destination: '198.51.100.1' });
  scheduling.tick += 40 * 600;
  for (let minute = 0; minute < 30; minute++) scheduling.director.ageLocalities(scheduling.tick);
  const { slot } = scheduling.director.find(scheduling.key)!;
  return scheduling.tables.localities.count(slot);
}

test('lblc_expiration and lblcr_expiration: what is not used for so long is forgotten', () => {
  for (const scheduler of ['lblc', 'lblcr'] as const) {
    assert.equal(remembered(scheduler, 86_400), 1);
    assert.equal(remembered(scheduler, 39 * 60), 0);
    assert.equal(remembered(scheduler, 41 * 60), 1);
  }
});

test('run_estimation 0: rates stay as they were', () => {
  const simulation = new Simulation();
  const service = withServers(simulation, 1, { protocol: 'udp' });
  const rate = (): number => simulation.director.find(service)!.estimator.rates.inPackets;
  const load = (): void => {
    for (let i = 0; i < 200; i++) {
      simulation.receive(CLIENT_SIDE, ethernet().ipv4().udp().build());
    }
    simulation.director.estimate();
  };
  load();
  const before = rate();
  assert.ok(before > 0);
  simulation.director.sysctls.set({ run_estimation: 0 });
  load();
  assert.equal(rate(), before);
  simulation.director.sysctls.set({ run_estimation: 1 });
  load();
  assert.ok(rate() > before);
});

test('defaults, limits, all or nothing', () => {
  const simulation = new Simulation();
  const { sysctls } = simulation.director;
  const before = { ...sysctls.values };
  for (const [name, { minimum, maximum, standard }] of Object.entries(SYSCTLS)) {
    assert.equal(sysctls.value(name), standard);
    for (const value of [minimum - 1, maximum + 1, 0.5]) {
      const attempt = () => sysctls.set({ sloppy_tcp: 1, [name]: value });
      assert.throws(attempt, {
        code: 'ERR_VALUE',
        message: `sysctl ${name} ${value}: ${minimum} to ${maximum} are allowed`,
      });
    }
  }
  assert.throws(() => sysctls.set({ sloppy_tcp: 1, bogus: 1 }), {
    message: /^sysctl "bogus" is unknown; allowed are am_droprate, amemthresh, /,
  });
  assert.throws(() => sysctls.set({ sloppy_tcp: 1, conntrack: 1 }), {
    message: 'sysctl conntrack: has no meaning here: netfilter does not see balanced packets',
  });
  assert.deepEqual(sysctls.values, before);
  assert.equal(simulation.tables.settings.sloppyTcp, 0);
});
