/**
 * Captures of a real director with tunnels, frame by frame: what came in is given to the pipeline,
 * what left is compared field by field, outside and inside.
 *
 * Not the same: IP ids that the director chose, GUE's source port (any hash will do), and where a
 * packet that came in fragments is cut. The recorded director put such a packet together, wrapped
 * it and cut the whole; here each fragment is wrapped. What the real server makes of both is
 * compared.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Decapsulated, decapsulate } from '../../support/decapsulate';
import { decode, differences, type Fields, summary } from '../../support/decode';
import { compareView, execute, readCapture, readEvents } from '../../support/golden';
import { DIRECTOR_MAC_0, DIRECTOR_MAC_1, ethernet } from '../../support/packet';
import { reassemble } from '../../support/reassemble';
import { CLIENT_SIDE, SERVER_SIDE, type Side, Simulation } from '../../support/simulation';

interface Case {
  readonly name: string;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Frames that left the recorded director at each side. */
  readonly recorded: readonly [number, number];
  /** Frames that leave here at the servers' side; those recorded unless given. */
  readonly frames?: number;
  /** Packets that come to the real server in one piece, compared frame by frame. */
  readonly whole: number;
  /** Pieces of packets that were cut with the outer header on, here too: the last ones recorded. */
  readonly cutOutside?: number;
  /** Packets, put together by the real server. */
  readonly packets: number;
}

const CASES: readonly Case[] = [
  { name: 'tun-gre-tcp', verdicts: {}, recorded: [0, 7], whole: 7, packets: 7 },
  { name: 'tun-gue-csum-tcp', verdicts: {}, recorded: [0, 7], whole: 7, packets: 7 },
  { name: 'tun-gue-remcsum-tcp', verdicts: {}, recorded: [0, 7], whole: 7, packets: 7 },
  // A whole packet of 1,500 bytes is cut after the outer header is on; fragments before it is.
  {
    name: 'tun-ipip-udp',
    verdicts: {},
    recorded: [0, 7],
    frames: 9,
    whole: 2,
    cutOutside: 2,
    packets: 4,
  },
  { name: 'tun-ipip-nodf-udp', verdicts: {}, recorded: [0, 4], whole: 0, packets: 2 },
  // The real server has no tunnel: its error comes to the client as one about its own packet.
  {
    name: 'tun-ipip-no-tunnel',
    verdicts: { tunnel_error: 1 },
    recorded: [1, 1],
    whole: 1,
    packets: 1,
  },
];

interface Captured {
  readonly side: Side;
  readonly bytes: Uint8Array;
  readonly fields: Fields;
  readonly left: boolean;
}

function capture(name: string): Captured[] {
  return readCapture(name)
    .map(({ side, bytes }) => {
      const fields = decode(bytes);
      const own = side === 0 ? DIRECTOR_MAC_0 : DIRECTOR_MAC_1;
      return { side, bytes, fields, left: fields['ethernet.source'] === own };
    })
    .filter(({ fields }) => fields['ipv4.version'] === 4);
}

/** Does what was done in the recording; returns what left here, by side. */
function replay(simulation: Simulation, name: string): [Uint8Array[], Uint8Array[]] {
  const came = capture(name).filter(({ left }) => !left);
  const ours: [Uint8Array[], Uint8Array[]] = [[], []];
  const enter = (frames: readonly Captured[]): void => {
    for (const { side, bytes } of frames) {
      const outcome = simulation.receive(side, bytes);
      for (const out of [CLIENT_SIDE, SERVER_SIDE] as const) ours[out].push(...outcome.sent[out]);
      assert.deepEqual(outcome.host, []);
    }
  };
  for (const event of readEvents('packets', name)) {
    if (event.op === 'cmd') execute(simulation, event.cmd);
    else if (event.op === 'udp') {
      // The fragments of a datagram have an id in common, and the first one the port.
      const port = Number(event.client.split(':')[1]);
      const first = came.find(({ fields }) => fields['udp.source'] === port);
      const datagram = came.filter(({ fields }) => fields['ipv4.id'] === first?.fields['ipv4.id']);
      enter(came.splice(0, datagram.length));
    } else if (event.op === 'tcp' || event.op === 'exchange') enter(came.splice(0));
    else if (event.op === 'view') compareView(simulation, event.cmd, event.stdout);
  }
  assert.deepEqual(came, [], 'every frame that came was let in');
  return ours;
}

