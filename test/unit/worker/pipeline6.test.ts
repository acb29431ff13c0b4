/** IPv6 through the pipeline: what pipeline.test.ts and the fixtures have for IPv4. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServerSettings, ServiceKey, ServiceSettings } from '#xvs/control/protocol';
import { COUNTER, serviceTraffic } from '#xvs/table/counter';
import { decode, differences } from '../../support/decode';
import { type Checksum, CLIENT_MAC, DIRECTOR_MAC_1, ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  NOWHERE6,
  type Outcome,
  SERVER_SIDE,
  Simulation,
  serverAddress6,
  serverMac,
  UNSERVED6,
  VIP6,
} from '../../support/simulation';

const CLIENT = 'fd00:1::100';

interface Options {
  readonly key?: Partial<ServiceKey>;
  readonly service?: Partial<ServiceSettings>;
  readonly server?: Partial<ServerSettings>;
  readonly servers?: number;
}

function prepare(simulation: Simulation, options: Options = {}): ServiceKey {
  const { key = {}, service = {}, server = {}, servers = 2 } = options;
  const added = simulation.addService(
    { family: 6, address: VIP6, ...key },
    { netmask: '128', ...service },
  );
  for (let number = 1; number <= servers; number++) {
    simulation.addServer(added, serverAddress6(number), 8000, server);
  }
  return added;
}

interface Fields {
  readonly client?: string;
  readonly port?: number;
  readonly to?: string;
  readonly toPort?: number;
  readonly flags?: string;
  readonly hopLimit?: number;
  readonly checksum?: Checksum;
  readonly extensions?: Uint8Array;
  readonly payload?: string;
}

function fromClient(kind: 'tcp' | 'udp', fields: Fields = {}): Uint8Array {
  const { client = CLIENT, port = 40001, to = VIP6, toPort = 80, flags = 'S' } = fields;
  const { extensions = new Uint8Array(0), hopLimit = 64, payload = '' } = fields;
  const last = kind === 'tcp' ? 6 : 17;
  const start = ethernet().ipv6({
    source: client,
    destination: to,
    hopLimit,
    extensions,
    nextHeader: extensions.length === 0 ? last : 0,
  });
  const ends = { source: port, destination: toPort, checksum: fields.checksum ?? 'correct' };
  if (kind === 'tcp') start.tcp({ ...ends, flags });
  else start.udp(ends);
  return start.payload(payload).build();
}

function fromServer(kind: 'tcp' | 'udp', number: number, fields: Fields = {}): Uint8Array {
  const { to = CLIENT, toPort = 40001, flags = 'SA', hopLimit = 64, payload = '' } = fields;
  const start = ethernet({ source: serverMac(number), destination: DIRECTOR_MAC_1 }).ipv6({
    source: serverAddress6(number),
    destination: to,
    hopLimit,
  });
  const ends = {
    source: fields.port ?? 8000,
    destination: toPort,
    checksum: fields.checksum ?? 'correct',
  };
  if (kind === 'tcp') start.tcp({ ...ends, flags });
  else start.udp(ends);
  return start.payload(payload).build();
}

const toServer = (outcome: Outcome): Uint8Array | undefined => outcome.sent[SERVER_SIDE][0];
const toClient = (outcome: Outcome): Uint8Array | undefined => outcome.sent[CLIENT_SIDE][0];

/** Which server a frame of a client goes to: 1 to 4. */
function serverOf(simulation: Simulation, frame: Uint8Array): number {
  const sent = toServer(simulation.receive(CLIENT_SIDE, frame));
  assert.ok(sent, 'the frame did not leave');
  return Number(String(decode(sent)['ethernet.destination']).slice(-1));
}

