/**
 * FULLNAT on the memory port, both families: what a real server and the client see of a
 * connection, sequence numbers, the client's address as TCP option, ports that run out, resets.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServiceKey } from '#xvs/control/protocol';
import { LOCAL_PORT_FIRST, LOCAL_PORTS } from '#xvs/table/localPort';
import { decode, type Fields } from '../../support/decode';
import { ethernet, type PacketBuilder } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  type Side,
  Simulation,
  serverAddress,
  serverAddress6,
  serverMac,
} from '../../support/simulation';

/** TCP options of a client that begins: MSS 1460, SACK, timestamp, window scale. */
const SYN_OPTIONS = Uint8Array.from([
  2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 1, 1, 0, 0, 0, 0, 1, 3, 3, 7,
]);
const SERVER_FIRST = 0x7ffffff0;

interface Family {
  readonly name: string;
  readonly family: 4 | 6;
  readonly header: 'ipv4' | 'ipv6';
  readonly client: string;
  readonly virtual: string;
  readonly local: string;
  readonly other: string;
  readonly server: string;
  readonly ttl: 'ttl' | 'hopLimit';
  readonly toa: string;
  readonly toaBytes: number;
}

const IPV4: Family = {
  name: 'IPv4',
  family: 4,
  header: 'ipv4',
  client: '10.0.1.100',
  virtual: '198.51.100.1',
  local: '10.0.2.1',
  other: '10.0.2.2',
  server: serverAddress(1),
  ttl: 'ttl',
  toa: 'fe089c410a000164',
  toaBytes: 8,
};
const IPV6: Family = {
  name: 'IPv6',
  family: 6,
  header: 'ipv6',
  client: 'fd00:1::100',
  virtual: 'fd00:100::1',
  local: 'fd00:2::1',
  other: 'fd00:2::2',
  server: serverAddress6(1),
  ttl: 'hopLimit',
  toa: 'fe149c41fd000001000000000000000000000100',
  toaBytes: 20,
};
const FAMILIES = [IPV4, IPV6];