const isFragment = (frame: Uint8Array): boolean =>
  (Number(decode(frame)['ipv4.fragment']) & 0x3fff) !== 0;
const isWhole = (frame: Uint8Array): boolean => {
  if (isFragment(frame)) return false;
  const inner = decapsulate(frame).inner;
  return !isFragment(ethernet().payload(inner).build());
};

/** Fields of frames that were made alike; ids are compared where there must be none. */
function compareFrames(ours: readonly Uint8Array[], recorded: readonly Uint8Array[]): void {
  assert.equal(ours.length, recorded.length);
  ours.forEach((frame, at) => {
    const expected = recorded[at]!;
    const hasId = (Number(decode(expected)['ipv4.fragment']) & 0x4000) === 0;
    const ignored = (field: string): boolean =>
      (hasId && (field === 'ipv4.id' || field === 'ipv4.checksum')) ||
      field === 'udp.source' ||
      field === 'udp.checksum';
    const message = `${summary(frame)}\nexpected ${summary(expected)}`;
    assert.deepEqual(differences(frame, expected, ignored), [], message);
    if (!isFragment(expected) && decapsulate(expected).checksum !== 'none') {
      assert.equal(decapsulate(frame).checksum, 'correct', message);
    }
  });
}

/** What the real server gets: each packet once, put together, and how it came. */
function received(frames: readonly Uint8Array[]): unknown[] {
  const unpacked = reassemble(frames).map((frame) => decapsulate(frame));
  const outerOf = new Map<string, Omit<Decapsulated, 'inner' | 'id' | 'sourcePort'>>();
  for (const { inner, id: _id, sourcePort: _port, ...outer } of unpacked) {
    outerOf.set(`${inner[4]} ${inner[5]}`, outer);
  }
  const inside = unpacked.map(({ inner }) => ethernet().payload(inner).build());
  return reassemble(inside).map((frame) => {
    const packet = frame.subarray(14);
    return {
      ...outerOf.get(`${packet[4]} ${packet[5]}`),
      inner: Buffer.from(packet).toString('hex'),
    };
  });
}

for (const one of CASES) {
  test(`recorded ${one.name}`, () => {
    const simulation = new Simulation();
    const ours = replay(simulation, one.name);
    const recorded = capture(one.name).filter(({ left }) => left);
    const [toClient, toServer] = [CLIENT_SIDE, SERVER_SIDE].map((side) =>
      recorded.filter((frame) => frame.side === side).map(({ bytes }) => bytes),
    ) as [Uint8Array[], Uint8Array[]];
    assert.deepEqual([toClient.length, toServer.length], one.recorded);
    assert.equal(ours[SERVER_SIDE].length, one.frames ?? toServer.length);
    const whole = toServer.filter(isWhole);
    assert.equal(whole.length, one.whole);
    compareFrames(ours[SERVER_SIDE].filter(isWhole), whole);
    const pieces = ours[SERVER_SIDE].filter(isFragment);
    assert.equal(pieces.length, one.cutOutside ?? 0);
    if (pieces.length > 0) compareFrames(pieces, toServer.filter(isFragment).slice(-pieces.length));
    const packets = received(toServer);
    assert.equal(packets.length, one.packets);
    assert.deepEqual(received(ours[SERVER_SIDE]), packets);
    compareErrors(ours[CLIENT_SIDE], toClient);
    assert.deepEqual(simulation.verdicts(), one.verdicts);
    simulation.assertNoLeak();
  });
}

function compareErrors(ours: readonly Uint8Array[], recorded: readonly Uint8Array[]): void {
  assert.equal(ours.length, recorded.length);
  ours.forEach((frame, at) => {
    const ignored = (field: string): boolean => field === 'ipv4.id' || field === 'ipv4.checksum';
    assert.deepEqual(differences(frame, recorded[at]!, ignored), [], summary(frame));
  });
}