for (const kind of ['tcp', 'udp'] as const) {
  for (const checksum of ['correct', 'unfinished'] as const) {
    test(`NAT of ${kind}, ${checksum} checksum: there and back`, () => {
      const simulation = new Simulation();
      prepare(simulation, { key: { protocol: kind } });
      const frame = fromClient(kind, { checksum, payload: 'hello' });
      const there = toServer(simulation.receive(CLIENT_SIDE, frame));
      const expected = ethernet({ source: DIRECTOR_MAC_1, destination: serverMac(2) }).ipv6({
        source: CLIENT,
        destination: serverAddress6(2),
        hopLimit: 63,
      });
      if (kind === 'tcp') expected.tcp({ destination: 8000 });
      else expected.udp({ destination: 8000 });
      assert.deepEqual(differences(there!, expected.payload('hello').build()), []);
      const answer = fromServer(kind, 2, { checksum, payload: 'world' });
      const back = toClient(simulation.receive(SERVER_SIDE, answer));
      const wanted = ethernet({ source: '02:00:00:00:01:01', destination: CLIENT_MAC }).ipv6({
        source: VIP6,
        destination: CLIENT,
        hopLimit: 63,
      });
      const ends = { source: 80, destination: 40001 };
      if (kind === 'tcp') wanted.tcp({ ...ends, flags: 'SA' });
      else wanted.udp(ends);
      assert.deepEqual(differences(back!, wanted.payload('world').build()), []);
      assert.equal(simulation.counter('checksums_unfinished'), checksum === 'correct' ? 0 : 2);
      assert.deepEqual(simulation.verdicts(), {});
      simulation.assertNoLeak();
    });
  }
}

test('direct routing changes MACs and hop limit, and nothing else', () => {
  const simulation = new Simulation();
  prepare(simulation, { server: { method: 'dr' } });
  const frame = fromClient('tcp');
  const there = toServer(simulation.receive(CLIENT_SIDE, frame));
  const expected = ethernet({ source: DIRECTOR_MAC_1, destination: serverMac(2) })
    .ipv6({ hopLimit: 63 })
    .tcp()
    .build();
  assert.deepEqual(differences(there!, expected), []);
  simulation.receive(CLIENT_SIDE, fromClient('tcp', { flags: 'A' }));
  assert.deepEqual(
    simulation.connections().map(({ state, real }) => `${state} ${real}`),
    [`ESTABLISHED ${serverAddress6(2)}`],
  );
});

test('a connection lives, closes and ends as over IPv4; its listing has its addresses', () => {
  const simulation = new Simulation();
  const service = prepare(simulation, { servers: 1 });
  const slot = simulation.serverSlot(service, serverAddress6(1));
  const { realServers } = simulation.tables;
  const state = (): string => simulation.connections()[0]!.state;
  const client = (flags: string): Outcome =>
    simulation.receive(CLIENT_SIDE, fromClient('tcp', { flags }));
  const server = (flags: string): Outcome =>
    simulation.receive(SERVER_SIDE, fromServer('tcp', 1, { flags }));
  client('S');
  assert.equal(state(), 'SYN_RECV');
  server('SA');
  client('A');
  assert.equal(state(), 'ESTABLISHED');
  assert.deepEqual([realServers.active(slot), realServers.inactive(slot)], [1, 0]);
  const [listed] = simulation.connections();
  assert.deepEqual(
    [listed!.family, listed!.client, listed!.virtual, listed!.real, listed!.realPort],
    [6, CLIENT, VIP6, serverAddress6(1), 8000],
  );
  client('FA');
  server('FA');
  client('A');
  assert.equal(state(), 'TIME_WAIT');
  assert.deepEqual([realServers.active(slot), realServers.inactive(slot)], [0, 1]);
  simulation.advance(1200);
  assert.deepEqual(simulation.connections(), []);
  assert.deepEqual([realServers.active(slot), realServers.inactive(slot)], [0, 0]);
  assert.equal(simulation.counter('connections_expired'), 1);
  // The entry serves another connection, of the other family.
  const four = simulation.addService();
  simulation.addServer(four, '10.0.2.11');
  simulation.receive(CLIENT_SIDE, ethernet().ipv4().tcp().build());
  assert.equal(simulation.connections()[0]!.client, '10.0.1.100');
});

