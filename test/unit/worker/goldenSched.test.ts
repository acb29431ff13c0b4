/** What a real director chose for each connection, and what its listings said: goldens/sched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareView, type Event, execute, readEvents } from '../../support/golden';
import { endpoint, Hosts } from '../../support/hosts';
import { CLIENT_MAC } from '../../support/packet';
import { CLIENT_SIDE, Simulation } from '../../support/simulation';

const CASES = [
  'persist-fwmark',
  'persist-mask24',
  'persist-sh',
  'sched-dh-fwmark-3-2-1',
  'sched-dh-tcp-service',
  'sched-dr-rr',
  'sched-fo',
  'sched-fwmark-rr',
  'sched-gue-rr',
  'sched-lblcr-fwmark-1-1-1',
  'sched-lblcr-overload',
  'sched-lc-1-1-1',
  'sched-lc-1-2-4',
  'sched-lc-3-2-1',
  'sched-lc-noheld-seq',
  'sched-mh-1-1-1',
  'sched-mh-1-1-1-1',
  'sched-mh-100-50-25',
  'sched-mh-edit',
  'sched-mh-fallback-1-0-2',
  'sched-mh-port-3-2-1',
  'sched-mh-port-fallback-1-0-2',
  'sched-nq-0-1-3',
  'sched-nq-1-1-1',
  'sched-nq-1-2-4',
  'sched-nq-3-2-1',
  'sched-nq-noheld-seq',
  'sched-rr-all-zero',
  'sched-rr-basic',
  'sched-rr-edit',
  'sched-rr-thresholds',
  'sched-rr-thresholds-clear',
  'sched-rr-thresholds-raise',
  'sched-sed-0-1-3',
  'sched-sed-1-1-1',
  'sched-sed-3-2-1',
  'sched-sed-noheld-seq',
  'sched-sh-1-0-2',
  'sched-sh-3-2-1',
  'sched-sh-edit',
  'sched-sh-port-3-2-1',
  'sched-udp-ops',
  'sched-udp-ops-dr',
  'sched-udp-rr',
  'sched-v6-nat-mh',
  'sched-v6-nat-rr',
  'sched-v6-nat-sh',
  'sched-v6-nat-wrr',
  'sched-wlc-0-1-3',
  'sched-wlc-1-1-1',
  'sched-wlc-1-2-4',
  'sched-wlc-3-2-1',
  'sched-wlc-noheld-seq',
  'sched-wrr-1-0-2',
  'sched-wrr-1-1-1',
  'sched-wrr-1-1-5',
  'sched-wrr-10-10-5-1',
  'sched-wrr-100-50-25-1',
  'sched-wrr-3-2-1',
  'sched-wrr-5-1-1',
  'sched-wrr-6-4-2',
  'sched-wrr-7-3-5',
  'sched-wrr-all-zero',
  'sched-wrr-edit',
] as const;

interface Kind {
  /** How much older than here an entry may be in the recording, which took its time. */
  readonly slackSeconds: number;
  /** Clients whose connection was reset at its end: their rows say CLOSE. */
  readonly closedByReset: readonly string[];
}
const PLAIN: Kind = { slackSeconds: 1, closedByReset: [] };
const KINDS: Readonly<Record<string, Kind>> = {
  'persist-fwmark': {
    slackSeconds: 4,
    closedByReset: ['10.0.1.100:40021', '172.16.1.1:40017'],
  },
  'persist-mask24': { ...PLAIN, slackSeconds: 4 },
  'persist-sh': { ...PLAIN, slackSeconds: 4 },
};

/** Does one event; returns whether it was one that compares something. */
function replay(
  simulation: Simulation,
  hosts: Hosts,
  event: Event,
  { slackSeconds, closedByReset }: Kind,
): boolean {
  switch (event.op) {
    case 'topology':
    case 'note':
      return false;
    case 'cmd':
      assert.equal(event.rc, 0, event.cmd);
      execute(simulation, event.cmd);
      return false;
    case 'tcp': {
      const isReset = closedByReset.includes(event.client);
      const answer = hosts.connect(event.client, event.vip, event.hold === true || isReset);
      assert.equal(answer, event.rs, `TCP of ${event.client}`);
      if (isReset) hosts.reset(event.client, answer);
      return true;
    }
    case 'udp':
      assert.equal(hosts.datagram(event.client, event.vip, event.len), event.rs, event.client);
      return true;
    case 'close':
      assert.ok(event.how === 'rst' || event.how === 'fin', event.how);
      for (const connection of event.conns) {
        const [client, name] = connection.split('->');
        if (event.how === 'rst') hosts.reset(client!, name!);
        else hosts.close(client!, name!);
      }
      return false;
    case 'sleep':
      simulation.advance(Math.round(event.s * 10));
      return false;
    case 'view':
      // Files of /proc are not there.
      if (event.cmd.startsWith('cat ')) return false;
      compareView(simulation, event.cmd, event.stdout, undefined, slackSeconds);
      return true;
    default:
      throw new Error(`event ${event.op} is not replayed here`);
  }
}

/** Clients on the director's own network, beside those that every simulation knows. */
function neighboursOf(events: readonly Event[]): ReadonlySet<string> {
  const clients = events.flatMap((event) =>
    event.op === 'tcp' || event.op === 'udp' ? [endpoint(event.client).address] : [],
  );
  return new Set(clients.filter((address) => address.startsWith('10.0.1.')));
}

for (const name of CASES) {
  test(`recorded ${name}`, () => {
    const simulation = new Simulation();
    const events = readEvents('sched', name);
    const [first] = events.filter((event) => event.op === 'topology');
    const mode = first?.mode;
    assert.ok(mode === 'nat' || mode === 'dr' || mode === 'gue');
    const hosts = new Hosts(simulation, mode === 'gue' ? 'tunnel' : mode);
    for (const address of neighboursOf(events)) {
      simulation.resolve(CLIENT_SIDE, address, CLIENT_MAC);
    }
    let compared = 0;
    events.forEach((event, index) => {
      try {
        if (replay(simulation, hosts, event, KINDS[name] ?? PLAIN)) compared++;
      } catch (error) {
        (error as Error).message = `event ${index + 1}: ${(error as Error).message}`;
        throw error;
      }
    });
    assert.ok(compared >= 9, `only ${compared} events compared`);
    simulation.assertNoLeak();
  });
}
