/**
 * The full parser: what it makes of each kind of packet, and that whatever bytes come nothing
 * outside the frame is read or written and no chunk is lost, by it or by any room behind it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryPort } from '#xvs/port/memoryPort';
import { Umem } from '#xvs/port/umem';
import { connectionHash, connectionHash6 } from '#xvs/table/connection';
import { DROP, GO_ON, PASS } from '#xvs/table/counter';
import { FRAGMENT_FIRST, FRAGMENT_LATER, FRAGMENT_NONE, Packet } from '#xvs/worker/packet';
import { parsePacket } from '#xvs/worker/parsePacket';
import { anyFrame, damagedFrame } from '../../support/hostileFrames';
import { ethernet } from '../../support/packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  Simulation,
  serverAddress,
  serverAddress6,
  VIP6,
} from '../../support/simulation';

const SEED = 77;
const BEFORE = 64;
const port = new MemoryPort('d0', 0, new Umem(new SharedArrayBuffer(4096), 0, 2048, 1));
const packet = new Packet(port);

/** The frame ends where its memory ends: a read behind it throws. Returns verdict and packet. */
function parse(frame: Uint8Array): { verdict: number; view: DataView } {
  const buffer = new ArrayBuffer(BEFORE + frame.length);
  new Uint8Array(buffer).set(frame, BEFORE);
  const view = new DataView(buffer);
  packet.at = BEFORE;
  return { verdict: parsePacket(view, packet, frame.length, SEED), view };
}

function verdictOf(frame: Uint8Array): string {
  const { verdict } = parse(frame);
  if (verdict === GO_ON) return 'go on';
  const found = Object.entries({ ...DROP, ...PASS }).find(([, index]) => index === verdict);
  return found![0];
}

const extension = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const OPTIONS = [1, 4, 0, 0, 0, 0];
const sctp = (...chunk: number[]): Uint8Array =>
  extension(0x9c, 0x41, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, ...chunk);
const INIT = [1, 0, 0, 4];

test('IPv4: TCP, UDP, SCTP, AH, ESP, ICMP errors', () => {
  const cases: readonly [string, Uint8Array, Partial<Packet>][] = [
    ['tcp', ethernet().ipv4().tcp({ flags: 'SA' }).build(), { protocol: 6, kind: 6, flags: 0x12 }],
    ['udp', ethernet().ipv4().udp().pad(9).build(), { protocol: 17, kind: 17, flags: 0 }],
    [
      'sctp',
      ethernet()
        .ipv4({ protocol: 132 })
        .payload(sctp(...INIT))
        .build(),
      { protocol: 132, kind: 132, flags: 1, ports: (40001 << 16) | 80 },
    ],
    [
      'esp',
      ethernet().ipv4({ protocol: 50 }).payload('12345678').build(),
      { protocol: 50, kind: 17, ports: (500 << 16) | 500 },
    ],
    [
      'ah',
      ethernet().ipv4({ protocol: 51 }).payload('12345678').build(),
      { protocol: 51, kind: 17, ports: (500 << 16) | 500 },
    ],
    ['icmp', ethernet().ipv4().icmp({ type: 3 }).build(), { protocol: 1, ports: 0 }],
  ];
  for (const [name, frame, fields] of cases) {
    const { verdict, view } = parse(frame);
    assert.equal(verdict, GO_ON, name);
    const seen = Object.fromEntries(
      Object.keys(fields).map((key) => [key, packet[key as keyof Packet]]),
    );
    assert.deepEqual(seen, fields, name);
    assert.deepEqual(
      [packet.family, packet.ip, packet.transport, packet.fragment],
      [4, BEFORE + 14, BEFORE + 34, FRAGMENT_NONE],
    );
    const source = view.getInt32(packet.sourceAt);
    const destination = view.getInt32(packet.destinationAt);
    assert.equal(packet.hash, connectionHash(SEED, packet.kind, source, destination, packet.ports));
  }
});

test('IPv6: extension headers are walked over', () => {
  const extensions = extension(
    ...[60, 0, ...OPTIONS], // hop by hop
    ...[43, 0, ...OPTIONS], // destination options
    ...[51, 0, 4, 0, 0, 0, 0, 0], // routing, no segments left
    ...[6, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], // AH of 12 bytes
  );
  const frame = ethernet().ipv6({ extensions, nextHeader: 0 }).tcp({ flags: 'F' }).build();
  const { verdict, view } = parse(frame);
  assert.equal(verdict, GO_ON);
  assert.deepEqual(
    [packet.family, packet.protocol, packet.kind, packet.flags, packet.transport],
    [6, 6, 0x46, 1, BEFORE + 14 + 40 + 36],
  );
  assert.equal(packet.transportBytes, 20);
  const { kind, sourceAt, destinationAt, ports } = packet;
  assert.equal(packet.hash, connectionHash6(SEED, kind, view, sourceAt, destinationAt, ports));
});

