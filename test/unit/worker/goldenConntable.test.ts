/**
 * Connection tables of a real director as they age: goldens/conntable. Files of /proc are not
 * there; all other listings are compared.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareView, type Event, execute, readEvents, waitFor } from '../../support/golden';
import { Hosts, REFUSED, TIMEOUT } from '../../support/hosts';
import { Simulation } from '../../support/simulation';

/** What one end of a held connection sent. */
interface Step {
  readonly client: string;
  readonly end: 'client' | 'server';
  readonly flags: string;
}

interface TableCase {
  readonly name: string;
  readonly closedByReset: readonly string[];
  /** What was done when this was noted. */
  readonly steps?: Readonly<Record<string, readonly Step[]>>;
  /** Is there no word of the time that passed? Then the listings tell. */
  readonly untimed?: boolean;
  readonly views: number;
}

const [first, second, fourth] = [45001, 45002, 45004].map((port) => `10.0.1.100:${port}`) as [
  string,
  string,
  string,
];
const CASES: readonly TableCase[] = [
  { name: 'conntable-expiry', closedByReset: [], views: 12 },
  {
    name: 'conntable-fwmark',
    // Who closed this one first is a race: there the server did.
    closedByReset: ['172.16.5.6:40005'],
    untimed: true,
    views: 4,
  },
  {
    name: 'conntable-tun',
    closedByReset: [],
    steps: {
      'client FIN, RS ACKed but not closed': [{ client: first, end: 'client', flags: 'FA' }],
      'then RS FIN': [
        { client: first, end: 'server', flags: 'FA' },
        { client: first, end: 'client', flags: 'A' },
      ],
      'second conn: RS FIN first': [
        { client: second, end: 'server', flags: 'FA' },
        { client: second, end: 'client', flags: 'A' },
      ],
      'then client FIN': [{ client: second, end: 'client', flags: 'FA' }],
      'fourth: RS RST': [{ client: fourth, end: 'server', flags: 'R' }],
    },
    untimed: true,
    views: 27,
  },
];

const TIME = /^t=([0-9.]+)$/;
const CONNECTIONS = /^ipvsadm -Ln?c/;

class Replay {
  readonly simulation = new Simulation();
  readonly hosts: Hosts;
  readonly #start = this.simulation.tick;
  readonly #one: TableCase;
  readonly #events: readonly Event[];
  views = 0;

  constructor(one: TableCase) {
    this.#one = one;
    this.#events = readEvents('conntable', one.name);
    const isTunnel = this.#events.some(({ op, ...event }) => {
      return op === 'topology' && (event as { mode?: string }).mode === 'ipip';
    });
    this.hosts = new Hosts(this.simulation, isTunnel ? 'tunnel' : 'nat');
  }

  run(): void {
    this.#events.forEach((event, at) => {
      this.#do(event);
      if (this.#one.untimed && event.op === 'view' && CONNECTIONS.test(event.cmd)) this.#wait(at);
    });
  }

  #do(event: Event): void {
    switch (event.op) {
      case 'note':
        this.#goOn(event.text);
        for (const { client, end, flags } of this.#one.steps?.[event.text] ?? []) {
          this.hosts.step(client, 'rs1', end, flags);
        }
        break;
      case 'cmd':
        if (event.rc === 0) execute(this.simulation, event.cmd);
        else assert.throws(() => execute(this.simulation, event.cmd), event.cmd);
        break;
      case 'tcp':
        this.#connect(event.client, event.vip, event.rs, event.hold === true);
        break;
      case 'udp':
        assert.equal(this.hosts.datagram(event.client, event.vip, event.len), event.rs);
        break;
      case 'close':
        assert.ok(event.how === 'rst' || event.how === 'fin', event.how);
        for (const connection of event.conns) {
          const [client, name] = connection.split('->') as [string, string];
          if (event.how === 'rst') this.hosts.reset(client, name);
          else this.hosts.close(client, name);
        }
        break;
      case 'view':
        if (event.cmd.startsWith('cat /proc/')) break;
        compareView(this.simulation, event.cmd, event.stdout);
        this.views++;
        break;
      default:
        assert.equal(event.op, 'topology');
    }
  }

  /** "t=3.3": seconds since the recording began. */
  #goOn(text: string): void {
    const [, seconds] = TIME.exec(text) ?? [];
    if (seconds === undefined) return;
    const ticks = this.#start + Math.round(Number(seconds) * 10) - this.simulation.tick;
    if (ticks > 0) this.simulation.advance(ticks);
  }

  /** Until the next listing, as far as it tells. */
  #wait(at: number): void {
    const next = this.#events
      .slice(at + 1)
      .find((event) => event.op === 'view' && CONNECTIONS.test(event.cmd));
    if (next?.op !== 'view') return;
    waitFor(this.simulation, next.cmd, next.stdout);
  }

  #connect(client: string, virtual: string, expected: string, hold: boolean): void {
    if (expected === TIMEOUT || expected === REFUSED) {
      // The server is silent, or refuses without the director, which sees the SYN alone.
      assert.equal(this.hosts.knock(client, virtual), 'rs1', client);
      return;
    }
    const isReset = this.#one.closedByReset.includes(client);
    const answer = this.hosts.connect(client, virtual, hold || isReset);
    assert.equal(answer, expected, client);
    if (isReset) this.hosts.reset(client, answer);
  }
}

for (const one of CASES) {
  test(`recorded ${one.name}`, () => {
    const replay = new Replay(one);
    replay.run();
    assert.equal(replay.views, one.views);
    replay.simulation.assertNoLeak();
  });
}
