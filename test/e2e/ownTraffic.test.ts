/**
 * Services that take whole addresses (by mark, for every port, by a mark without an address) beside
 * what the real servers do on their own account through the director: TCP and UDP, to any port of
 * the outside and from there, also from and to the very ports the service forwards to.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Namespace } from '#xvs/lab/namespace';
import { CLIENT_ADDRESS, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { startWebServer } from '#xvs/lab/webServer';
import { ECHO_PORT, type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText, mustRun } from '../support/process';

const MARK = 66;
const OTHER_PORT = 8123;
const ECHO_TIMEOUT_MS = 5000;
const servers = REAL_SERVERS.map((address) => ({ address, method: 'nat' }));
const marked = { fwmark: MARK, scheduler: 'rr', servers };
const anyPort = { scheduler: 'rr', persistent: 60, servers };
const rule = (matches: string) => `-t mangle -A PREROUTING ${matches} -j MARK --set-mark ${MARK}`;

const KINDS = [
  {
    name: 'a service by mark',
    config: {
      marks: [rule(`-d ${VIP} -p tcp`), rule(`-d ${VIP} -p udp`)],
      services: [marked],
    },
  },
  {
    name: 'services for every port',
    config: {
      services: [
        { tcp: `${VIP}:0`, ...anyPort },
        { udp: `${VIP}:0`, ...anyPort },
      ],
    },
  },
  {
    name: 'a service by a mark that every packet gets',
    config: { marks: [rule('-p tcp'), rule('-p udp')], services: [marked] },
  },
] as const;

async function startEcho(stand: Stand, host: Namespace, address: string, port: number) {
  const { topology } = stand.hosts;
  const ready = join(topology.directory, `${host.name}-${port}`);
  const words = [join(__dirname, 'udpEchoServer.js'), address, `${port}`, ready];
  topology.spawn(host, [process.execPath, ...words], `${host.name}-${port}.log`);
  assert.ok(await eventually(() => existsSync(ready), ECHO_TIMEOUT_MS), `no echo on ${address}`);
}

async function ask(host: Namespace, address: string, port: number, localPort = 0): Promise<void> {
  const words = [join(__dirname, 'askUdp.js'), address, `${port}`, `${localPort}`];
  const answer = await mustRun(host, [process.execPath, ...words]);
  assert.equal(answer, `hello ${address}:${port}\n`);
}

async function fetchFrom(host: Namespace, localPort: number, url: string): Promise<string> {
  const words = ['curl', '-sSf', '--max-time', '5', '--local-port', `${localPort}`, url];
  return (await mustRun(host, words)).trim();
}

for (const { name, config } of KINDS) {
  describe(`beside ${name}`, { skip: whyNoNetwork() }, () => {
    let stand: Stand;
    before(async () => {
      stand = await startNat(config);
      const { topology, client, webServers } = stand.hosts;
      client.route('192.168.0.0/24', VIP);
      for (const port of [80, OTHER_PORT]) {
        await startWebServer(topology, client, `outside${port}`, CLIENT_ADDRESS, { port });
        await startEcho(stand, client, CLIENT_ADDRESS, port);
      }
      for (const { host, address } of webServers) {
        await startEcho(stand, host, address, ECHO_PORT);
      }
    });
    after(() => stand?.close());

    test('the service balances TCP and UDP', async () => {
      const { client, webServers } = stand.hosts;
      const greetings = webServers.map(({ greeting }) => greeting);
      assert.ok(greetings.includes(await fetchText(client, VIP_URL)));
      await ask(client, VIP, ECHO_PORT);
      const counted = await stand.director.tool('xvs', ['connections', '--count']);
      assert.match(counted.stdout, /^[2-9] connections\n$/, counted.stderr);
    });

    test('real servers reach any port outside, from any port', async () => {
      for (const { host } of stand.hosts.webServers) {
        for (const port of [80, OTHER_PORT]) {
          const url = `http://${CLIENT_ADDRESS}:${port}/`;
          const greeting = `outside${port} ${CLIENT_ADDRESS}`;
          assert.equal(await fetchText(host, url), greeting);
          // Each its own: curl does not take a port that is still in TIME_WAIT.
          assert.equal(await fetchFrom(host, port === 80 ? 443 : 993, url), greeting);
          await ask(host, CLIENT_ADDRESS, port);
          await ask(host, CLIENT_ADDRESS, port, 53);
        }
        await mustRun(host, ['ping', '-c', '2', '-i', '0.2', '-W', '2', CLIENT_ADDRESS]);
      }
    });

    test('outside and the director reach real servers by their own addresses', async () => {
      const { client, director, webServers } = stand.hosts;
      for (const { address, greeting } of webServers) {
        for (const host of [client, director]) {
          assert.equal(await fetchText(host, `http://${address}/`), greeting);
          await ask(host, address, ECHO_PORT);
        }
      }
    });

    test('a connection of a real server stays whole while its service works', async () => {
      const { client, webServers } = stand.hosts;
      const [{ host }] = webServers;
      const size = 4 * 1024 * 1024;
      const source = join(stand.hosts.topology.directory, 'outside80', 'files', 'whole');
      await mustRun(client, ['dd', 'if=/dev/zero', `of=${source}`, `bs=${size}`, 'count=1']);
      const download = mustRun(host, [
        ...['curl', '-sSf', '--max-time', '20', '--limit-rate', '4M', '-o', '/dev/null'],
        ...['-w', '%{size_download}', `http://${CLIENT_ADDRESS}/files/whole`],
      ]);
      for (let request = 0; request < 4; request++) await fetchText(client, VIP_URL);
      assert.equal(await download, `${size}`);
    });
  });
}