test('IPv6 fragments: first, later, and one that is the whole datagram', () => {
  const fragment = (next: number, word: number): Uint8Array =>
    extension(next, 0, word >> 8, word & 255, 1, 2, 3, 4);
  const of = (word: number): Uint8Array =>
    ethernet()
      .ipv6({ extensions: fragment(17, word), nextHeader: 44 })
      .udp({ length: 1000 })
      .payload('12345678')
      .build();
  assert.equal(parse(of(1)).verdict, GO_ON);
  const header = BEFORE + 54;
  assert.deepEqual(
    [packet.fragment, packet.fragmentId, packet.fragmentHeader, packet.transport, packet.ports],
    [FRAGMENT_FIRST, 0x01020304, header, header + 8, (40001 << 16) | 80],
  );
  assert.equal(parse(of(8)).verdict, GO_ON);
  assert.deepEqual(
    [packet.fragment, packet.fragmentId, packet.kind, packet.ports],
    [FRAGMENT_LATER, 0x01020304, 0x51, 0],
  );
  const atomic = ethernet()
    .ipv6({ extensions: fragment(17, 0), nextHeader: 44 })
    .udp()
    .build();
  assert.equal(parse(atomic).verdict, GO_ON);
  assert.deepEqual([packet.fragment, packet.fragmentId], [FRAGMENT_NONE, 0]);
  assert.equal(packet.fragmentHeader, header);
});

test('IPv4 fragments: the first has ports, the later ones have none', () => {
  const of = (fragment: number): Uint8Array =>
    ethernet().ipv4({ fragment, id: 0xabcd }).udp({ length: 4000 }).payload('12345678').build();
  assert.equal(parse(of(0x2000)).verdict, GO_ON);
  assert.deepEqual(
    [packet.fragment, packet.fragmentId, packet.ports],
    [FRAGMENT_FIRST, 0xabcd, (40001 << 16) | 80],
  );
  assert.equal(parse(of(0x2003)).verdict, GO_ON);
  assert.deepEqual([packet.fragment, packet.ports], [FRAGMENT_LATER, 0]);
});

const routed = extension(17, 0, 4, 1, 0, 0, 0, 0);
const twoFragments = extension(44, 0, 0, 0, 0, 0, 0, 1, 17, 0, 0, 0, 0, 0, 0, 1);
const nine = extension(...Array.from({ length: 9 }, () => [60, 0, ...OPTIONS]).flat());
const VERDICTS: readonly [string, string, Uint8Array][] = [
  ['an echo request', 'protocol', ethernet().ipv4().icmp().build()],
  ['an ICMPv6 echo request', 'protocol', ethernet().ipv6().icmp6().build()],
  ['neighbour solicitation', 'protocol', ethernet().ipv6().icmp6({ type: 135 }).build()],
  ['an ICMPv6 error', 'go on', ethernet().ipv6().icmp6({ type: 2 }).build()],
  ['ICMPv6 in IPv4', 'protocol', ethernet().ipv4({ protocol: 58 }).icmp({ type: 3 }).build()],
  [
    'a fragmented ICMP error',
    'protocol',
    ethernet().ipv4({ fragment: 0x2000 }).icmp({ type: 3 }).build(),
  ],
  ['a later fragment of ICMP', 'protocol', ethernet().ipv4({ fragment: 1 }).icmp().build()],
  ['GRE', 'protocol', ethernet().ipv4({ protocol: 47 }).payload('12345678').build()],
  ['no next header', 'protocol', ethernet().ipv6({ protocol: 59 }).build()],
  ['an unknown type', 'protocol', ethernet({ type: 0x8100 }).payload('12345678').build()],
  [
    'segments left',
    'protocol',
    ethernet().ipv6({ extensions: routed, nextHeader: 43 }).udp().build(),
  ],
  ['nine headers', 'protocol', ethernet().ipv6({ extensions: nine, nextHeader: 60 }).udp().build()],
  [
    'two fragment headers',
    'malformed',
    ethernet().ipv6({ extensions: twoFragments, nextHeader: 44 }).udp().build(),
  ],
  ['IPv6 in an IPv4 frame', 'malformed', ethernet({ type: 0x0800 }).ipv6().udp().build()],
  ['a length beyond the frame', 'malformed', ethernet().ipv6({ payloadLength: 9 }).udp().build()],
  ['a length without a header', 'malformed', ethernet().ipv6({ payloadLength: 7 }).udp().build()],
  ['a UDP length beyond the packet', 'malformed', ethernet().ipv6().udp({ length: 9 }).build()],
  [
    'a TCP header beyond the packet',
    'malformed',
    ethernet().ipv6().tcp({ headerBytes: 24 }).build(),
  ],
  ['SCTP without a chunk', 'malformed', ethernet().ipv4({ protocol: 132 }).payload(sctp()).build()],
  [
    'a fragment of seven bytes with more',
    'malformed',
    ethernet().ipv4({ fragment: 0x2001, protocol: 17 }).payload('1234567').build(),
  ],
  ['an empty fragment', 'malformed', ethernet().ipv4({ fragment: 1, protocol: 17 }).build()],
  ['a wrong header checksum', 'ip_checksum', ethernet().ipv4({ checksum: 1 }).udp().build()],
];

