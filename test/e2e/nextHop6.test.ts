/**
 * The mirror of the kernel's IPv6 next hops on a real kernel: a director namespace with two served
 * interfaces and one that is not, a peer at the other end of all. As nextHop.test.ts for IPv4.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Namespace } from '#xvs/lab/namespace';
import { commandSync, ended } from '#xvs/lab/process';
import { whyNoNetwork } from '../support/probe';
import type { Answer } from './nextHopAgent';
import { Agent } from './nextHopClient';

const PREFIX = `xvs-nh6-${process.pid}`;
const PEER_MAC = '020000770002';
const PEER_LINK_LOCAL = 'fe80::ff:fe77:2';

describe('IPv6 next hops', { skip: whyNoNetwork() }, () => {
  let director: Namespace;
  let peer: Namespace;
  let agent: Agent;

  const neighbour = (address: string, name = 'served'): string =>
    director.ip('-d', '-6', 'neighbour', 'show', 'to', address, 'dev', name).trim();
  const resolve = (address: string): Promise<Answer> => agent.ask({ ask: 'resolve', address });

  function connect(name: string, mac: string): void {
    const far = ['peer', 'name', name, 'netns', peer.name, 'address', mac];
    commandSync(['ip', '-n', director.name, 'link', 'add', name, 'type', 'veth', ...far]);
  }

  function address(namespace: Namespace, name: string, text: string): void {
    namespace.ip('-6', 'address', 'add', text, 'dev', name, 'nodad');
    namespace.ip('link', 'set', name, 'up');
  }

  before(async () => {
    director = Namespace.create(`${PREFIX}-d`);
    peer = Namespace.create(`${PREFIX}-p`);
    for (const namespace of [director, peer]) {
      namespace.sysctl({ 'net.ipv6.conf.default.accept_dad': 0 });
    }
    // A router: its advertisements say so, and the kernel's entry for it must go on saying so.
    peer.sysctl({ 'net.ipv6.conf.all.forwarding': 1 });
    connect('unserved', '02:00:00:78:00:02');
    connect('served', '02:00:00:77:00:02');
    connect('second', '02:00:00:79:00:02');
    for (const [name, net] of [
      ['served', '77'],
      ['unserved', '78'],
      ['second', '79'],
    ] as const) {
      address(director, name, `fd00:${net}::1/64`);
      address(peer, name, `fd00:${net}::2/64`);
    }
    director.sysctl({ 'net.ipv6.neigh.served.retrans_time_ms': 100 });
    director.ip('-6', 'rule', 'add', 'from', 'fd00:99::/64', 'table', '100', 'priority', '1000');
    director.ip('-6', 'route', 'add', 'fd00:90::/32', 'nexthop', 'via', 'fd00:77::2');
    agent = new Agent(director, ['served', 'second']);
    await agent.answer();
  });
  after(async () => {
    if (agent !== undefined) {
      agent.process.kill('SIGKILL');
      await ended(agent.process);
    }
    peer?.delete();
    director?.delete();
    assert.deepEqual(Namespace.names(PREFIX), []);
  });

  test('at start it knows own addresses and routes, and names what it cannot mirror', async () => {
    const state = await agent.ask({ ask: 'state' });
    const global = state.localAddresses6.filter((text) => !text.startsWith('fe80:'));
    assert.deepEqual(global, ['::1', 'fd00:77::1', 'fd00:78::1', 'fd00:79::1']);
    assert.equal(state.localAddresses6.length, 7, 'and a link-local one for each link');
    assert.deepEqual(state.logged, [
      'warn IPv6 policy rule with priority 1000 (table 100) is not mirrored: xvs follows the ' +
        'tables local and main only',
    ]);
    const hopOf = async (text: string) => (await resolve(text)).hop;
    assert.equal(await hopOf('fd00:77::1'), -2);
    assert.equal(await hopOf('::1'), -2);
    assert.equal(await hopOf(state.localAddresses6.find((text) => text.startsWith('fe80:'))!), -2);
    assert.equal(await hopOf('fd00:78::2'), -3);
    assert.equal(await hopOf('2001:db8::1'), 0);
    assert.equal(await hopOf('ff02::1'), 0, 'multicast');
  });

  test('a neighbour nobody knows is resolved by the kernel', async () => {
    assert.equal((await resolve('fd00:77::2')).hop, -1);
    const found = await agent.untilHop('fd00:77::2', (hop) => hop > 0);
    assert.equal(found.mac, PEER_MAC);
    assert.ok(found.resolvedCalls >= 1);
    assert.equal(found.source, 'fd00:77::1');
    assert.equal(found.pathMtu, 1500);
  });

  test('routes come and go, over link-local gateways too', async () => {
    const { hop } = await resolve('fd00:77::2');
    const via = ['via', PEER_LINK_LOCAL, 'dev', 'served'];
    director.ip('-6', 'route', 'add', '2001:db8::/32', ...via, 'mtu', '1380');
    const found = await agent.untilHop('2001:db8::1', (one) => one > 0);
    assert.equal(found.mac, PEER_MAC);
    assert.equal(found.pathMtu, 1380);
    assert.equal((await agent.ask({ ask: 'current', hop })).current, false);
    director.ip('-6', 'route', 'add', 'blackhole', '2001:db8:8000::/33');
    await agent.untilHop('2001:db8:8000::1', (one) => one === 0);
    director.ip('-6', 'route', 'add', '2001:db8:8000::9/128', 'via', 'fd00:79::2');
    const host = await agent.untilHop('2001:db8:8000::9', (one) => one > 0);
    assert.equal(host.mac, '020000790002');
    assert.equal(host.source, 'fd00:79::1');
    director.ip('-6', 'route', 'replace', '2001:db8::/32', 'via', 'fd00:78::2');
    await agent.untilHop('2001:db8::1', (one) => one === -3);
    director.ip('-6', 'route', 'delete', '2001:db8::/32');
    await agent.untilHop('2001:db8::1', (one) => one === 0);
    assert.ok((await resolve('2001:db8:8000::9')).hop > 0, 'which goes its own way');
  });

  test('link-local destinations are looked for on the first served interface', async () => {
    const found = await agent.untilHop(PEER_LINK_LOCAL, (hop) => hop > 0);
    assert.equal(found.mac, PEER_MAC);
    assert.match(found.source, /^fe80::/);
  });

  test('of several own addresses the source is the one that the kernel chooses', async () => {
    const source = (wanted: string, expected: string) =>
      agent.until({ ask: 'resolve', address: wanted }, (answer) => answer.source === expected);
    address(director, 'served', 'fd00:7a::1/64');
    director.ip('-6', 'route', 'add', 'default', 'via', PEER_LINK_LOCAL, 'dev', 'served');
    for (const wanted of ['fd00:77::2', 'fd00:7a::2', '2610::1', PEER_LINK_LOCAL]) {
      const route = director.ip('-6', 'route', 'get', wanted, 'oif', 'served');
      await source(wanted, /src (\S+)/.exec(route)![1]!);
    }
    // A VIP is taken where a route says so only; the kernel would take it for fd00:77::2 too.
    address(director, 'served', 'fd00:77::100/128');
    director.ip('-6', 'route', 'add', '2600::/16', 'via', 'fd00:77::2', 'src', 'fd00:77::100');
    await source('2600::1', 'fd00:77::100');
    await source('fd00:77::2', 'fd00:77::1');
    director.ip('-6', 'address', 'delete', 'fd00:77::100/128', 'dev', 'served');
    director.ip('-6', 'address', 'delete', 'fd00:7a::1/64', 'dev', 'served');
    const gone = ({ localAddresses6 }: Answer) => !localAddresses6.includes('fd00:77::100');
    await agent.until({ ask: 'state' }, gone);
    await agent.until(
      { ask: 'resolve', address: '2610::1' },
      ({ source }) => source === 'fd00:77::1',
    );
    director.ip('-6', 'route', 'delete', 'default');
    await agent.untilHop('2610::1', (hop) => hop === 0);
  });

  test('an own address that comes is told, and its route is local', async () => {
    director.ip('-6', 'address', 'add', 'fd00:77::200/128', 'dev', 'lo');
    const has = (state: Answer) => state.localAddresses6.includes('fd00:77::200');
    await agent.until({ ask: 'state' }, has);
    await agent.untilHop('fd00:77::200', (hop) => hop === -2);
    director.ip('-6', 'address', 'delete', 'fd00:77::200/128', 'dev', 'lo');
    await agent.until({ ask: 'state' }, (state) => !has(state));
    await agent.untilHop('fd00:77::200', (hop) => hop !== -2);
  });

  test('another MAC of the peer takes another slot', async () => {
    const old = await agent.untilHop('fd00:77::2', (hop) => hop > 0);
    peer.ip('link', 'set', 'served', 'down');
    peer.ip('link', 'set', 'served', 'address', '02:00:00:77:00:99');
    // A link that goes down takes IPv6 addresses along.
    address(peer, 'served', 'fd00:77::2/64');
    // Its solicitation tells the new MAC.
    const ping = ['ping', '-6', '-q', '-c', '1', '-w', '3', '-I', 'fd00:77::2', 'fd00:77::1'];
    const { status, stderr } = await peer.run(ping);
    assert.equal(status, 0, stderr);
    const moved = await agent.until(
      { ask: 'resolve', address: 'fd00:77::2' },
      (answer) => answer.mac === '020000770099',
    );
    assert.notEqual(moved.slot, old.slot);
    assert.equal((await agent.ask({ ask: 'current', hop: old.hop })).current, false);
  });

  test('a neighbour that does not answer is no next hop until it does', async () => {
    assert.equal((await resolve('fd00:77::66')).hop, -1);
    await agent.untilHop('fd00:77::66', (hop) => hop === 0);
    peer.ip('-6', 'address', 'add', 'fd00:77::66/64', 'dev', 'served', 'nodad');
    // Asked for anew each second while wanted.
    await agent.untilHop('fd00:77::66', (hop) => hop > 0);
  });

  test('a neighbour in use is kept by the kernel, and let go of at the end', async () => {
    const managed = () =>
      /managed/.test(neighbour('fd00:77::2')) && /managed/.test(neighbour('fd00:79::2', 'second'));
    await agent.untilHop('fd00:79::2', (hop) => hop > 0);
    for (let turn = 0; turn < 45 && !managed(); turn++) {
      await agent.ask({ ask: 'touch', address: 'fd00:77::2' });
      await agent.ask({ ask: 'touch', address: 'fd00:79::2' });
      await new Promise((ready) => setTimeout(ready, 100));
    }
    assert.match(neighbour('fd00:77::2'), /managed/);
    assert.match(neighbour('fd00:79::2', 'second'), /router.* managed|managed.* router/);
    director.ip('link', 'set', 'second', 'down');
    await agent.untilHop('fd00:79::2', (hop) => hop === 0);
    const last = await agent.ask({ ask: 'stop' });
    assert.deepEqual(
      Object.entries(last.handles).filter(([, count]) => count !== 0),
      [],
    );
    assert.equal(await ended(agent.process), 0, agent.stderr);
    assert.match(neighbour('fd00:77::2'), /02:00:00:77:00:99/);
    assert.doesNotMatch(neighbour('fd00:77::2'), /managed/);
  });
});
