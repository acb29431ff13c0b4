/**
 * Connection tables of a real director as they age: goldens/conntable. Not replayed are
 * conntable-tun (the tunnel comes later) and the IPv6 end of conntable-fwmark; see
 * docs/compatibility.md.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareView, type Event, execute, readEvents } from '../../support/golden';
import { Hosts } from '../../support/hosts';
import { Simulation } from '../../support/simulation';

interface TableCase {
  readonly name: string;
  /** Replay ends before this command. */
  readonly until?: string;
  readonly closedByReset: readonly string[];
  readonly views: number;
}

const CASES: readonly TableCase[] = [
  { name: 'conntable-expiry', closedByReset: [], views: 12 },
  {
    name: 'conntable-fwmark',
    until: 'ipvsadm -A -f 6 -6',
    // Who closed this one first is a race: there the server did.
    closedByReset: ['172.16.5.6:40005'],
    views: 2,
  },
];

const TIME = /^t=([0-9.]+)$/;

class Replay {
  readonly simulation = new Simulation();
  readonly hosts = new Hosts(this.simulation);
  readonly #start = this.simulation.tick;
  readonly #one: TableCase;
  views = 0;

  constructor(one: TableCase) {
    this.#one = one;
  }

  do(event: Event): void {
    switch (event.op) {
      case 'note':
        this.#goOn(event.text);
        break;
      case 'cmd':
        assert.equal(event.rc, 0, event.cmd);
        execute(this.simulation, event.cmd);
        break;
      case 'tcp':
        this.#connect(event.client, event.vip, event.rs, event.hold === true);
        break;
      case 'udp':
        assert.equal(this.hosts.datagram(event.client, event.vip, event.len), event.rs);
        break;
      case 'view':
        // Names of services are print.test.ts's matter, files of /proc are not there.
        if (!/^ipvsadm -Lnc?$/.test(event.cmd)) break;
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

  #connect(client: string, virtual: string, expected: string, hold: boolean): void {
    const isReset = this.#one.closedByReset.includes(client);
    const answer = this.hosts.connect(client, virtual, hold || isReset);
    assert.equal(answer, expected, client);
    if (isReset) this.hosts.reset(client, answer);
  }
}

for (const one of CASES) {
  test(`recorded ${one.name}`, () => {
    const replay = new Replay(one);
    for (const event of readEvents('conntable', one.name)) {
      if (one.until !== undefined && event.op === 'cmd' && event.cmd.startsWith(one.until)) break;
      replay.do(event);
    }
    assert.equal(replay.views, one.views);
    replay.simulation.assertNoLeak();
  });
}
