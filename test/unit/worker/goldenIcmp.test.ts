/**
 * Captures of a real director with ICMP errors: every frame that came in at either side is given to
 * the pipeline in the order of the recording; what leaves is compared field by field, side by side.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TICKS_PER_SECOND } from '#xvs/table/setting';
import { decode, differences, type Fields, summary } from '../../support/decode';
import { compareView, type Event, execute, readCapture, readEvents } from '../../support/golden';
import { DIRECTOR_MAC_0, DIRECTOR_MAC_1 } from '../../support/packet';
import { type Side, Simulation } from '../../support/simulation';

interface Captured {
  readonly side: Side;
  readonly seconds: number;
  readonly bytes: Uint8Array;
  readonly fields: Fields;
  /** Did the recorded director send it? */
  readonly left: boolean;
}

/** Is it IPv4, or IPv6 and not the neighbours' own talk? */
function isTraffic(fields: Fields): boolean {
  const type = fields['icmp6.type'];
  if (fields['ipv6.version'] !== undefined) {
    const isBalanced = fields['ipv6.protocol'] === 6 || fields['ipv6.protocol'] === 17;
    return isBalanced || (type !== undefined && Number(type) < 128);
  }
  return fields['ipv4.version'] === 4;
}

function capture(name: string): Captured[] {
  return readCapture(name)
    .map(({ side, seconds, bytes }) => {
      const fields = decode(bytes);
      const own = side === 0 ? DIRECTOR_MAC_0 : DIRECTOR_MAC_1;
      return { side, seconds, bytes, fields, left: fields['ethernet.source'] === own };
    })
    .filter(({ fields }) => isTraffic(fields));
}

interface Result {
  readonly simulation: Simulation;
  readonly sent: readonly [Uint8Array[], Uint8Array[]];
  readonly host: Uint8Array[];
  readonly expected: readonly [Captured[], Captured[]];
}

/**
 * Each interface's frames in their order. Stamps of the two captures cannot be compared closely, so
 * a frame comes in as soon as all that left before it on its interface has left here.
 */
class Recording {
  readonly simulation = new Simulation();
  readonly sent: [Uint8Array[], Uint8Array[]] = [[], []];
  readonly host: Uint8Array[] = [];
  views = 0;
  #seconds = 0;
  readonly #name: string;
  readonly #frames: readonly Captured[];
  readonly #queues: readonly [Captured[], Captured[]];
  readonly #seen: [number, number] = [0, 0];
  readonly #events: readonly Event[];
  readonly #viewTicks: number;

  /** `viewTicks`: what passed between the last packet and the first listing. */
  constructor(name: string, viewTicks = 0) {
    this.#name = name;
    this.#viewTicks = viewTicks;
    this.#frames = capture(name);
    this.#queues = [this.#of(0), this.#of(1)];
    this.#events = readEvents('packets', name);
  }