test('clients that differ in one word of their addresses have connections of their own', () => {
  const simulation = new Simulation();
  prepare(simulation, { key: { protocol: 'udp' }, servers: 4 });
  const clients = ['fd00:c::1', 'fd00:c:1::1', 'fd00:c:0:1::1', 'fd00:c::1:0:0:1', 'fd00:c::1:1'];
  const chosen = clients.map((client) => serverOf(simulation, fromClient('udp', { client })));
  assert.deepEqual(chosen, [4, 3, 2, 1, 4]);
  const again = clients.map((client) => serverOf(simulation, fromClient('udp', { client })));
  assert.deepEqual(again, chosen);
  assert.equal(simulation.connections().length, clients.length);
});

test('extension headers stay, and the transport behind them is translated', () => {
  const simulation = new Simulation();
  prepare(simulation, { servers: 1 });
  const extensions = Uint8Array.from([60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]);
  const there = toServer(simulation.receive(CLIENT_SIDE, fromClient('tcp', { extensions })));
  const expected = ethernet({ source: DIRECTOR_MAC_1, destination: serverMac(1) })
    .ipv6({ destination: serverAddress6(1), hopLimit: 63, extensions, nextHeader: 0 })
    .tcp({ destination: 8000 })
    .build();
  assert.deepEqual(Buffer.from(there!).toString('hex'), Buffer.from(expected).toString('hex'));
  // The same connection without them.
  simulation.receive(CLIENT_SIDE, fromClient('tcp', { flags: 'A' }));
  assert.equal(simulation.connections().length, 1);
});

test('another worker’s connection is found, both ways', () => {
  const simulation = new Simulation({ workers: 2 });
  prepare(simulation);
  const there = toServer(simulation.receive(CLIENT_SIDE, fromClient('tcp'), 0));
  assert.equal(decode(there!)['ethernet.destination'], serverMac(2));
  const back = simulation.receive(SERVER_SIDE, fromServer('tcp', 2), 1);
  assert.equal(decode(toClient(back)!)['ipv6.source'], VIP6);
  const more = simulation.receive(CLIENT_SIDE, fromClient('tcp', { flags: 'A' }), 1);
  assert.equal(decode(toServer(more)!)['ethernet.destination'], serverMac(2));
  assert.equal(simulation.counter('foreign_packets'), 2);
});

const hopLimitOne = [
  {
    name: 'from a client: its answer comes from the VIP',
    side: CLIENT_SIDE,
    frame: fromClient('udp', { hopLimit: 1 }),
    expected: { 'ipv6.source': VIP6, 'ipv6.destination': CLIENT, 'icmp6.type': 3 },
    inPackets: 2,
  },
  {
    name: 'from a server: its answer comes from the director, and the state stays',
    side: SERVER_SIDE,
    frame: fromServer('udp', 2, { hopLimit: 1 }),
    expected: {
      'ipv6.source': 'fd00:2::1',
      'ipv6.destination': serverAddress6(2),
      'icmp6.type': 3,
    },
    inPackets: 1,
  },
] as const;
for (const { name, side, frame, expected, inPackets } of hopLimitOne) {
  test(`hop limit 1 ${name}`, () => {
    const simulation = new Simulation();
    const service = prepare(simulation, { key: { protocol: 'udp' } });
    simulation.receive(CLIENT_SIDE, fromClient('udp'));
    const { sent } = simulation.receive(side, frame);
    const fields = decode(sent[side][0]!);
    const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, fields[key]]));
    assert.deepEqual(seen, expected);
    assert.equal(fields['icmp6.checksumIs'], 'correct');
    assert.deepEqual(simulation.verdicts(), { ttl_exceeded: 1 });
    const traffic = serviceTraffic(simulation.director.find(service)!.slot);
    const block = simulation.tables.counters[0]!;
    assert.deepEqual([block[traffic + 1], block[traffic + 2]], [inPackets, 0]);
    simulation.assertNoLeak();
  });
}

