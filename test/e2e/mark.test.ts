/**
 * A service by firewall mark over NAT: netfilter never sees its packets, the director works the
 * marks out itself. What the real servers do on their own account goes on flowing.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CLIENT_ADDRESS, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { startWebServer } from '#xvs/lab/webServer';
import { NAT_CONFIG, type Stand, startNat, sumOf, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText, mustRun } from '../support/process';

const MARK = 66;
const RULE = `-d ${VIP} -p tcp -m multiport --dports 80,443 -j MARK --set-mark ${MARK}`;
const SHOWN =
  `-A PREROUTING -d ${VIP}/32 -p tcp -m multiport --dports 80,443 ` +
  '-j MARK --set-xmark 0x42/0xffffffff';
const HEAD = '-P PREROUTING ACCEPT\n';
const RELOAD_MS = 5000;

describe('firewall marks', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  let greetings: string[];

  before(async () => {
    stand = await startNat({
      marks: [`-t mangle -A PREROUTING ${RULE}`],
      services: [
        {
          fwmark: MARK,
          scheduler: 'rr',
          servers: REAL_SERVERS.map((address) => ({ address, method: 'nat' })),
        },
      ],
    });
    const { topology, client, webServers } = stand.hosts;
    await startWebServer(topology, client, 'outside', CLIENT_ADDRESS);
    client.route('192.168.0.0/24', VIP);
    greetings = webServers.map((server) => server.greeting);
  });
  after(() => stand?.close());

  async function fetchTwice(): Promise<string[]> {
    const { client } = stand.hosts;
    return [await fetchText(client, VIP_URL), await fetchText(client, VIP_URL)];
  }
  async function mark(...words: string[]): Promise<string> {
    const said = await stand.director.tool('xvs', ['mark', ...words]);
    assert.equal(said.status, 0, said.stderr);
    return said.stdout;
  }

  test('a marked connection goes to the real servers in turn', async () => {
    assert.deepEqual((await fetchTwice()).sort(), greetings);
    const metrics = await stand.director.metrics();
    const line = metrics.split('\n').find((text) => /verdict="redirect_mark"/.test(text));
    assert.ok(Number(line?.split(' ')[1]) > 0, line);
    assert.ok(sumOf(metrics, 'xvs_xdp_verdicts_total') > 0);
  });

  test('what is not marked is refused by the host as ever', async () => {
    const words = ['curl', '-sS', '--max-time', '5', `http://${VIP}:81/`];
    const said = await stand.hosts.client.run(words);
    assert.equal(said.status, 7, said.stderr);
  });

  test("the real servers' own traffic flows, from and to any port", async () => {
    const outside = `http://${CLIENT_ADDRESS}/`;
    for (const { host } of stand.hosts.webServers) {
      assert.equal(await fetchText(host, outside), `outside ${CLIENT_ADDRESS}`);
      const low = ['curl', '-sSf', '--max-time', '5', '--local-port', '443', outside];
      assert.equal((await mustRun(host, low)).trim(), `outside ${CLIENT_ADDRESS}`);
      await mustRun(host, ['ping', '-c', '2', '-i', '0.2', '-W', '2', CLIENT_ADDRESS]);
    }
    for (const [index, address] of REAL_SERVERS.entries()) {
      assert.equal(await fetchText(stand.hosts.director, `http://${address}/`), greetings[index]);
      assert.equal(await fetchText(stand.hosts.client, `http://${address}/`), greetings[index]);
    }
  });

  test('xvs mark changes the marks while traffic runs', async () => {
    assert.equal(await mark('-L'), `${HEAD}${SHOWN}\n`);
    await mark('-t', 'mangle', '-D', 'PREROUTING', ...RULE.split(' '));
    assert.equal(await mark('-L'), HEAD);
    const refused = await stand.hosts.client.run(['curl', '-sS', '--max-time', '5', VIP_URL]);
    assert.equal(refused.status, 7, refused.stderr);
    const words = '-t mangle -A PREROUTING -i eth0 -p tcp --dport http -j MARK --or-mark 0x42';
    await mark(...words.split(' '));
    assert.deepEqual((await fetchTwice()).sort(), greetings);
  });

  test('a reload brings back the marks of the configuration', async () => {
    stand.director.reload();
    const back = await eventually(
      async () => (await mark('-L')) === `${HEAD}${SHOWN}\n`,
      RELOAD_MS,
    );
    assert.equal(back, true);
    assert.deepEqual((await fetchTwice()).sort(), greetings);
    const { services: _none, ...rest } = NAT_CONFIG;
    stand.director.configure({ ...rest, interfaces: NAT_CONFIG.interfaces, marks: ['-A INPUT'] });
    stand.director.reload();
    await eventually(() => stand.director.log().includes('not applied'), RELOAD_MS);
    assert.match(stand.director.log(), /marks\[0\]: -A INPUT: only PREROUTING is allowed/);
    assert.deepEqual((await fetchTwice()).sort(), greetings);
  });
});