function ip(builder: PacketBuilder, of: Family, source: string, destination: string) {
  return of.family === 4
    ? builder.ipv4({ source, destination, fragment: 0x4000 })
    : builder.ipv6({ source, destination });
}
const fromClient = (of: Family) => ip(ethernet(), of, of.client, of.virtual);
const fromServer = (of: Family, local = of.local) =>
  ip(ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' }), of, of.server, local);

function fullnat(
  simulation: Simulation,
  of: Family,
  key: Partial<ServiceKey> = {},
  locals: readonly string[] = [of.local],
): ServiceKey {
  const service = simulation.addService(
    { family: of.family, address: of.virtual, ...key },
    of.family === 6 ? { netmask: '128' } : {},
  );
  simulation.addServer(service, of.server, 8000, { method: 'fullnat' });
  for (const address of locals) {
    simulation.director.execute({ command: 'add-local-address', service, address });
  }
  return service;
}

/** The one frame that left, on that side. */
function one(simulation: Simulation, side: Side, frame: Uint8Array, out: Side): Fields {
  const { sent, host } = simulation.receive(side, frame);
  const all = `${sent[0].length} to clients, ${sent[1].length} to servers, ${host.length} to host`;
  assert.equal(sent[out].length, 1, `${all}: ${JSON.stringify(simulation.counters())}`);
  assert.equal(sent[0].length + sent[1].length + host.length, 1, all);
  return decode(sent[out][0]!);
}

interface Opened {
  readonly localPort: number;
  /** What is added to the client's sequence numbers. */
  readonly delta: number;
}

/** SYN, SYN-ACK; checks both. */
function open(simulation: Simulation, of: Family): Opened {
  const syn = one(
    simulation,
    CLIENT_SIDE,
    fromClient(of).tcp({ sequence: 1000, options: SYN_OPTIONS }).build(),
    SERVER_SIDE,
  );
  assert.equal(syn[`${of.header}.source`], of.local);
  assert.equal(syn[`${of.header}.destination`], of.server);
  assert.equal(syn[`${of.header}.${of.ttl}`], 63);
  assert.equal(syn['tcp.destination'], 8000);
  assert.equal(syn['tcp.checksumIs'], 'correct');
  assert.equal(syn['tcp.flags'], 'S');
  // Ten NOPs in place of the timestamp.
  assert.equal(syn['tcp.options'], '020405b40402010101010101010101010103 0307'.replace(' ', ''));
  const localPort = syn['tcp.source'] as number;
  assert.ok(localPort >= LOCAL_PORT_FIRST);
  const delta = ((syn['tcp.sequence'] as number) - 1000) | 0;
  assert.notEqual(delta, 0);
  const reply = fromServer(of)
    .tcp({
      source: 8000,
      destination: localPort,
      sequence: SERVER_FIRST,
      acknowledgement: (1001 + delta) >>> 0,
      flags: 'SA',
      options: Uint8Array.from([2, 4, 5, 180]),
    })
    .build();
  const accepted = one(simulation, SERVER_SIDE, reply, CLIENT_SIDE);
  assert.equal(accepted[`${of.header}.source`], of.virtual);
  assert.equal(accepted[`${of.header}.destination`], of.client);
  assert.equal(accepted[`${of.header}.${of.ttl}`], 63);
  assert.equal(accepted['tcp.source'], 80);
  assert.equal(accepted['tcp.destination'], 40001);
  assert.equal(accepted['tcp.sequence'], SERVER_FIRST);
  assert.equal(accepted['tcp.acknowledgement'], 1001);
  const mss = 1460 - of.toaBytes;
  assert.equal(accepted['tcp.options'], `0204${mss.toString(16).padStart(4, '0')}`);
  assert.equal(accepted['tcp.checksumIs'], 'correct');
  return { localPort, delta };
}

const request = (of: Family, fields: Record<string, unknown> = {}, payload = 'GET /') =>
  fromClient(of)
    .tcp({ sequence: 1001, acknowledgement: SERVER_FIRST + 1, flags: 'PA', ...fields })
    .payload(payload)
    .build();

for (const of of FAMILIES) {
  describe(`FULLNAT ${of.name}`, () => {
    test('the server sees the local address, and the client by TOA until acknowledged', () => {
      const simulation = new Simulation();
      fullnat(simulation, of);
      const { delta, localPort } = open(simulation, of);
      const first = one(simulation, CLIENT_SIDE, request(of), SERVER_SIDE);
      assert.equal(first['tcp.options'], of.toa);
      assert.equal(first['payload'], Buffer.from('GET /').toString('hex'));
      assert.equal(first['tcp.sequence'], (1001 + delta) >>> 0);
      assert.equal(first['tcp.source'], localPort);
      assert.equal(first['tcp.checksumIs'], 'correct');
      if (of.family === 4) assert.equal(first['ipv4.checksumIs'], 'correct');
      const later = one(
        simulation,
        CLIENT_SIDE,
        request(of, { sequence: 1006, acknowledgement: SERVER_FIRST + 11 }),
        SERVER_SIDE,
      );
      assert.equal(later['tcp.options'] ?? '', '');
      assert.equal(later['tcp.checksumIs'], 'correct');
      assert.equal(simulation.counter('toa_inserted'), 1);
      simulation.assertNoLeak();
    });

    test('unfinished checksums are asked to be finished, with TOA and without', () => {
      const simulation = new Simulation();
      fullnat(simulation, of);
      open(simulation, of);
      const first = one(
        simulation,
        CLIENT_SIDE,
        request(of, { checksum: 'unfinished' }),
        SERVER_SIDE,
      );
      assert.equal(first['tcp.options'], of.toa);
      assert.equal(first['tcp.checksumIs'], 'correct');
      assert.equal(simulation.counter('checksums_unfinished'), 1);
    });

    test('a wrong checksum stays wrong', () => {
      const simulation = new Simulation();
      fullnat(simulation, of);
      open(simulation, of);
      const first = one(simulation, CLIENT_SIDE, request(of, { checksum: 0x1234 }), SERVER_SIDE);
      assert.equal(first['tcp.checksumIs'], 'wrong');
    });

    test('what the client forges about its address becomes NOPs', () => {
      const simulation = new Simulation();
      fullnat(simulation, of);
      open(simulation, of);
      const forged = Uint8Array.from([254, 8, 0, 1, 1, 2, 3, 4, 1, 253, 3, 0]);
      const options = { options: forged, acknowledgement: SERVER_FIRST + 50 };
      const fields = one(simulation, CLIENT_SIDE, request(of, options), SERVER_SIDE);
      assert.equal(fields['tcp.options'], '01'.repeat(12));
      assert.equal(fields['tcp.checksumIs'], 'correct');
      const beside = one(simulation, CLIENT_SIDE, request(of, { options: forged }), SERVER_SIDE);
      assert.equal(beside['tcp.options'], of.toa + '01'.repeat(12));
      assert.equal(beside['tcp.checksumIs'], 'correct');
    });

    test('a full packet makes room for TOA with its NOPs, or goes without', () => {
      const simulation = new Simulation();
      fullnat(simulation, of);
      open(simulation, of);
      const headers = (of.family === 4 ? 20 : 40) + 20;
      const nops = new Uint8Array(of.toaBytes).fill(1);
      const body = 'x'.repeat(1500 - headers - of.toaBytes);
      const fits = one(simulation, CLIENT_SIDE, request(of, { options: nops }, body), SERVER_SIDE);
      assert.equal(fits['bytes'], 1514);
      assert.equal(fits['tcp.options'], of.toa);
      assert.equal(fits['tcp.checksumIs'], 'correct');
      const full = 'x'.repeat(1500 - headers);
      const bare = one(simulation, CLIENT_SIDE, request(of, {}, full), SERVER_SIDE);
      assert.equal(bare['bytes'], 1514);
      assert.equal(bare['tcp.options'] ?? '', '');
      assert.equal(bare['tcp.checksumIs'], 'correct');
      assert.equal(simulation.counter('toa_failed'), 1);
    });

    test('acknowledgements and SACK of the server are moved back', () => {
      const simulation = new Simulation();
      fullnat(simulation, of);
      const { delta, localPort } = open(simulation, of);
      const words = [2001, 3001].map((edge) => (edge + delta) >>> 0);
      const sack = new Uint8Array(12);
      sack.set([1, 1, 5, 10]);
      const view = new DataView(sack.buffer);
      view.setUint32(4, words[0]!);
      view.setUint32(8, words[1]!);
      const frame = fromServer(of)
        .tcp({
          source: 8000,
          destination: localPort,
          sequence: SERVER_FIRST + 1,
          acknowledgement: (1001 + delta) >>> 0,
          flags: 'A',
          options: sack,
        })
        .build();
      const fields = one(simulation, SERVER_SIDE, frame, CLIENT_SIDE);
      assert.equal(fields['tcp.acknowledgement'], 1001);
      assert.equal(fields['tcp.options'], '0101050a000007d100000bb9');
      assert.equal(fields['tcp.checksumIs'], 'correct');
    });

    test('without TOA (sysctl toa=0) neither option nor a smaller MSS', () => {
      const simulation = new Simulation();
      simulation.director.sysctls.set({ toa: 0 });
      fullnat(simulation, of);
      const syn = one(simulation, CLIENT_SIDE, fromClient(of).tcp().build(), SERVER_SIDE);
      const reply = fromServer(of).tcp({
        source: 8000,
        destination: syn['tcp.source'] as number,
        sequence: SERVER_FIRST,
        flags: 'SA',
        options: Uint8Array.from([2, 4, 5, 180]),
      });
      const accepted = one(simulation, SERVER_SIDE, reply.build(), CLIENT_SIDE);
      assert.equal(accepted['tcp.options'], '020405b4');
      const first = one(simulation, CLIENT_SIDE, request(of), SERVER_SIDE);
      assert.equal(first['tcp.options'] ?? '', '');
    });

    test('UDP goes the same way; a checksum of none becomes one', () => {
      const simulation = new Simulation();
      fullnat(simulation, of, { protocol: 'udp' });
      for (const checksum of ['correct', 0] as const) {
        const frame = fromClient(of).udp({ checksum }).payload('hello').build();
        const fields = one(simulation, CLIENT_SIDE, frame, SERVER_SIDE);
        assert.equal(fields[`${of.header}.source`], of.local);
        assert.equal(fields['udp.checksumIs'], 'correct');
        const port = fields['udp.source'] as number;
        const back = fromServer(of).udp({ source: 8000, destination: port }).payload('hi').build();
        const reply = one(simulation, SERVER_SIDE, back, CLIENT_SIDE);
        assert.equal(reply[`${of.header}.source`], of.virtual);
        assert.equal(reply['udp.destination'], 40001);
        assert.equal(reply['udp.checksumIs'], 'correct');
      }
      assert.equal(simulation.connections().length, 1);
    });

    test('local addresses take turns and are counted; what ends gives its port back', () => {
      const simulation = new Simulation();
      const service = fullnat(simulation, of, {}, [of.local, of.other]);
      const sources = [1, 2, 3].map((number) => {
        const frame = fromClient(of)
          .tcp({ source: 50000 + number })
          .build();
        return one(simulation, CLIENT_SIDE, frame, SERVER_SIDE)[`${of.header}.source`];
      });
      assert.deepEqual(sources, [of.local, of.other, of.local]);
      const { localAddresses } = simulation.director.find(service)!;
      const counts = (): number[] =>
        localAddresses.map(({ slot }) => simulation.tables.localAddresses.connections(slot));
      assert.deepEqual(counts(), [2, 1]);
      simulation.jump(700);
      simulation.advance(2);
      assert.equal(simulation.connections().length, 0);
      assert.deepEqual(counts(), [0, 0]);
    });

    test('later fragments: addresses change, nothing else', () => {
      const simulation = new Simulation();
      fullnat(simulation, of, { protocol: 'udp' });
      const whole = fromClient(of).udp().payload('x'.repeat(64)).build();
      const [first, later] = fragments(of, whole);
      simulation.receive(CLIENT_SIDE, first);
      const { sent } = simulation.receive(CLIENT_SIDE, later);
      assert.equal(sent[SERVER_SIDE].length, 1, JSON.stringify(simulation.counters()));
      const fields = decode(sent[SERVER_SIDE][0]!);
      assert.equal(fields[`${of.header}.source`], of.local);
      assert.equal(fields[`${of.header}.destination`], of.server);
      assert.equal(fields['payload'], Buffer.from('x'.repeat(24)).toString('hex'));
    });

    test('expiry resets both ends with the numbers they expect (conn_expire_tcp_rst)', () => {
      const simulation = new Simulation();
      simulation.director.sysctls.set({ conn_expire_tcp_rst: 1 });
      fullnat(simulation, of);
      const { delta, localPort } = open(simulation, of);
      one(simulation, CLIENT_SIDE, request(of), SERVER_SIDE);
      const reply = fromServer(of)
        .tcp({
          source: 8000,
          destination: localPort,
          sequence: SERVER_FIRST + 1,
          acknowledgement: (1006 + delta) >>> 0,
          flags: 'A',
        })
        .build();
      one(simulation, SERVER_SIDE, reply, CLIENT_SIDE);
      const { sent } = simulation.jump(9001);
      assert.equal(simulation.connections().length, 0);
      assert.equal(simulation.counter('resets_sent'), 2);
      assert.deepEqual([sent[CLIENT_SIDE].length, sent[SERVER_SIDE].length], [1, 1]);
      const client = decode(sent[CLIENT_SIDE][0]!);
      assert.equal(client[`${of.header}.source`], of.virtual);
      assert.equal(client[`${of.header}.destination`], of.client);
      assert.deepEqual([client['tcp.source'], client['tcp.destination']], [80, 40001]);
      assert.deepEqual([client['tcp.flags'], client['tcp.sequence']], ['R', SERVER_FIRST + 1]);
      assert.equal(client['tcp.checksumIs'], 'correct');
      const server = decode(sent[SERVER_SIDE][0]!);
      assert.equal(server[`${of.header}.source`], of.local);
      assert.deepEqual([server['tcp.source'], server['tcp.destination']], [localPort, 8000]);
      assert.deepEqual([server['tcp.flags'], server['tcp.sequence']], ['R', (1006 + delta) >>> 0]);
      assert.equal(server['tcp.checksumIs'], 'correct');
      simulation.assertNoLeak();
    });
  });
}

/** A UDP datagram cut after 48 bytes of its transport part. */
function fragments(of: Family, whole: Uint8Array): [Uint8Array, Uint8Array] {
  const cut = 48;
  if (of.family === 4) {
    const payload = whole.subarray(34);
    const part = (fragment: number, bytes: Uint8Array) =>
      ethernet()
        .ipv4({ source: of.client, destination: of.virtual, fragment, protocol: 17, id: 7 })
        .payload(bytes)
        .build();
    return [part(0x2000, payload.subarray(0, cut)), part(cut / 8, payload.subarray(cut))];
  }
  const payload = whole.subarray(54);
  const part = (offset: number, bytes: Uint8Array) =>
    ethernet()
      .ipv6({
        source: of.client,
        destination: of.virtual,
        nextHeader: 44,
        extensions: Uint8Array.from([17, 0, offset >> 8, offset & 0xff, 0, 0, 0, 7]),
        protocol: 17,
      })
      .payload(bytes)
      .build();
  return [part(1, payload.subarray(0, cut)), part(cut, payload.subarray(cut))];
}

test('without a port free the next address is tried; without any the packet is dropped', () => {
  const simulation = new Simulation();
  const service = fullnat(simulation, IPV4, {}, [IPV4.local, IPV4.other]);
  const { localPorts, localAddresses } = simulation.tables;
  const [first, second] = simulation.director.find(service)!.localAddresses;
  const real = Int32Array.from([0x0a00020b, 0, 0, 0]);
  const fill = (slot: number): void => {
    localPorts.setKey(localAddresses.words, localAddresses.addressAt(slot), real, 0, 8000, 6);
    while (localPorts.allocate(1) > 0);
    assert.equal(localPorts.used, LOCAL_PORTS);
  };
  fill(first!.slot);
  const syn = (source: number): Uint8Array => fromClient(IPV4).tcp({ source }).build();
  const fields = one(simulation, CLIENT_SIDE, syn(50001), SERVER_SIDE);
  assert.equal(fields['ipv4.source'], IPV4.other);
  assert.equal(localAddresses.conflicts(first!.slot), 1);
  fill(second!.slot);
  const { sent } = simulation.receive(CLIENT_SIDE, syn(50002));
  assert.equal(sent[SERVER_SIDE].length, 0);
  assert.deepEqual(simulation.verdicts(), { local_ports_exhausted: 1 });
  assert.equal(simulation.connections().length, 1);
  assert.equal(
    simulation.tables.realServers.references(simulation.serverSlot(service, IPV4.server)),
    1,
  );
  // A connection that ends makes room again.
  simulation.jump(700);
  simulation.advance(2);
  const again = one(simulation, CLIENT_SIDE, syn(50003), SERVER_SIDE);
  assert.equal(again['tcp.source'], fields['tcp.source'], 'the only port free');
});

test('a service without local addresses makes no FULLNAT connections', () => {
  const simulation = new Simulation();
  fullnat(simulation, IPV4, {}, []);
  simulation.receive(CLIENT_SIDE, fromClient(IPV4).tcp().build());
  assert.deepEqual(simulation.verdicts(), { local_ports_exhausted: 1 });
  assert.equal(simulation.connections().length, 0);
});

test('a removed local address keeps its connections, and their count when it comes back', () => {
  const simulation = new Simulation();
  const service = fullnat(simulation, IPV4, {}, [IPV4.local]);
  const { localPort } = open(simulation, IPV4);
  const change = (command: 'add-local-address' | 'delete-local-address', address: string): void =>
    simulation.director.execute({ command, service, address });
  change('delete-local-address', IPV4.local);
  simulation.director.emptyTrash();
  change('add-local-address', IPV4.other);
  const frame = fromServer(IPV4)
    .tcp({ source: 8000, destination: localPort, flags: 'A', sequence: SERVER_FIRST + 1 })
    .build();
  assert.equal(one(simulation, SERVER_SIDE, frame, CLIENT_SIDE)['ipv4.source'], IPV4.virtual);
  change('add-local-address', IPV4.local);
  const { localAddresses } = simulation.director.find(service)!;
  assert.deepEqual(
    localAddresses.map(({ address, slot }) => [
      address,
      simulation.tables.localAddresses.connections(slot),
    ]),
    [
      [IPV4.other, 0],
      [IPV4.local, 1],
    ],
  );
});

test('replies may come to another worker than the one that made the connection', () => {
  const simulation = new Simulation({ workers: 2 });
  const service = fullnat(simulation, IPV4);
  const syn = simulation.receive(CLIENT_SIDE, fromClient(IPV4).tcp({ sequence: 1000 }).build(), 0);
  const sent = decode(syn.sent[SERVER_SIDE][0]!);
  const reply = fromServer(IPV4).tcp({
    source: 8000,
    destination: sent['tcp.source'] as number,
    sequence: SERVER_FIRST,
    acknowledgement: ((sent['tcp.sequence'] as number) + 1) >>> 0,
    flags: 'SA',
  });
  const accepted = decode(simulation.receive(SERVER_SIDE, reply.build(), 1).sent[CLIENT_SIDE][0]!);
  assert.equal(accepted['tcp.acknowledgement'], 1001);
  // What worker 1 saw of the server, worker 0 acts upon.
  const first = simulation.receive(CLIENT_SIDE, request(IPV4), 0).sent[SERVER_SIDE][0]!;
  assert.equal(decode(first)['tcp.options'], IPV4.toa);
  const ports = (): number => {
    const { localPorts, localAddresses } = simulation.tables;
    const { slot } = simulation.director.find(service)!.localAddresses[0]!;
    const real = Int32Array.from([0x0a00020b, 0, 0, 0]);
    localPorts.setKey(localAddresses.words, localAddresses.addressAt(slot), real, 0, 8000, 6);
    return localPorts.used;
  };
  assert.equal(ports(), 1);
  simulation.jump(9001);
  assert.equal(ports(), 0);
  simulation.assertNoLeak();
});