test('too long for the way on: packet too big, with the MTU', () => {
  const simulation = new Simulation();
  prepare(simulation, { key: { protocol: 'udp' } });
  const { links } = simulation.tables.nextHops;
  links.set(SERVER_SIDE, {
    interfaceIndex: 3,
    macHigh: links.macHigh(SERVER_SIDE),
    macLow: links.macLow(SERVER_SIDE),
    mtu: 1400,
    up: true,
    address: links.address(SERVER_SIDE),
  });
  const frame = fromClient('udp', { payload: 'x'.repeat(1400) });
  const error = toClient(simulation.receive(CLIENT_SIDE, frame));
  const fields = decode(error!);
  assert.deepEqual(
    [fields['icmp6.type'], fields['icmp6.code'], fields['icmp6.rest'], fields['ipv6.source']],
    [2, 0, 1400, VIP6],
  );
  assert.deepEqual(simulation.verdicts(), { mtu_exceeded: 1 });
});

test('frames wait for a neighbour, by all words of its address', () => {
  const simulation = new Simulation({ neighbours: false });
  prepare(simulation, { key: { protocol: 'udp' }, servers: 2 });
  simulation.resolve(CLIENT_SIDE, CLIENT, CLIENT_MAC);
  const waits = simulation.receive(CLIENT_SIDE, fromClient('udp', { payload: 'a' }));
  assert.deepEqual(waits.sent, [[], []]);
  simulation.receive(CLIENT_SIDE, fromClient('udp', { port: 40002, payload: 'b' }));
  assert.equal(simulation.counter('neighbour_waited'), 2);
  simulation.resolve(SERVER_SIDE, serverAddress6(1), serverMac(1));
  const first = simulation.advance(1);
  assert.deepEqual(
    first.sent[SERVER_SIDE].map((frame) => decode(frame)['payload']),
    ['62'],
    'only what goes to this server',
  );
  simulation.advance(30);
  assert.deepEqual(simulation.verdicts(), { neighbour_unresolved: 1 });
  simulation.assertNoLeak();
});

const PASSES: readonly [string, string, (simulation: Simulation) => void, Uint8Array][] = [
  ['no_connection', 'another port', (s) => void prepare(s), fromClient('tcp', { toPort: 81 })],
  ['not_scheduled', 'an ACK', (s) => void prepare(s), fromClient('tcp', { flags: 'A' })],
  ['not_scheduled', 'FTP data', (s) => void prepare(s), fromClient('tcp', { port: 20 })],
  ['no_service', 'no service', () => {}, fromClient('tcp')],
  [
    'local_real_server',
    'a server that is the host itself',
    (s) => s.addServer(prepare(s, { servers: 0 }), VIP6, 80),
    fromClient('tcp'),
  ],
  [
    'local_real_server',
    'the same with direct routing',
    (s) => s.addServer(prepare(s, { servers: 0 }), 'fd00:2::1', 80, { method: 'dr' }),
    fromClient('tcp'),
  ],
];
for (const [reason, name, arrange, frame] of PASSES) {
  test(`${reason}: ${name}: the host gets the frame as it came`, () => {
    const simulation = new Simulation();
    arrange(simulation);
    const { host, sent } = simulation.receive(CLIENT_SIDE, frame);
    assert.deepEqual(sent, [[], []]);
    assert.deepEqual(differences(host[0]!, frame), []);
    assert.deepEqual(simulation.verdicts(), { [reason]: 1 });
    simulation.assertNoLeak();
  });
}