test('what is no packet of a service is malformed or the host’s', () => {
  for (const [name, expected, frame] of VERDICTS) assert.equal(verdictOf(frame), expected, name);
});

test('a packet cut anywhere is malformed', () => {
  const extensions = extension(60, 0, ...OPTIONS, 6, 0, ...OPTIONS);
  const whole = [
    ethernet()
      .ipv4({ options: new Uint8Array(8) })
      .tcp()
      .payload('abc')
      .build(),
    ethernet().ipv6({ extensions, nextHeader: 0 }).tcp().payload('abc').build(),
    ethernet()
      .ipv4({ protocol: 132 })
      .payload(sctp(...INIT))
      .build(),
    ethernet()
      .ipv6({ protocol: 132 })
      .payload(sctp(...INIT))
      .build(),
    ethernet().ipv6().icmp6({ type: 1 }).build(),
  ];
  for (const frame of whole) {
    assert.equal(verdictOf(frame), 'go on');
    for (let length = 0; length < frame.length; length++) {
      assert.equal(verdictOf(frame.subarray(0, length)), 'malformed', `${length} bytes`);
    }
  }
});

test('whatever bytes come, nothing behind the frame is read', () => {
  fc.assert(
    fc.property(anyFrame, (frame) => {
      const { verdict } = parse(frame);
      if (verdict !== GO_ON) return;
      const end = BEFORE + frame.length;
      assert.ok(packet.ip + packet.total <= end);
      assert.ok(packet.transport <= packet.ip + packet.total);
      const hasPorts = [6, 17, 132].includes(packet.protocol);
      assert.ok(packet.fragment === FRAGMENT_LATER || !hasPorts || packet.transportBytes >= 8);
    }),
    { numRuns: 4000 },
  );
});

/** Services of all kinds on both families, real connections on some. */
function prepared(chunks: number): Simulation {
  const simulation = new Simulation({ chunks });
  for (const protocol of ['tcp', 'udp', 'sctp'] as const) {
    const four = simulation.addService({ protocol });
    const six = simulation.addService({ family: 6, address: VIP6, protocol }, { netmask: '128' });
    for (const number of [1, 2]) {
      simulation.addServer(four, serverAddress(number));
      simulation.addServer(six, serverAddress6(number), 8000, number === 1 ? {} : { method: 'dr' });
    }
  }
  return simulation;
}

/** What became of frames: every one is forwarded, counted with its reason, or held. */
function account(simulation: Simulation, count: number): void {
  simulation.assertNoLeak();
  const verdicts = Object.values(simulation.verdicts()).reduce((sum, each) => sum + each, 0);
  const forwarded = simulation.counter('tx_frames') - simulation.counter('icmp_sent');
  const held = simulation.workers[0]!.pipeline.fragments.held;
  assert.equal(simulation.counter('rx_frames'), count);
  assert.equal(verdicts + forwarded + held, count);
}

test('whatever comes in, no chunk is lost and every frame is accounted for', () => {
  const frames = fc.array(anyFrame, { minLength: 1, maxLength: 100, size: 'max' });
  fc.assert(
    fc.property(frames, fc.constantFrom(CLIENT_SIDE, SERVER_SIDE), (list, side) => {
      const simulation = prepared(256);
      const outcome = simulation.receive(side, list);
      account(simulation, list.length);
      const left = outcome.sent[0].length + outcome.sent[1].length;
      assert.equal(simulation.counter('tx_frames'), left);
    }),
    { numRuns: 40 },
  );
});

test('nothing is written outside the frame’s own chunk, nor read behind its memory', () => {
  fc.assert(
    fc.property(fc.array(damagedFrame, { minLength: 8, maxLength: 32 }), (list) => {
      const simulation = prepared(8);
      const { umem, ports, pipeline } = simulation.workers[0]!;
      const clean = 0x5a;
      for (const frame of list) {
        // The last chunk, so that the frame may end where the memory does.
        const last = umem.chunkCount - 1;
        const place = umem.free.subarray(1, umem.freeCount + 1).indexOf(last * 2048);
        if (place < 0) break;
        umem.free[1 + place] = umem.free[umem.freeCount]!;
        umem.free[umem.freeCount] = last * 2048;
        umem.bytes.fill(clean);
        const at = (last + 1) * 2048 - frame.length;
        umem.take();
        umem.bytes.set(frame, at);
        const [client] = ports;
        client.rx[0] = at;
        client.rx[1] = frame.length;
        pipeline.process(client, 1);
        const others = umem.bytes.subarray(0, last * 2048);
        assert.ok(
          others.every((byte) => byte === clean),
          'another chunk was written',
        );
        for (const each of ports) each.transmit();
      }
    }),
    { numRuns: 60 },
  );
});
