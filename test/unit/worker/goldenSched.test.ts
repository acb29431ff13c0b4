/** What a real director chose for each connection, and what its listings said: goldens/sched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareView, type Event, execute, readEvents } from '../../support/golden';
import { Hosts } from '../../support/hosts';
import { Simulation } from '../../support/simulation';

const CASES = [
  'sched-rr-basic',
  'sched-rr-edit',
  'sched-rr-all-zero',
  'sched-rr-thresholds',
  'sched-rr-thresholds-clear',
  'sched-rr-thresholds-raise',
  'sched-udp-rr',
] as const;

/** Does one event; returns whether it was one that compares something. */
function replay(simulation: Simulation, hosts: Hosts, event: Event): boolean {
  switch (event.op) {
    case 'topology':
      assert.equal(event.mode, 'nat');
      return false;
    case 'note':
      return false;
    case 'cmd':
      assert.equal(event.rc, 0, event.cmd);
      execute(simulation, event.cmd);
      return false;
    case 'tcp': {
      const answer = hosts.connect(event.client, event.vip, event.hold === true);
      assert.equal(answer, event.rs, `TCP of ${event.client}`);
      return true;
    }
    case 'udp':
      assert.equal(hosts.datagram(event.client, event.vip, event.len), event.rs, event.client);
      return true;
    case 'close':
      assert.equal(event.how, 'rst');
      for (const connection of event.conns) {
        const [client, name] = connection.split('->');
        hosts.reset(client!, name!);
      }
      return false;
    case 'sleep':
      simulation.advance(Math.round(event.s * 10));
      return false;
    case 'view':
      compareView(simulation, event.cmd, event.stdout);
      return true;
    default:
      throw new Error(`event ${event.op} is not replayed here`);
  }
}

for (const name of CASES) {
  test(`recorded ${name}`, () => {
    const simulation = new Simulation();
    const hosts = new Hosts(simulation);
    let compared = 0;
    readEvents('sched', name).forEach((event, index) => {
      try {
        if (replay(simulation, hosts, event)) compared++;
      } catch (error) {
        (error as Error).message = `event ${index + 1}: ${(error as Error).message}`;
        throw error;
      }
    });
    assert.ok(compared >= 9, `only ${compared} events compared`);
    simulation.assertNoLeak();
  });
}
