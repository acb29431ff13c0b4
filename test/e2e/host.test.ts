/**
 * While the daemon runs, its host stays a normal Linux host: what is no balanced traffic goes its
 * way through the kernel.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CLIENT_ADDRESS, DIRECTOR_SERVER_SIDE, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { startWebServer } from '#xvs/lab/webServer';
import { type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText, mustRun } from '../support/process';

/** More than two frames' worth. */
const LARGE_PING_BYTES = 4000;
const REFUSED_STATUS = 7; // curl: could not connect
const AT_ONCE_MS = 1000;

describe('host', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat();
    const { topology, client } = stand.hosts;
    await startWebServer(topology, client, 'outside', CLIENT_ADDRESS);
    client.route('192.168.0.0/24', VIP);
    // The services are in use, so that connections stand in the table.
    for (let request = 0; request < 2; request++) await fetchText(client, VIP_URL);
  });
  after(() => stand?.close());

  test('the VIP answers ping', async () => {
    await mustRun(stand.hosts.client, ['ping', '-c', '3', '-i', '0.2', '-W', '2', VIP]);
  });

  test(`the VIP answers ping of ${LARGE_PING_BYTES} bytes, which come in fragments`, async () => {
    const words = ['-c', '3', '-i', '0.2', '-W', '2', '-s', `${LARGE_PING_BYTES}`];
    await mustRun(stand.hosts.client, ['ping', ...words, VIP]);
  });

  test('a real server gets answers to its ping of 4000 bytes to the client', async () => {
    const words = ['-c', '3', '-i', '0.2', '-W', '2', '-s', `${LARGE_PING_BYTES}`];
    await mustRun(stand.hosts.webServers[0].host, ['ping', ...words, CLIENT_ADDRESS]);
  });

  test('the director itself reaches each real server', async () => {
    for (const [index, address] of REAL_SERVERS.entries()) {
      const answer = await fetchText(stand.hosts.director, `http://${address}/`);
      assert.equal(answer, stand.hosts.webServers[index]!.greeting);
    }
  });

  test('a real server reaches a web server outside, the director being its gateway', async () => {
    for (const { host } of stand.hosts.webServers) {
      const answer = await fetchText(host, `http://${CLIENT_ADDRESS}/`);
      assert.equal(answer, `outside ${CLIENT_ADDRESS}`);
    }
  });

  test('a client reaches a real server by its own address', async () => {
    const answer = await fetchText(stand.hosts.client, `http://${REAL_SERVERS[0]}/`);
    assert.equal(answer, stand.hosts.webServers[0].greeting);
  });

  test('a port that is no service refuses at once', async () => {
    for (const [host, address] of [
      [stand.hosts.client, VIP],
      [stand.hosts.webServers[1].host, DIRECTOR_SERVER_SIDE],
    ] as const) {
      const began = performance.now();
      const said = await host.run(['curl', '-sS', '--max-time', '5', `http://${address}:81/`]);
      assert.equal(said.status, REFUSED_STATUS, said.stderr);
      assert.ok(performance.now() - began < AT_ONCE_MS, 'it took longer than a second');
    }
  });

  test('the VIP still serves', async () => {
    const answers = [
      await fetchText(stand.hosts.client, VIP_URL),
      await fetchText(stand.hosts.client, VIP_URL),
    ];
    const greetings = stand.hosts.webServers.map((server) => server.greeting);
    assert.deepEqual(answers.sort(), greetings);
  });
});
