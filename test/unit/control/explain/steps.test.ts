/**
 * The decisions that explain names, in their order: what the parser read, defense, templates, state
 * and timeout, next hop, TTL, length; and no wrong statement among them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StepName } from '#xvs/control/explain/journal';
import { Names } from '#xvs/control/explain/names';
import { type Rehearsal, rehearse } from '#xvs/control/explain/rehearse';
import type { ServerSettings } from '#xvs/control/protocol';
import { cut } from '../../../support/cut';
import { anyFrame, damagedFrame } from '../../../support/hostileFrames';
import { ethernet } from '../../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  type Side,
  Simulation,
  serverAddress,
  serverMac,
  VIP6,
} from '../../../support/simulation';

function create(server: Partial<ServerSettings> = {}, persistentTimeout = 0): Simulation {
  const simulation = new Simulation();
  const service = simulation.addService({}, { persistentTimeout });
  simulation.addServer(service, serverAddress(1), 8000, server);
  return simulation;
}

function ask(simulation: Simulation, frame: Uint8Array, slot: Side = CLIENT_SIDE): Rehearsal {
  const { memory, tick } = simulation;
  const names = new Names(simulation.director, ['d0', 'd1']);
  return rehearse({ memory, names, slot, frame, tick });
}

const stepsOf = ({ steps }: Rehearsal) => steps.map(({ step, text }) => `${step}: ${text}`);
const textsOf = ({ steps }: Rehearsal, name: StepName) =>
  steps.filter(({ step }) => step === name).map(({ text }) => text);
const namesOf = ({ steps }: Rehearsal) => [...new Set(steps.map(({ step }) => step))];

const client = (flags: string, ttl = 64) => ethernet().ipv4({ ttl }).tcp({ flags });

test('a SYN: every decision, in order', () => {
  assert.deepEqual(stepsOf(ask(create(), client('S').build())), [
    'parse: Ethernet type 0x0800, IPv4',
    'parse: version 4, header of 20 bytes, 40 bytes in all, 40 are there; its checksum holds',
    'parse: tcp, header of 20 of 20 bytes',
    'connection: tcp 10.0.1.100:40001 to 198.51.100.1:80: none',
    'service: tcp 198.51.100.1:80: there is one, scheduler rr',
    'scheduler: new connection, chosen by rr: 10.0.2.11:8000, nat, weight 1, ' +
      '0 active and 0 inactive connections',
    'state: begins as SYN_RECV, ends without packets in 60 s',
    'next hop: to 10.0.2.11: d1, neighbour 10.0.2.11 (02:00:00:00:02:11), MTU 1500',
    'ttl: 64 when it came, 63 when it leaves',
    'length: 40 bytes fit link and route, MTU 1500',
  ]);
});

for (const method of ['nat', 'dr', 'tunnel'] as const) {
  test(`${method}: no connection remembers a hop that was found just now`, () => {
    const simulation = create({ method });
    const made = textsOf(ask(simulation, client('S').build()), 'next hop');
    assert.equal(made.length, 1);
    assert.match(made[0]!, /^to 10\.0\.2\.11: /);
    simulation.receive(CLIENT_SIDE, client('S').build());
    const [known] = textsOf(ask(simulation, client('A').build()), 'next hop');
    assert.match(known!, /^the connection remembers d1, neighbour 10\.0\.2\.11 /);
  });
}

test('state and timeout follow the packets of both sides', () => {
  const simulation = create();
  simulation.receive(CLIENT_SIDE, client('S').build());
  const answer = ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' })
    .ipv4({ source: serverAddress(1), destination: '10.0.1.100' })
    .tcp({ source: 8000, destination: 40001, flags: 'SA' })
    .build();
  const state = (frame: Uint8Array, side: Side) => textsOf(ask(simulation, frame, side), 'state');
  const stays = 'stays SYN_RECV, ends without packets in 60 s';
  assert.deepEqual(state(answer, SERVER_SIDE), [stays]);
  simulation.receive(SERVER_SIDE, answer);
  const opened = 'SYN_RECV becomes ESTABLISHED, ends without packets in 900 s';
  assert.deepEqual(state(client('A').build(), CLIENT_SIDE), [opened]);
  simulation.receive(CLIENT_SIDE, client('A').build());
  const closed = 'ESTABLISHED becomes CLOSE, ends without packets in 10 s';
  assert.deepEqual(state(client('RA').build(), CLIENT_SIDE), [closed]);
});

test('a connection that begins in the place of one that is over', () => {
  const simulation = create();
  for (const flags of ['S', 'A', 'RA']) simulation.receive(CLIENT_SIDE, client(flags).build());
  const told = ask(simulation, client('S').build());
  const [found, replaced] = textsOf(told, 'connection');
  assert.match(found!, /, CLOSE, /);
  assert.equal(replaced, 'a new one begins in the place of that in CLOSE');
  const [state] = textsOf(told, 'state');
  assert.match(state!, /^begins as SYN_RECV, /);
});

test('TTL: the packet that may not be forwarded, from the client and from the server', () => {
  const simulation = create();
  const told = ask(simulation, client('S', 1).build());
  assert.equal(told.verdict, 'ttl_exceeded');
  assert.deepEqual(textsOf(told, 'ttl'), ['1 when it came: no router forwards it']);
  const order = namesOf(told);
  assert.ok(order.indexOf('ttl') > order.indexOf('state'), order.join());
  simulation.receive(CLIENT_SIDE, client('S').build());
  const answer = ethernet({ source: serverMac(1), destination: '02:00:00:00:02:01' })
    .ipv4({ source: serverAddress(1), destination: '10.0.1.100', ttl: 1 })
    .tcp({ source: 8000, destination: 40001, flags: 'SA' })
    .build();
  const back = ask(simulation, answer, SERVER_SIDE);
  assert.equal(back.verdict, 'ttl_exceeded');
  // A router looks at it before anybody else sees the packet.
  assert.deepEqual([textsOf(back, 'ttl').length, textsOf(back, 'state').length], [1, 0]);
});

test('length: what is cut, and what is refused', () => {
  const simulation = create();
  simulation.receive(CLIENT_SIDE, client('S').build());
  const long = client('A').payload('x'.repeat(1500));
  const told = ask(simulation, long.build());
  assert.deepEqual(textsOf(told, 'length'), [
    '1540 bytes are too long for link and route, MTU 1500',
  ]);
  assert.equal(told.sent.length, 2);
  const kept = ethernet()
    .ipv4({ fragment: 0x4000 })
    .tcp({ flags: 'A' })
    .payload('x'.repeat(1500))
    .build();
  const refused = ask(simulation, kept);
  assert.equal(refused.verdict, 'mtu_exceeded');
  assert.match(textsOf(refused, 'length')[0]!, /^1540 bytes are too long/);
});

test('length: of a tunnel, what leaves is what has to fit, and nothing else is said to', () => {
  const simulation = create({ method: 'tunnel' });
  const told = (bytes: number) =>
    textsOf(
      ask(
        simulation,
        client('S')
          .payload('x'.repeat(bytes - 40))
          .build(),
      ),
      'length',
    );
  assert.deepEqual(told(1480), ['1500 bytes fit link and route, MTU 1500']);
  assert.deepEqual(told(1481), [
    '1501 bytes are too long for link and route, MTU 1500',
    '1500 bytes fit link and route, MTU 1500',
    '21 bytes fit link and route, MTU 1500',
  ]);
});

test('drop_packet: its rate, and what becomes of the others', () => {
  const simulation = create();
  simulation.tables.settings.set('dropRate', 5);
  const told = ask(simulation, client('S').build());
  assert.equal(told.verdict, 'forwarded');
  const text = 'drop_packet drops one of 5, this shows what becomes of the others';
  assert.deepEqual(textsOf(told, 'defense'), [text]);
  simulation.tables.settings.set('dropRate', 1);
  const dropped = ask(simulation, client('S').build());
  assert.equal(dropped.verdict, 'drop_packet');
  assert.deepEqual(textsOf(dropped, 'defense'), ['drop_packet drops each']);
  // Of a connection that is there it is not asked.
  assert.deepEqual(textsOf(ask(simulation, client('A').build()), 'defense'), []);
});

test('secure_tcp: whose transitions they are', () => {
  const simulation = create({ method: 'dr' });
  simulation.tables.settings.set('secureTcp', 1);
  const [first, then] = textsOf(ask(simulation, client('S').build()), 'state');
  assert.match(first!, /^begins as SYN_RECV, by secure_tcp's transitions, /);
  assert.match(then!, /^SYN_RECV becomes SYNACK, by secure_tcp's transitions, /);
});

test('persistence: a template that is made, and one that is used', () => {
  const simulation = create({}, 300);
  const made = ask(simulation, client('S').build());
  assert.deepEqual(textsOf(made, 'template').at(-1), 'a new one, to 10.0.2.11:8000');
  assert.match(textsOf(made, 'scheduler')[0]!, /^new connection, chosen by rr: 10\.0\.2\.11:8000/);
  simulation.receive(CLIENT_SIDE, client('S').build());
  const used = ask(simulation, ethernet().ipv4().tcp({ source: 7, flags: 'S' }).build());
  assert.match(
    textsOf(used, 'scheduler')[0]!,
    /^new connection, chosen by its persistence template: 10\.0\.2\.11:8000/,
  );
});

test('what the parser reads: tags, sums, lengths, fragments, extension headers', () => {
  const simulation = create();
  simulation.addService({ family: 6, address: VIP6 });
  const plain = client('S').build();
  const parsed = (frame: Uint8Array) => textsOf(ask(simulation, frame), 'parse');
  const tagged = Uint8Array.from([...plain.slice(0, 12), 0x81, 0, 0, 5, ...plain.slice(12)]);
  assert.match(parsed(tagged).join(), /^Ethernet type 0x8100, a VLAN tag.*,refused, protocol: /);
  const wrong = Uint8Array.from(plain);
  wrong[24]! ^= 1;
  assert.match(parsed(wrong).join(), /its checksum is wrong,refused, ip_checksum: /);
  assert.match(parsed(plain.slice(0, 40)).join(), /40 bytes in all, 26 are there,refused, malf/);
  assert.match(parsed(plain.slice(0, 9)).join(), /^a frame of 9 bytes, .*,refused, malformed/);
  const datagram = ethernet().ipv4({ id: 0x4242 }).udp().payload('x'.repeat(1000)).build();
  const [first, later] = cut(datagram, 600).map(parsed);
  assert.ok(first!.includes('first fragment of datagram 16962'), first!.join());
  assert.ok(later!.includes('later fragment of datagram 16962, from byte 600 on, without ports'));
  const six = ethernet().ipv6().tcp({ flags: 'S' }).build();
  assert.deepEqual(parsed(six), [
    'Ethernet type 0x86dd, IPv6',
    'version 6, 60 bytes in all, 60 are there',
    'tcp, header of 20 of 20 bytes',
  ]);
});

test('whatever comes, it is read, and what the parser refuses is the verdict', () => {
  const simulation = create();
  fc.assert(
    fc.property(fc.oneof(anyFrame, damagedFrame), (frame) => {
      const told = ask(simulation, frame);
      const refused = /^refused, (\w+):/.exec(textsOf(told, 'parse').at(-1)!)?.[1];
      if (refused !== undefined) assert.equal(told.verdict, refused);
      else assert.ok(!['malformed', 'ip_checksum'].includes(told.verdict), told.verdict);
    }),
    { numRuns: 300 },
  );
});

test('large tables: what is copied ends behind the last real server', () => {
  const simulation = new Simulation();
  const service = simulation.addService();
  for (let server = 1; server <= 200; server++) {
    simulation.addServer(service, `10.0.3.${server}`, 8000);
  }
  const names = new Names(simulation.director, ['d0', 'd1']);
  const slots = simulation.director.services[0]!.servers.map(({ slot }) => slot);
  assert.equal(names.serversEnd, 1 + Math.max(...slots));
  const { counted } = ask(simulation, client('S').build());
  assert.match(counted.server ?? '', /^10\.0\.3\./);
});
