/**
 * Captures of a real director, frame by frame: what came in at either side is given to the
 * pipeline, what left is compared field by field. What the recorded director's own stack answered
 * or forwarded must here have been handed to the host.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELD_TICKS } from '#xvs/worker/fragments';
import { decode, differences, type Fields, summary } from '../../support/decode';
import { compareView, type Event, execute, readCapture, readEvents } from '../../support/golden';
import { DIRECTOR_MAC_0, DIRECTOR_MAC_1 } from '../../support/packet';
import { type Outcome, type Side, Simulation } from '../../support/simulation';

interface PacketCase {
  readonly name: string;
  /** How often each verdict must have been counted. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** Frames that the host was given. */
  readonly hostFrames: number;
  /** Frames that left and were compared. */
  readonly compared: number;
  /** Each raw packet of the recording is let in, with what it caused, where it stands. */
  readonly byRaw?: boolean;
}

function clientPort(fields: Fields): number {
  const ports = ['tcp.source', 'tcp.destination', 'udp.source', 'udp.destination'];
  const names = [...ports, ...ports.map((name) => `icmp.quoted.${name}`)];
  return Math.max(...names.map((name) => Number(fields[name] ?? 0)));
}
/** IPv6's fragment header: where it is and of which packet. */
const FRAGMENT6 = 'ipv6.extension44';
const isFragment = (fields: Fields): boolean =>
  FRAGMENT6 in fields || (Number(fields['ipv4.fragment']) & 0x3fff) !== 0;
/** Is it traffic, not the neighbours' own talk? */
const isTraffic = (fields: Fields): boolean =>
  fields['ipv4.version'] === 4 ||
  ['tcp.source', 'udp.source', FRAGMENT6].some((it) => it in fields);
const CASES: readonly PacketCase[] = [
  { name: 'dr-tcp', verdicts: {}, hostFrames: 0, compared: 7 },
  { name: 'dr-udp', verdicts: {}, hostFrames: 0, compared: 6 },
  { name: 'nat-tcp', verdicts: {}, hostFrames: 0, compared: 14 },
  { name: 'nat-udp', verdicts: {}, hostFrames: 0, compared: 10 },
  {
    // Fragments in reversed order, which the recorded director put in order; then two without the
    // first one, of which it heard no more. Here the host has them, after a second.
    name: 'nat-frag-out-of-order',
    verdicts: { fragment_orphan: 2 },
    hostFrames: 2,
    compared: 5,
  },
  {
    name: 'nat-out-of-state',
    byRaw: true,
    // ACK, RST, FIN+ACK, none, SYN+RST to the service, RST with sloppy_tcp too; from servers
    // without a connection before nat_icmp_send, and from a port that is no server's.
    verdicts: { not_scheduled: 6, no_connection: 2, real_server_refused: 1 },
    hostFrames: 8,
    compared: 8,
  },
  {
    name: 'nat-ttl-tos',
    verdicts: { ttl_exceeded: 1 },
    hostFrames: 0,
    compared: 17,
  },
  {
    // The server of weight 0 came later in the recording, and changes nothing.
    name: 'no-destination',
    verdicts: { no_real_server: 3, no_connection: 2 },
    hostFrames: 2,
    compared: 3,
  },
  { name: 'v6-dr-tcp-udp', verdicts: {}, hostFrames: 0, compared: 9 },
];

interface Captured {
  readonly side: Side;
  readonly seconds: number;
  readonly bytes: Uint8Array;
  readonly fields: Fields;
  /** Did the recorded director send it? */
  readonly left: boolean;
}

/** Of IPv6, without the id: the recorded director put a packet together and cut it anew. */
const fragment6 = (fields: Fields): string => String(fields[FRAGMENT6] ?? '').slice(0, 8);

/**
 * Later fragments of IPv6 stand in the capture of the side where they came in as they left, for
 * the director wrote over them before the capture was read: as they came, after their first one.
 */
function asItCame(bytes: Uint8Array, first: Uint8Array): Uint8Array {
  const came = Uint8Array.from(bytes);
  const [macs, hopLimit, id] = [
    first.subarray(0, 12),
    first.subarray(21, 22),
    first.subarray(58, 62),
  ];
  came.set(macs, 0);
  came.set(hopLimit, 21);
  came.set(id, 58);
  return came;
}

function capture(name: string): Captured[] {
  let first: Uint8Array | undefined;
  return readCapture(name)
    .map(({ side, seconds, bytes: seen }) => {
      const source = decode(seen)['ethernet.source'];
      const isOverwritten = side === 0 && source === DIRECTOR_MAC_1;
      const bytes = isOverwritten ? asItCame(seen, first!) : seen;
      const fields = decode(bytes);
      if (side === 0 && FRAGMENT6 in fields && !isOverwritten) first = bytes;
      const own = side === 0 ? DIRECTOR_MAC_0 : DIRECTOR_MAC_1;
      return { side, seconds, bytes, fields, left: source === own };
    })
    .filter(({ fields }) => isTraffic(fields));
}

/** IP ids of ICMP errors are the sender's own. */
function compareFrame(actual: Uint8Array, expected: Captured): void {
  const isError = expected.fields['ipv4.protocol'] === 1;
  const ignored = (field: string): boolean =>
    (isError && (field === 'ipv4.id' || field === 'ipv4.checksum')) || field === FRAGMENT6;
  const message = `${summary(actual)}\nexpected ${summary(expected.bytes)}`;
  assert.deepEqual(differences(actual, expected.bytes, ignored), [], message);
  assert.equal(fragment6(decode(actual)), fragment6(expected.fields), message);
}

