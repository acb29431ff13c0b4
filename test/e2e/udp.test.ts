/**
 * UDP through the VIP: datagrams of every length that fits a frame, none lost, none changed.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { ECHO_PORT, type Stand, startNat } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { mustRun } from '../support/process';

const DATAGRAMS = 10_000;
const OUTSTANDING = 32;
/** An Ethernet frame's 1500 less the IPv4 and UDP headers. */
const DATAGRAM_BYTES_MAX = 1472;

describe('udp', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat();
    const { topology, webServers } = stand.hosts;
    for (const [index, address] of REAL_SERVERS.entries()) {
      const ready = join(topology.directory, `echo${index}`);
      const script = join(__dirname, 'udpEchoServer.js');
      const command = [process.execPath, script, address, `${ECHO_PORT}`, ready];
      topology.spawn(webServers[index]!.host, command, `echo${index}.log`);
      assert.ok(await eventually(() => existsSync(ready), 5000), `no echo server on ${address}`);
    }
  });
  after(() => stand?.close());

  test(`${DATAGRAMS} datagrams of 1 to ${DATAGRAM_BYTES_MAX} bytes are all answered`, async () => {
    const words = [VIP, ECHO_PORT, DATAGRAMS, OUTSTANDING, DATAGRAM_BYTES_MAX].map(String);
    const script = join(__dirname, 'udpEchoClient.js');
    const said = await mustRun(stand.hosts.client, [process.execPath, script, ...words]);
    const expected = { sent: DATAGRAMS, answered: DATAGRAMS, late: 0, wrong: 0 };
    assert.deepEqual(JSON.parse(said), expected);
  });

  test('both real servers had their share', async () => {
    const table = await stand.director.xvsadm(['-Ln', '--stats', '-u', `${VIP}:${ECHO_PORT}`]);
    assert.equal(table.status, 0, table.stderr);
    for (const address of REAL_SERVERS) {
      const line = table.stdout.split('\n').find((row) => row.includes(`${address}:${ECHO_PORT}`));
      const connections = Number(line?.trim().split(/\s+/)[2]);
      assert.equal(connections, OUTSTANDING / REAL_SERVERS.length, table.stdout);
    }
  });
});
