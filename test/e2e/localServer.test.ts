/**
 * The director as a real server of its own: it answers what it is given as it came, without the
 * workers; what it would have to be translated for is refused by xvsadm.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DIRECTOR_SERVER_SIDE, VIP } from '#xvs/lab/natTopology';
import { startWebServer, type WebServer } from '#xvs/lab/webServer';
import { type Stand, samplesOf, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText } from '../support/process';

const REFUSED_STATUS = 255;
const SERVICE = ['-t', `${VIP}:80`];

describe('a real server that is the director', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  let own: WebServer;

  before(async () => {
    stand = await startNat();
    const { topology, director } = stand.hosts;
    own = await startWebServer(topology, director, 'director', VIP);
  });
  after(() => stand?.close());

  async function answers(count: number): Promise<string[]> {
    const texts: string[] = [];
    for (let request = 0; request < count; request++) {
      texts.push(await fetchText(stand.hosts.client, VIP_URL));
    }
    return texts;
  }

  async function handedOver(): Promise<number> {
    const samples = samplesOf(await stand.director.metrics(), 'xvs_host_passes_total');
    return samples
      .filter(({ labels }) => labels['reason'] === 'local_real_server')
      .reduce((sum, { value }) => sum + value, 0);
  }

  for (const [what, server, method] of [
    ['NAT to the service’s own address', VIP, '-m'],
    ['direct routing to another of its addresses', DIRECTOR_SERVER_SIDE, '-g'],
  ] as const) {
    test(`${what}: it takes its turn`, async () => {
      const words = [...SERVICE, '-r', `${server}:80`];
      const before = await handedOver();
      assert.equal((await stand.director.xvsadm(['-a', ...words, method])).status, 0);
      const greetings = [...stand.hosts.webServers, own].map(({ greeting }) => greeting);
      assert.deepEqual((await answers(3)).sort(), greetings.sort());
      assert.ok((await handedOver()) > before + 3);
      const { stdout } = await stand.director.xvsadm(['-Ln', ...SERVICE]);
      assert.match(stdout, new RegExp(`-> ${server}:80 +${method === '-m' ? 'Masq' : 'Route'} `));
      assert.equal((await stand.director.xvsadm(['-d', ...words])).status, 0);
    });
  }

  test('what would have to be translated is refused, with the reason', async () => {
    for (const server of [`${VIP}:8000`, `${DIRECTOR_SERVER_SIDE}:80`]) {
      const said = await stand.director.xvsadm(['-a', ...SERVICE, '-r', server, '-m']);
      assert.equal(said.status, REFUSED_STATUS);
      assert.equal(
        said.stderr,
        `service tcp ${VIP}:80: real server ${server}, nat: the address is this host's own, ` +
          `whose answers are not translated back; allowed are ${VIP}:80 with nat, any address ` +
          'of this host with dr or tunnel\n',
      );
    }
    const { stdout } = await stand.director.xvsadm(['-Ln', ...SERVICE]);
    assert.equal(stdout.match(/->.*Masq/g)?.length, 2);
  });
});
