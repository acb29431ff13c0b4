/**
 * The seven mistakes that are made most often when a director is set up. Each is made in a lab, so
 * that clients are not served; `xvs doctor` names its cause and a remedy; once the remedy has been
 * carried out, as it stands there, clients are served and the doctor has nothing to say.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '#xvs/control/doctor/finding';
import { Director, executable } from '#xvs/lab/director';
import { buildDrHosts, VIP as DR_VIP, type DrHosts, serverMac } from '#xvs/lab/drTopology';
import type { Namespace } from '#xvs/lab/namespace';
import { DIRECTOR_SERVER_SIDE, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { buildTunHosts, REAL_SERVERS as TUN_SERVERS, type TunHosts } from '#xvs/lab/tunTopology';
import { startWebServer } from '#xvs/lab/webServer';
import { type Stand, startNat } from '../support/director';
import { assertContent, EXIT_ERRORS, examine, findingOf, follow } from '../support/doctor';
import { whyNoNetwork } from '../support/probe';
import { mustRun } from '../support/process';

const skip = whyNoNetwork();
const SERVERS = REAL_SERVERS.map((address) => ({ address: `${address}:80`, method: 'nat' }));
const SETTLE_MS = 20_000;
/** Of a request that gets no answer. */
const PATIENCE = ['--max-time', '1'];

async function fails(client: Namespace, url: string): Promise<void> {
  const said = await client.run(['curl', '-sS', ...PATIENCE, url]);
  assert.notEqual(said.status, 0, `${url} is served: ${said.stdout}`);
}

/** Waits until it is served: what hosts found out about each other before holds for a while. */
async function served(client: Namespace, url: string): Promise<string> {
  let said = await client.run(['curl', '-sS', '--max-time', '5', url]);
  await eventually(async () => {
    if (said.status !== 0) said = await client.run(['curl', '-sS', '--max-time', '5', url]);
    return said.status === 0;
  }, SETTLE_MS);
  assert.equal(said.status, 0, `${url}: ${said.stderr}`);
  return said.stdout.trim();
}

async function mustDo(director: Director, line: string): Promise<void> {
  await follow(director, director.host, `xvsadm ${line}`);
}