  #of(side: Side): Captured[] {
    return this.#frames.filter((frame) => frame.side === side);
  }

  run(): Result {
    const hasRaw = this.#events.some(({ op }) => op === 'raw');
    for (const event of this.#events) {
      if (event.op === 'cmd' && /^(ipvsadm|sysctl)/.test(event.cmd)) {
        execute(this.simulation, event.cmd);
      }
      if (event.op === 'raw') this.#feed(event.ip_packet_hex);
      if (event.op !== 'view') continue;
      if (!hasRaw) this.#feed(null);
      if (this.views === 0) this.#pass(this.#viewTicks);
      compareView(this.simulation, event.cmd, event.stdout);
      this.views++;
    }
    this.#feed(null);
    const expected = ([0, 1] as const).map((side) => this.#of(side).filter(({ left }) => left));
    const [first, second] = expected as [Captured[], Captured[]];
    return {
      simulation: this.simulation,
      sent: this.sent,
      host: this.host,
      expected: [first, second],
    };
  }

  /** Frames come in, up to the next one that holds this packet; null: all. */
  #feed(hex: string | null): void {
    for (;;) {
      for (const side of [0, 1] as const) this.#skipLeft(side);
      const heads = this.#queues.map(([head]) => head).filter((head) => head !== undefined);
      const next = heads
        .filter(({ left }) => !left)
        .sort((one, other) => one.seconds - other.seconds)[0];
      if (next === undefined) {
        assert.equal(hex, null, `${this.#name}: ${hex} came in`);
        return;
      }
      this.#queues[next.side].shift();
      this.#enter(next);
      if (Buffer.from(next.bytes.subarray(14)).toString('hex') === hex) return;
    }
  }

  /** Frames that the recorded director had sent by now: ours have to have left, too. */
  #skipLeft(side: Side): void {
    const queue = this.#queues[side];
    while (queue[0]?.left === true) {
      const isHosts = queue[0].fields['icmp.type'] === 0;
      if (!isHosts && this.#seen[side] >= this.sent[side].length) return;
      if (!isHosts) this.#seen[side]++;
      queue.shift();
    }
  }

  #pass(ticks: number): void {
    if (ticks > 0) assert.deepEqual(this.simulation.advance(ticks).sent, [[], []]);
  }

  /** Time goes on as it did in the recording. */
  #enter({ side, seconds, bytes }: Captured): void {
    const ticks = Math.round((seconds - this.#seconds) * TICKS_PER_SECOND);
    if (this.#seconds !== 0) this.#pass(ticks);
    if (this.#seconds === 0 || ticks > 0) this.#seconds = seconds;
    const outcome = this.simulation.receive(side, bytes);
    for (const out of [0, 1] as const) this.sent[out].push(...outcome.sent[out]);
    for (const delivered of outcome.host) {
      assert.deepEqual(differences(delivered, bytes), [], 'the host gets what came in');
      this.host.push(delivered);
    }
  }
}

function compareFrames(actual: readonly Uint8Array[], expected: readonly Captured[]): void {
  assert.deepEqual(
    actual.map(summary),
    expected.map(({ bytes }) => summary(bytes)),
  );
  expected.forEach(({ bytes }, i) => {
    assert.deepEqual(differences(actual[i]!, bytes), [], summary(bytes));
  });
}

test('recorded nat-icmp-errors', () => {
  // By the rows of its listing: 4.05 to 4.36 s after the first packet, the last one at 1.36.
  const recording = new Recording('nat-icmp-errors', 28);
  const { simulation, sent, host, expected } = recording.run();
  assert.equal(recording.views, 2);
  // The host's own answer to the ping.
  const ours = expected[0].filter(({ fields }) => fields['icmp.type'] !== 0);
  assert.equal(expected[0].length - ours.length, 1);
  compareFrames(sent[0], ours);
  compareFrames(sent[1], expected[1]);
  assert.deepEqual(host.map(summary).length, 2);
  assert.equal(decode(host[0]!)['icmp.type'], 8, 'the ping');
  assert.equal(decode(host[1]!)['icmp.quoted.tcp.destination'] ?? '', '', 'eight bytes quoted');
  assert.equal(decode(host[1]!)['icmp.type'], 3, 'the error about an unknown connection');
  assert.deepEqual(simulation.verdicts(), { protocol: 1, no_connection: 1 });
  simulation.assertNoLeak();
});

test('recorded dr-icmp-errors', () => {
  const { simulation, sent, host, expected } = new Recording('dr-icmp-errors').run();
  compareFrames(sent[0], expected[0]);
  compareFrames(sent[1], expected[1]);
  assert.equal(expected[1].filter(({ fields }) => fields['icmp.type'] === 3).length, 1);
  assert.deepEqual(host, []);
  assert.deepEqual(simulation.verdicts(), {});
});

test('recorded nat-udp-port-unreach', () => {
  const recording = new Recording('nat-udp-port-unreach');
  const { simulation, sent, host, expected } = recording.run();
  assert.equal(recording.views, 1);
  compareFrames(sent[0], expected[0]);
  compareFrames(sent[1], expected[1]);
  assert.deepEqual([expected[0].length, host.length], [1, 0]);
  assert.deepEqual(simulation.verdicts(), {});
});

test('recorded v6-nat-port-unreach-k6.1', () => {
  const { simulation, sent, host, expected } = new Recording('v6-nat-port-unreach-k6.1').run();
  compareFrames(sent[0], expected[0]);
  compareFrames(sent[1], expected[1]);
  assert.equal(expected[0].filter(({ fields }) => fields['icmp6.type'] === 1).length, 2);
  assert.deepEqual(host, []);
  assert.deepEqual(simulation.verdicts(), {});
});

test('recorded v6-nat-port-unreach, where Linux 6.12 keeps the errors to itself', () => {
  const { simulation, sent, host, expected } = new Recording('v6-nat-port-unreach').run();
  const isError = (frame: Uint8Array): boolean => decode(frame)['icmp6.type'] === 1;
  const errors = sent[0].filter(isError);
  compareFrames(
    sent[0].filter((frame) => !isError(frame)),
    expected[0],
  );
  compareFrames(sent[1], expected[1]);
  for (const error of errors) {
    const fields = decode(error);
    assert.equal(fields['icmp6.checksumIs'], 'correct');
    assert.equal(fields['ipv6.source'], 'fd00:100::1');
    assert.equal(fields['icmp6.quoted.ipv6.destination'], 'fd00:100::1');
    assert.equal(fields['icmp6.quoted.udp.destination'], 80);
  }
  assert.equal(errors.length, 2);
  assert.deepEqual(host, []);
  assert.deepEqual(simulation.verdicts(), {});
});
