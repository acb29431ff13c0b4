/**
 * Sysctls of a running daemon: from its config file, by `xvs sysctl`, by a reload; and what two of
 * them do to real connections.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { NAT_CONFIG, type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText } from '../support/process';

const RELOAD_MS = 5000;
const DEFENSE_MS = 4000;

describe('sysctls', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat({ sysctl: { expire_nodest_conn: 1 } });
  });
  after(() => stand?.close());

  async function sysctl(...words: string[]): Promise<string> {
    const said = await stand.director.tool('xvs', ['sysctl', ...words]);
    assert.equal(said.status, 0, said.stderr);
    return said.stdout;
  }
  async function rows(): Promise<string[]> {
    const { stdout } = await stand.director.xvsadm(['-Lnc']);
    return stdout.trimEnd().split('\n').slice(2);
  }

  test('the config file’s hold, and can be changed', async () => {
    assert.equal(await sysctl('expire_nodest_conn'), 'expire_nodest_conn = 1\n');
    assert.equal(await sysctl('net.ipv4.vs.am_droprate=5'), 'am_droprate = 5\n');
  });

  test('a removed server’s connections go within seconds', async () => {
    for (let i = 0; i < 4; i++) await fetchText(stand.hosts.client, VIP_URL);
    assert.equal((await rows()).length, 4);
    const [first] = REAL_SERVERS;
    const words = ['-d', '-t', `${VIP}:80`, '-r', `${first}:80`];
    assert.equal((await stand.director.xvsadm(words)).status, 0);
    const isGone = async () => !(await rows()).some((row) => row.includes(`${first}:80`));
    assert.ok(await eventually(isGone, DEFENSE_MS));
    assert.equal((await rows()).length, 2);
  });

  test('drop_packet drops what would begin a connection', async () => {
    await sysctl('drop_packet=3', 'am_droprate=1');
    const words = ['curl', '-sS', '--max-time', '2', VIP_URL];
    assert.equal((await stand.hosts.client.run(words)).status, 28);
    await sysctl('drop_packet=0');
    await fetchText(stand.hosts.client, VIP_URL);
  });

  test('a reload takes the file’s, and the default of what it does not name', async () => {
    stand.director.configure({ ...NAT_CONFIG, sysctl: { conn_reuse_mode: 3 } });
    stand.director.reload();
    const isTaken = async () => (await sysctl('conn_reuse_mode')) === 'conn_reuse_mode = 3\n';
    assert.ok(await eventually(isTaken, RELOAD_MS));
    const listed = await sysctl('expire_nodest_conn', 'am_droprate');
    assert.equal(listed, 'am_droprate = 10\nexpire_nodest_conn = 0\n');
  });
});