describe('mistakes with NAT', { skip }, () => {
  let stand: Stand;
  const url = `http://${VIP}/`;

  before(async () => {
    stand = await startNat({ services: [{ tcp: `${VIP}:80`, scheduler: 'rr', servers: SERVERS }] });
  });
  after(() => stand?.close());

  test('nothing is wrong to begin with', async () => {
    await assertContent(stand.director);
  });

  test('it is asked from another network namespace than that of xvsd', async () => {
    const { director, hosts } = stand;
    const command = [process.execPath, executable('xvs'), 'doctor'];
    const environment = { XVS_SOCKET: director.socket };
    const said = await hosts.client.run(command, { environment });
    assert.equal(said.status, EXIT_ERRORS);
    assert.match(said.stdout, new RegExp(`do +nsenter -t ${director.pid} -n xvs doctor`));
  });

  test('the VIP is on no interface', async () => {
    const { director, hosts } = stand;
    const vip = '172.25.254.101';
    await mustDo(director, `-A -t ${vip}:80 -s rr`);
    await mustDo(director, `-a -t ${vip}:80 -r ${REAL_SERVERS[0]}:80 -m`);
    await fails(hosts.client, `http://${vip}/`);
    const diagnosis = await examine(director);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'vip-missing');
    assert.equal(finding.subject, vip);
    assert.deepEqual(finding.remedy, [`ip address add ${vip}/32 dev eth0`]);
    await follow(director, director.host, finding.remedy[0]!);
    assert.equal(await served(hosts.client, `http://${vip}/`), hosts.webServers[0].greeting);
    await assertContent(director);
    await mustDo(director, `-D -t ${vip}:80`);
  });

  test('a real server has another gateway', async () => {
    const { director, hosts } = stand;
    const [{ host: first }] = hosts.webServers;
    first.ip('route', 'delete', 'default');
    const words = ['curl', '-s', ...PATIENCE, '-o', '/dev/null', url];
    for (let request = 0; request < 2; request++) await hosts.client.run(words);
    // It waits for some seconds before it calls a connection stuck.
    let diagnosis = await examine(director);
    await eventually(async () => {
      diagnosis = await examine(director);
      return diagnosis.wrong.length > 0;
    }, SETTLE_MS);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'server-gateway');
    assert.equal(finding.subject, `${REAL_SERVERS[0]}:80 of tcp ${VIP}:80`);
    assert.match(finding.seen, /wait in SYN_RECV.*takes a connection of the director's own/);
    const line = `on ${REAL_SERVERS[0]}: ip route replace default via ${DIRECTOR_SERVER_SIDE}`;
    assert.equal(finding.remedy[0], line);
    assert.equal(diagnosis.wrong.length, 1);
    await follow(director, first, finding.remedy[0]!);
    for (let request = 0; request < 2; request++) await served(hosts.client, url);
    await assertContent(director);
  });

  test('the reverse path filter drops what the director shall serve itself', async () => {
    const { director, hosts } = stand;
    const own = `http://${VIP}:8080/`;
    const options = { port: 8080, alsoOn: [VIP] };
    await startWebServer(hosts.topology, director.host, 'director', DIRECTOR_SERVER_SIDE, options);
    await mustDo(director, `-A -t ${VIP}:8080 -s rr`);
    await mustDo(director, `-a -t ${VIP}:8080 -r ${DIRECTOR_SERVER_SIDE}:8080 -g`);
    director.host.sysctl({ 'net.ipv4.conf.all.rp_filter': 1 });
    await fails(hosts.client, own);
    const diagnosis = await examine(director);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'rp-filter');
    assert.match(finding.seen, /went back to the host, whose filter dropped [1-9]/);
    assert.equal(finding.remedy[0], 'sysctl -w net.ipv4.conf.all.rp_filter=0');
    await follow(director, director.host, finding.remedy[0]!);
    assert.match(await served(hosts.client, own), /^director/);
    await assertContent(director);
    await mustDo(director, `-D -t ${VIP}:8080`);
  });

  test('a real server does not answer ARP', async () => {
    const { director, hosts } = stand;
    const missing = '192.168.0.30';
    await mustDo(director, `-A -t ${VIP}:81 -s rr`);
    await mustDo(director, `-a -t ${VIP}:81 -r ${missing}:80 -m`);
    await fails(hosts.client, `http://${VIP}:81/`);
    const diagnosis = await examine(director);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'neighbour-unresolved');
    assert.match(finding.seen, /192\.168\.0\.30, the real server, does not answer ARP on eth1/);
    await follow(director, director.host, finding.remedy.at(-1)!);
    await assertContent(director);
    const [, { host }] = hosts.webServers;
    host.ip('address', 'add', `${missing}/24`, 'dev', 'eth0');
    await startWebServer(hosts.topology, host, 'late', missing, { port: 8080 });
    await mustDo(director, `-d -t ${VIP}:81 -r ${missing}:80`);
    await mustDo(director, `-a -t ${VIP}:81 -r ${missing}:8080 -m`);
    assert.match(await served(hosts.client, `http://${VIP}:81/`), /^late/);
  });
});

