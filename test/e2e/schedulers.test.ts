/**
 * What a real director chose, over real sockets: a sample of every recorded scheduler, from the
 * recorded client addresses and ports, with the recorded commands given to the real tools. The
 * whole of the recordings is replayed without a kernel in test/unit/worker/goldenSched.test.ts.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { eventually } from '#xvs/lab/process';
import { type Event, readEvents } from '../support/golden';
import { buildGoldenHosts, type GoldenHosts } from '../support/goldenTopology';
import { whyNoNetwork } from '../support/probe';

const CASES = [
  'sched-rr-basic',
  'sched-rr-thresholds',
  'sched-wrr-5-1-1',
  'sched-lc-1-2-4',
  'sched-wlc-3-2-1',
  'sched-sed-3-2-1',
  'sched-nq-0-1-3',
  'sched-sh-3-2-1',
  'sched-dh-tcp-service',
  'sched-dh-fwmark-3-2-1',
  'sched-mh-100-50-25',
  'sched-lblcr-overload',
  'sched-lblcr-fwmark-1-1-1',
  'sched-fo',
  'sched-udp-rr',
  'sched-fwmark-rr',
  'persist-mask24',
  'persist-fwmark',
] as const;
const COMPARED_MIN = 8;
/** The listing may be read a moment before the last packet of a connection is worked on. */
const VIEW_TIMEOUT_MS = 2000;

const withoutSize = (text: string) => text.replace(/\(size=\d+\)/, '(size=N)');

/** Our tool for what the recorded host did, and its words. */
function toolFor(program: string, words: readonly string[]): [string, readonly string[]] {
  switch (program) {
    case 'ipvsadm':
      return ['xvsadm', words];
    case 'iptables':
      return ['xvs', ['mark', ...words]];
    case 'sysctl':
      return ['xvs', ['sysctl', words[1]!.replace(/^net\.ipv4\.vs\./, '')]];
    default:
      throw new Error(`${program} is not replayed here`);
  }
}

describe('recorded choices over real sockets', { skip: whyNoNetwork() }, () => {
  let hosts: GoldenHosts;
  before(async () => {
    hosts = await buildGoldenHosts();
  });
  after(() => hosts?.close());
  beforeEach(() => hosts.director.start());
  afterEach(async () => {
    // While the director still forwards: the real servers have to hear of it too.
    await hosts.client.order({ op: 'forget' });
    await hosts.waitForEnd();
    // Entries outlive the services they came from: only a new daemon starts with none.
    assert.equal(await hosts.director.stop(), 0);
  });

  async function execute(line: string): Promise<void> {
    const [program, ...words] = line.split(' ');
    const said = await hosts.director.tool(...toolFor(program!, words));
    assert.equal(said.status, 0, `${line}: ${said.stderr}`);
  }

  /** Only the plain listing: packets and seconds are the machine's, not the director's. */
  async function compareView(line: string, recorded: string): Promise<boolean> {
    if (line !== 'ipvsadm -Ln') return false;
    let shown = '';
    const same = await eventually(async () => {
      shown = withoutSize((await hosts.director.xvsadm(['-Ln'])).stdout);
      return shown === withoutSize(recorded);
    }, VIEW_TIMEOUT_MS);
    if (!same) assert.equal(shown, withoutSize(recorded));
    return true;
  }

  /** Returns whether something was compared. */
  async function replay(event: Event): Promise<boolean> {
    const { client } = hosts;
    switch (event.op) {
      case 'cmd':
        await execute(event.cmd);
        return false;
      case 'tcp': {
        const hold = event.hold === true;
        const order = { op: 'tcp', client: event.client, vip: event.vip, hold } as const;
        assert.equal(await client.order(order), event.rs, `TCP of ${event.client}`);
        return true;
      }
      case 'udp': {
        const { op, vip, len } = event;
        const answer = await client.order({ op, client: event.client, vip, len });
        assert.equal(answer, event.rs, `UDP of ${event.client}`);
        return true;
      }
      case 'close':
        for (const connection of event.conns) {
          const [from = ''] = connection.split('->');
          assert.equal(
            await client.order({ op: 'close', how: event.how, client: from }),
            event.how,
          );
        }
        return false;
      case 'view':
        return compareView(event.cmd, event.stdout);
      case 'topology':
      case 'note':
        return false;
      default:
        throw new Error(`event ${event.op} is not replayed here`);
    }
  }

  for (const name of CASES) {
    test(name, async () => {
      let compared = 0;
      for (const [index, event] of readEvents('sched', name).entries()) {
        try {
          if (await replay(event)) compared++;
        } catch (error) {
          (error as Error).message = `event ${index + 1}: ${(error as Error).message}`;
          throw error;
        }
      }
      assert.ok(compared >= COMPARED_MIN, `only ${compared} events compared`);
    });
  }
});