test('the host gets an unfinished checksum finished', () => {
  const simulation = new Simulation();
  prepare(simulation);
  const frame = fromClient('tcp', { toPort: 81, checksum: 'unfinished' });
  const { host } = simulation.receive(CLIENT_SIDE, frame);
  assert.equal(decode(host[0]!)['tcp.checksumIs'], 'correct');
});

test('no server: port unreachable; no route, an unserved interface, a removed server', () => {
  const empty = new Simulation();
  prepare(empty, { servers: 0 });
  const error = decode(toClient(empty.receive(CLIENT_SIDE, fromClient('tcp')))!);
  assert.deepEqual([error['icmp6.type'], error['icmp6.code']], [1, 4]);
  assert.deepEqual(empty.verdicts(), { no_real_server: 1 });

  const lost = new Simulation();
  lost.addServer(prepare(lost, { servers: 0 }), NOWHERE6);
  lost.receive(CLIENT_SIDE, fromClient('tcp'));
  assert.deepEqual(lost.verdicts(), { no_route: 1 });

  const unserved = new Simulation();
  unserved.addServer(prepare(unserved, { servers: 0 }), UNSERVED6);
  const { host } = unserved.receive(CLIENT_SIDE, fromClient('tcp'));
  assert.deepEqual(unserved.verdicts(), { unserved_interface: 1 });
  assert.equal(decode(host[0]!)['ipv6.destination'], UNSERVED6);
  assert.equal(decode(host[0]!)['tcp.checksumIs'], 'correct');

  const removed = new Simulation();
  const service = prepare(removed, { servers: 1 });
  removed.receive(CLIENT_SIDE, fromClient('tcp'));
  removed.director.execute({
    command: 'delete-server',
    service,
    server: { family: 6, address: serverAddress6(1), port: 8000 },
  });
  removed.receive(CLIENT_SIDE, fromClient('tcp', { flags: 'A' }));
  assert.deepEqual(removed.verdicts(), { real_server_unavailable: 1 });
});

test('persistence by prefix: one server for each /64, templates are listed and end', () => {
  const simulation = new Simulation();
  prepare(simulation, { service: { persistentTimeout: 60, netmask: '64' }, servers: 4 });
  const server = (client: string, port: number): number =>
    serverOf(simulation, fromClient('tcp', { client, port }));
  const first = server('fd00:c::1', 1001);
  assert.equal(server('fd00:c::2', 1002), first);
  assert.equal(server('fd00:c::ffff:0:0:3', 1003), first);
  assert.notEqual(server('fd00:c:0:1::1', 1004), first);
  const templates = simulation.connections().filter(({ clientPort }) => clientPort === 0);
  assert.deepEqual(templates.map(({ client }) => client).sort(), ['fd00:c:0:1::', 'fd00:c::']);
  simulation.advance(3000);
  assert.deepEqual(simulation.connections(), []);
});

test('nat_icmp_send: what a server says without a connection is refused', () => {
  const simulation = new Simulation();
  prepare(simulation);
  simulation.director.sysctls.set({ nat_icmp_send: 1 });
  const refused = simulation.receive(SERVER_SIDE, fromServer('tcp', 2, { flags: 'A' }));
  const fields = decode(refused.sent[SERVER_SIDE][0]!);
  assert.deepEqual(
    [fields['icmp6.type'], fields['icmp6.code'], fields['icmp6.quoted.ipv6.hopLimit']],
    [1, 4, 63],
  );
  const others = [
    fromServer('tcp', 2, { flags: 'R' }),
    fromServer('tcp', 2, { flags: 'A', port: 8001 }),
    fromServer('tcp', 3, { flags: 'A' }),
  ];
  simulation.receive(SERVER_SIDE, others);
  assert.deepEqual(simulation.verdicts(), { real_server_refused: 1, no_connection: 3 });
});