describe('mistakes with direct routing and marks', { skip }, () => {
  const url = `http://${DR_VIP}/`;
  let hosts: DrHosts;
  let director: Director;

  before(async () => {
    hosts = await buildDrHosts();
    director = new Director(hosts.topology, hosts.director, {
      interfaces: [{ name: 'eth0' }],
      marks: [`-A PREROUTING -d ${DR_VIP}/32 -p tcp -m tcp --dport 80 -j MARK --set-mark 67`],
      services: [
        {
          fwmark: 66,
          scheduler: 'rr',
          servers: REAL_SERVERS.map((address) => ({ address, method: 'dr' })),
        },
      ],
    });
  });
  after(() => hosts?.topology.close());

  test('xvsd does not run: the host is checked for its config file', async () => {
    const words = ['doctor', '--json', '--config', director.configFile];
    const said = await director.tool('xvs', words);
    assert.equal(said.status, EXIT_ERRORS, said.stderr);
    const wrong = (JSON.parse(said.stdout) as Finding[]).filter((one) => one.severity !== 'ok');
    assert.deepEqual(
      wrong.map(({ check }) => check),
      ['mark-without-rule', 'mark-without-service'],
    );
    const asked = await examine(director);
    assert.equal(asked.status, 1);
    assert.ok(findingOf(asked, 'daemon').seen.includes(director.socket));
    await director.start();
  });

  test('the mark rule sets another mark than that of the service', async () => {
    await fails(hosts.client, url);
    const diagnosis = await examine(director);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'mark-without-rule');
    assert.match(finding.seen, /no mark rule sets 66; those there are set 67/);
    assert.equal(finding.remedy.length, 2);
    for (const line of finding.remedy) await follow(director, director.host, line);
    await served(hosts.client, url);
    await assertContent(director);
  });

  test('a real server answers ARP for the VIP', async () => {
    const [{ host: first }] = hosts.webServers;
    first.sysctl({ 'net.ipv4.conf.all.arp_ignore': 0 });
    const diagnosis = await examine(director);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'vip-answered-by-server');
    assert.equal(finding.subject, DR_VIP);
    assert.ok(finding.seen.startsWith(`${REAL_SERVERS[0]} (${serverMac(1)}) answers ARP for it`));
    await follow(director, first, finding.remedy[1]!);
    await assertContent(director);
    await served(hosts.client, url);
  });
});

describe('mistakes with tunnels', { skip }, () => {
  const UPLOAD_BYTES = 200_000;
  let hosts: TunHosts;
  let director: Director;

  before(async () => {
    hosts = await buildTunHosts();
    director = new Director(hosts.topology, hosts.director, {
      interfaces: [{ name: 'eth0' }],
      services: [
        {
          tcp: `${DR_VIP}:80`,
          scheduler: 'rr',
          servers: TUN_SERVERS.map((address) => ({ address: `${address}:80`, method: 'tun' })),
        },
      ],
    });
    await director.start();
    // As behind a firewall that lets no ICMP through: the client never hears of the MTU.
    await mustRun(hosts.client, ['iptables', '-A', 'INPUT', '-p', 'icmp', '-j', 'DROP']);
  });
  after(() => hosts?.topology.close());

  const upload = ['curl', '-sS', '-o', '/dev/null', '-T', '-', `http://${DR_VIP}/files/upload`];
  const input = 'x'.repeat(UPLOAD_BYTES);

  test('the MTU has no room for the outer header', async () => {
    await served(hosts.client, `http://${DR_VIP}/`);
    const hung = await hosts.client.run([...upload, ...PATIENCE], { input });
    assert.notEqual(hung.status, 0);
    const diagnosis = await examine(director);
    assert.equal(diagnosis.status, EXIT_ERRORS);
    const finding = findingOf(diagnosis, 'tunnel-mtu');
    assert.match(finding.seen, /MTU of eth0 is 1500; ipip takes 20 bytes.* [1-9]\d* packets? were/);
    const [raise = ''] = finding.remedy;
    assert.match(raise, /^ip link set eth0 mtu 1520 {3}#/);
    const { router, switchHost, webServers } = hosts;
    // "after every hop to the real server": else one of those says that it has not the room.
    for (const { host } of webServers) await follow(director, host, raise);
    for (const port of ['router', 'web1', 'web2', 'bridge']) {
      await follow(director, switchHost, raise.replace('eth0', port));
    }
    for (const port of ['eth1', 'eth2']) {
      await follow(director, router, raise.replace('eth0', port));
    }
    await follow(director, director.host, raise);
    await mustRun(hosts.client, [...upload, '--max-time', '10', '--fail'], { input });
    await assertContent(director);
  });
});