const ends = (fields: Fields, prefix = ''): string[] =>
  ['source', 'destination'].map((end) => {
    const port = fields[`${prefix}tcp.${end}`] ?? fields[`${prefix}udp.${end}`];
    return `${fields[`${prefix}ipv4.${end}`]}:${port}`;
  });

/** Is `frame` the host's answer to `cause`, or `cause` itself, forwarded by the host? */
function comesOfHost(frame: Fields, cause: Fields): boolean {
  const [from, to] = ends(cause);
  if (frame['ipv4.protocol'] === 1) {
    const [quotedFrom, quotedTo] = ends(frame, 'icmp.quoted.');
    return quotedFrom === from && quotedTo === to;
  }
  const [source, destination] = ends(frame);
  const isReset = String(frame['tcp.flags']).includes('R') && source === to && destination === from;
  const isForwarded =
    source === from && destination === to && frame['ipv4.ttl'] === Number(cause['ipv4.ttl']) - 1;
  return isReset || isForwarded;
}

/**
 * A replay: each interface's frames in their order. Stamps of the two captures cannot be compared
 * closely, so a frame comes in as soon as all that left before it on its interface has left here.
 */
class Replay {
  readonly simulation = new Simulation();
  readonly host: Fields[] = [];
  compared = 0;
  readonly #ours: [Uint8Array[], Uint8Array[]] = [[], []];

  run(frames: readonly Captured[]): void {
    const queues = [0, 1].map((side) => frames.filter((frame) => frame.side === side));
    for (;;) {
      const heads = queues.map(([head]) => head).filter((head) => head !== undefined);
      if (heads.length === 0) return;
      const next =
        heads.find((head) => head.left && this.#accept(head)) ??
        heads.filter((head) => !head.left).sort((one, other) => one.seconds - other.seconds)[0];
      assert.ok(next, `missing: ${heads.map(({ bytes }) => summary(bytes)).join(', ')}`);
      queues[next.side]!.shift();
      if (!next.left) this.#enter(next);
    }
  }

  /** A frame that the recorded director sent: is it explained? */
  #accept(frame: Captured): boolean {
    if (this.host.some((cause) => comesOfHost(frame.fields, cause))) return true;
    const ours = this.#take(frame);
    if (ours === undefined) return false;
    compareFrame(ours, frame);
    this.compared++;
    return true;
  }

  /** The next frame that left here. Fragments go as they come, not in their order. */
  #take(frame: Captured): Uint8Array | undefined {
    const ours = this.#ours[frame.side];
    if (!isFragment(frame.fields)) return ours.shift();
    const names = ['ipv4.id', 'ipv4.fragment'];
    const place = ours.findIndex((bytes) => {
      const fields = decode(bytes);
      const isSame = names.every((name) => fields[name] === frame.fields[name]);
      return isSame && fragment6(fields) === fragment6(frame.fields);
    });
    return place < 0 ? undefined : ours.splice(place, 1)[0];
  }

  /** Compares a listing, for which time goes on to what it shows. */
  view(event: Extract<Event, { op: 'view' }>): void {
    const outcome = compareView(this.simulation, event.cmd, event.stdout);
    if (outcome !== null) this.#keep(outcome);
  }

  /** What was held until now comes to an end. */
  finish(): void {
    this.#keep(this.simulation.advance(HELD_TICKS));
  }

  #enter(frame: Captured): void {
    this.#keep(this.simulation.receive(frame.side, frame.bytes), frame);
  }

  /** `cause`: the one frame that the host may be given now. */
  #keep(outcome: Outcome, cause?: Captured): void {
    for (const side of [0, 1] as const) this.#ours[side].push(...outcome.sent[side]);
    for (const delivered of outcome.host) {
      if (cause !== undefined) {
        assert.deepEqual(differences(delivered, cause.bytes), [], 'the host gets what came in');
      }
      this.host.push(decode(delivered));
    }
  }

  /** What left here and in no recording. */
  get surplus(): readonly string[] {
    return this.#ours.flat().map(summary);
  }
}

/** The port that tells a raw packet and all that it caused from others. */
function rawPort(hex: string): number {
  const transport = Number.parseInt(hex[1]!, 16) * 4 * 2;
  const ports = [0, 4].map((at) =>
    Number.parseInt(hex.slice(transport + at, transport + at + 4), 16),
  );
  return Math.max(...ports);
}

/** Does what was done in the recording, in its order; returns how many listings were compared. */
function replayEvents(replay: Replay, events: readonly Event[], one: PacketCase): number {
  const frames = capture(one.name);
  let views = 0;
  let isIn = false;
  for (const event of events) {
    if (event.op === 'cmd' && !event.cmd.startsWith('ip ')) execute(replay.simulation, event.cmd);
    if (event.op === 'raw' && one.byRaw) {
      const port = rawPort(event.ip_packet_hex);
      replay.run(frames.filter(({ fields }) => clientPort(fields) === port));
    }
    if (event.op !== 'view') continue;
    if (!one.byRaw && !isIn) replay.run(frames);
    isIn = true;
    replay.view(event);
    views++;
  }
  return views;
}

for (const one of CASES) {
  test(`recorded ${one.name}`, () => {
    const events = readEvents('packets', one.name);
    const replay = new Replay();
    assert.ok(replayEvents(replay, events, one) > 0);
    replay.finish();
    assert.deepEqual(replay.surplus, []);
    assert.deepEqual(replay.simulation.verdicts(), one.verdicts);
    assert.equal(replay.host.length, one.hostFrames);
    assert.equal(replay.compared, one.compared);
    replay.simulation.assertNoLeak();
  });
}