test('a service for any port, and FTP’s data, over IPv6', () => {
  const any = new Simulation();
  prepare(any, { key: { port: 0 }, service: { persistentTimeout: 60 } });
  const one = serverOf(any, fromClient('tcp', { toPort: 443 }));
  assert.equal(serverOf(any, fromClient('tcp', { toPort: 8443, port: 40002 })), one);

  const ftp = new Simulation();
  prepare(ftp, { key: { port: 21 }, service: { persistentTimeout: 60 } });
  const control = serverOf(ftp, fromClient('tcp', { toPort: 21 }));
  assert.equal(serverOf(ftp, fromClient('tcp', { toPort: 33000, port: 40003 })), control);
});

test('a service by mark, persistent: one server for both ports', () => {
  const simulation = new Simulation();
  const rules = ['-d fd00:100::1 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 66'];
  simulation.marks.execute({ operation: 'append', family: 6, rules });
  const key = { address: '::', port: 0, fwmark: 66 };
  prepare(simulation, { key, service: { persistentTimeout: 60 }, servers: 3 });
  const one = serverOf(simulation, fromClient('tcp', { toPort: 80 }));
  assert.equal(serverOf(simulation, fromClient('tcp', { toPort: 443, port: 40002 })), one);
  const other = simulation.receive(CLIENT_SIDE, fromClient('tcp', { toPort: 8080 }));
  assert.equal(other.host.length, 1);
  assert.ok(simulation.connections().some(({ protocol }) => protocol === 'IP'));
});

test('one-packet scheduling leaves nothing', () => {
  const simulation = new Simulation();
  prepare(simulation, { key: { protocol: 'udp' }, service: { onePacket: true } });
  const chosen = [1, 2, 3].map(() => serverOf(simulation, fromClient('udp')));
  assert.deepEqual(chosen, [2, 1, 2]);
  assert.deepEqual(simulation.connections(), []);
  assert.equal(simulation.counter('connections_expired'), 3);
});

test('hash schedulers see the whole address: sh keeps a client, dh a destination', () => {
  for (const scheduler of ['sh', 'dh', 'mh', 'lblc', 'lblcr'] as const) {
    const simulation = new Simulation();
    prepare(simulation, { key: { protocol: 'udp' }, service: { scheduler }, servers: 4 });
    const seen = new Set<number>();
    for (let client = 1; client <= 32; client++) {
      const address = `fd00:c:${client}::1`;
      const one = serverOf(simulation, fromClient('udp', { client: address }));
      assert.equal(serverOf(simulation, fromClient('udp', { client: address, port: 5 })), one);
      seen.add(one);
    }
    if (scheduler === 'sh' || scheduler === 'mh') assert.equal(seen.size, 4, scheduler);
    else assert.equal(seen.size, 1, scheduler);
  }
});

test('a mixed load of both families fills one table, and frees it', () => {
  const simulation = new Simulation({ chunks: 600 });
  prepare(simulation, { key: { protocol: 'udp' } });
  const four = simulation.addService({ protocol: 'udp' });
  simulation.addServer(four, '10.0.2.11');
  const { capacity } = simulation.tables.connections;
  for (let round = 0; round < 3; round++) {
    const frames = Array.from({ length: capacity }, (_, at) =>
      at % 2 === 0
        ? fromClient('udp', { port: 1024 + at })
        : ethernet()
            .ipv4()
            .udp({ source: 1024 + at })
            .build(),
    );
    const { sent } = simulation.receive(CLIENT_SIDE, frames);
    assert.equal(sent[SERVER_SIDE].length, capacity);
    const refused = simulation.receive(CLIENT_SIDE, fromClient('udp', { port: 5 }));
    assert.deepEqual(refused.sent, [[], []]);
    assert.equal(simulation.counter('table_full'), round + 1);
    simulation.jump(3000);
    simulation.advance(20);
    assert.deepEqual(simulation.connections(), []);
  }
  assert.equal(simulation.tables.counters[0]![COUNTER.connections_created], 3 * capacity);
  simulation.assertNoLeak();
});
