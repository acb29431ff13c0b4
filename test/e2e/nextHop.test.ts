/**
 * The mirror of the kernel's next hops on a real kernel: a director namespace with a served and
 * an unserved interface, a peer at the other end of both.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Namespace } from '#xvs/lab/namespace';
import { commandSync, ended } from '#xvs/lab/process';
import { whyNoNetwork } from '../support/probe';
import type { Answer } from './nextHopAgent';
import { Agent } from './nextHopClient';

const PREFIX = `xvs-nh-${process.pid}`;
/** More notifications than a receive buffer holds. */
const ROUTES_MANY = 15_000;
const PEER_MAC = '020000770002';

describe('next hops', { skip: whyNoNetwork() }, () => {
  let director: Namespace;
  let peer: Namespace;
  let agent: Agent;

  const neighbour = (address: string): string =>
    director.ip('-d', 'neighbour', 'show', 'to', address, 'dev', 'served').trim();

  function connect(name: string, mac: string): void {
    const far = ['peer', 'name', name, 'netns', peer.name, 'address', mac];
    commandSync(['ip', '-n', director.name, 'link', 'add', name, 'type', 'veth', ...far]);
  }

  before(async () => {
    director = Namespace.create(`${PREFIX}-d`);
    peer = Namespace.create(`${PREFIX}-p`);
    peer.sysctl({ 'net.ipv4.conf.all.arp_notify': 1, 'net.ipv4.conf.default.arp_notify': 1 });
    connect('served', '02:00:00:77:00:02');
    connect('unserved', '02:00:00:78:00:02');
    director.address('served', '10.77.0.1/24');
    director.address('unserved', '10.78.0.1/24');
    peer.address('served', '10.77.0.2/24');
    peer.address('unserved', '10.78.0.2/24');
    director.sysctl({ 'net.ipv4.neigh.served.retrans_time_ms': 100 });
    director.ip('rule', 'add', 'from', '10.1.0.0/16', 'table', '100', 'priority', '1000');
    director.ip('route', 'add', '10.90.0.0/16', 'nexthop', 'via', '10.77.0.2');
    agent = new Agent(director, ['served', 'missing']);
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

  test('at start it knows links, addresses, routes, and names what it cannot mirror', async () => {
    const state = await agent.ask({ ask: 'state' });
    assert.deepEqual(state.localAddresses, ['10.77.0.1', '10.78.0.1', '127.0.0.1']);
    assert.deepEqual(state.linkUp, [1, 0]);
    assert.deepEqual(state.mtu, [1500, 0]);
    assert.deepEqual(state.logged, [
      'warn policy rule with priority 1000 (table 100) is not mirrored: xvs follows the tables ' +
        'local, main and default only',
      'warn interface missing: there is none of that name now',
    ]);
    assert.equal((await agent.resolve('10.77.0.1')).hop, -2);
    assert.equal((await agent.resolve('127.1.2.3')).hop, -2);
    assert.equal((await agent.resolve('10.78.0.2')).hop, -3);
    assert.equal((await agent.resolve('203.0.113.1')).hop, 0);
  });

  test('a neighbour nobody knows is resolved by the kernel', async () => {
    assert.equal((await agent.resolve('10.77.0.2')).hop, -1);
    const found = await agent.untilHop('10.77.0.2', (hop) => hop > 0);
    assert.equal(found.mac, PEER_MAC);
    assert.ok(found.resolvedCalls >= 1);
  });

  test('routes come and go', async () => {
    const { hop } = await agent.resolve('10.77.0.2');
    director.route('203.0.113.0/24', '10.77.0.2');
    const found = await agent.untilHop('203.0.113.1', (one) => one > 0);
    assert.equal(found.mac, PEER_MAC);
    assert.equal((await agent.ask({ ask: 'current', hop: hop })).current, false);
    director.ip('route', 'add', 'blackhole', '203.0.113.128/25');
    await agent.untilHop('203.0.113.200', (one) => one === 0);
    assert.ok((await agent.resolve('203.0.113.1')).hop > 0);
    director.ip('route', 'replace', '203.0.113.0/24', 'via', '10.78.0.2');
    await agent.untilHop('203.0.113.1', (one) => one === -3);
    director.ip('route', 'delete', '203.0.113.0/24');
    await agent.untilHop('203.0.113.1', (one) => one === 0);
  });

  test('a route has its own source and MTU; else the gateway’s network has', async () => {
    const ask = (address: string): Promise<Answer> => agent.ask({ ask: 'resolve', address });
    assert.equal((await ask('10.77.0.2')).source, '10.77.0.1');
    assert.equal((await ask('10.77.0.2')).pathMtu, 1500);
    director.ip('address', 'add', '10.79.0.1/24', 'dev', 'served');
    director.ip('route', 'add', '198.51.100.0/25', 'via', '10.79.0.2');
    const other = ['via', '10.77.0.2', 'src', '10.79.0.1', 'mtu', '1280'];
    director.ip('route', 'add', '198.51.100.128/25', ...other);
    const found = await agent.until(
      { ask: 'resolve', address: '198.51.100.129' },
      ({ pathMtu }) => pathMtu === 1280,
    );
    assert.equal(found.source, '10.79.0.1');
    // As the kernel answers `ip route get`.
    assert.equal((await ask('198.51.100.1')).source, '10.79.0.1');
    assert.match(director.ip('route', 'get', '198.51.100.1'), /src 10\.79\.0\.1/);
    director.ip('route', 'delete', '198.51.100.0/25');
    director.ip('route', 'delete', '198.51.100.128/25');
    director.ip('address', 'delete', '10.79.0.1/24', 'dev', 'served');
    await agent.until({ ask: 'resolve', address: '198.51.100.1' }, ({ pathMtu }) => pathMtu === 0);
  });

  test('own addresses come and go, with the routes the kernel drops in silence', async () => {
    director.ip('address', 'add', '172.25.254.100/24', 'dev', 'served');
    const has = (state: Answer) => state.localAddresses.includes('172.25.254.100');
    await agent.until({ ask: 'state' }, has);
    await agent.untilHop('172.25.254.100', (hop) => hop === -2);
    director.ip('route', 'add', '198.51.100.0/24', 'via', '10.77.0.2', 'src', '172.25.254.100');
    await agent.untilHop('198.51.100.1', (hop) => hop > 0);
    director.ip('address', 'delete', '172.25.254.100/24', 'dev', 'served');
    await agent.until({ ask: 'state' }, (state) => !has(state));
    await agent.untilHop('198.51.100.1', (hop) => hop === 0);
  });

  test('another MAC of the peer takes another slot', async () => {
    const old = await agent.untilHop('10.77.0.2', (hop) => hop > 0);
    peer.ip('link', 'set', 'served', 'address', '02:00:00:77:00:99');
    const moved = await agent.until(
      { ask: 'resolve', address: '10.77.0.2' },
      (answer) => answer.mac === '020000770099',
    );
    assert.notEqual(moved.slot, old.slot);
    assert.equal((await agent.ask({ ask: 'current', hop: old.hop })).current, false);
    assert.equal((await agent.ask({ ask: 'current', hop: old.hop })).mac, PEER_MAC);
  });

  test('a neighbour that does not answer is no next hop until it does', async () => {
    assert.equal((await agent.resolve('10.77.0.66')).hop, -1);
    await agent.untilHop('10.77.0.66', (hop) => hop === 0, 2000);
    peer.ip('address', 'add', '10.77.0.66/24', 'dev', 'served');
    // Asked for anew each second while wanted.
    await agent.untilHop('10.77.0.66', (hop) => hop > 0, 3000);
  });

  test('a neighbour in use is kept by the kernel, a permanent one stays as it is', async () => {
    const mac = ['lladdr', '02:00:00:77:00:07', 'nud', 'permanent'];
    director.ip('neighbour', 'add', '10.77.0.7', 'dev', 'served', ...mac);
    const fixed = await agent.untilHop('10.77.0.7', (hop) => hop > 0);
    assert.equal(fixed.mac, '020000770007');
    for (let turn = 0; turn < 45 && !/managed/.test(neighbour('10.77.0.2')); turn++) {
      await agent.ask({ ask: 'touch', address: '10.77.0.2' });
      await agent.ask({ ask: 'touch', address: '10.77.0.7' });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.match(neighbour('10.77.0.2'), /managed/);
    assert.match(neighbour('10.77.0.7'), /PERMANENT/);
  });

  test('a neighbour that is deleted is asked for again', async () => {
    const { hop } = await agent.untilHop('10.77.0.66', (one) => one > 0);
    director.ip('neighbour', 'delete', '10.77.0.66', 'dev', 'served');
    const gone = { ask: 'current', hop: hop } as const;
    await agent.until(gone, ({ current }) => !current);
    await agent.untilHop('10.77.0.66', (one) => one > 0);
  });

  test('more notifications than fit are made good by reading everything anew', async () => {
    const { routes } = await agent.ask({ ask: 'state' });
    agent.process.kill('SIGSTOP');
    const batch: string[] = [];
    for (let route = 0; route < ROUTES_MANY; route++) {
      batch.push(`route add 100.64.${route >> 8}.${route & 255}/32 via 10.77.0.2`);
    }
    try {
      const done = await director.run(['ip', '-batch', '-'], { input: batch.join('\n') });
      assert.equal(done.status, 0, done.stderr);
    } finally {
      agent.process.kill('SIGCONT');
    }
    const state = await agent.until(
      { ask: 'state' },
      (one) => one.routes === routes + ROUTES_MANY,
      3000,
    );
    assert.ok(state.overruns >= 1, 'the batch was too small to overrun the socket');
    assert.ok((await agent.resolve('100.64.58.151')).hop > 0);
    director.ip('route', 'flush', 'root', '100.64.0.0/10');
    await agent.until({ ask: 'state' }, (one) => one.routes === routes, 3000);
  });

  test('a link that goes down takes its routes along, and brings them back', async () => {
    director.ip('link', 'set', 'served', 'down');
    const state = await agent.until({ ask: 'state' }, ({ linkUp }) => linkUp[0] === 0);
    assert.deepEqual(state.linkUp, [0, 0]);
    await agent.untilHop('10.77.0.2', (hop) => hop === 0);
    director.ip('link', 'set', 'served', 'up', 'mtu', '1400');
    await agent.until({ ask: 'state' }, ({ linkUp, mtu }) => linkUp[0] === 1 && mtu[0] === 1400);
    await agent.untilHop('10.77.0.2', (hop) => hop > 0, 2000);
  });

  test('an interface made anew under its name is served again', async () => {
    director.ip('link', 'delete', 'served');
    await agent.untilHop('10.77.0.2', (hop) => hop === 0);
    connect('served', '02:00:00:77:00:55');
    director.address('served', '10.77.0.1/24');
    peer.address('served', '10.77.0.2/24');
    const found = await agent.untilHop('10.77.0.2', (hop) => hop > 0, 3000);
    assert.equal(found.mac, '020000770055');
  });

  test('stop gives the kernel its neighbours back and closes everything', async () => {
    for (let turn = 0; turn < 45 && !/managed/.test(neighbour('10.77.0.2')); turn++) {
      await agent.ask({ ask: 'touch', address: '10.77.0.2' });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.match(neighbour('10.77.0.2'), /managed/);
    const last = await agent.ask({ ask: 'stop' });
    assert.deepEqual(
      Object.entries(last.handles).filter(([, count]) => count !== 0),
      [],
    );
    assert.equal(await ended(agent.process), 0, agent.stderr);
    assert.match(neighbour('10.77.0.2'), /02:00:00:77:00:55/);
    assert.doesNotMatch(neighbour('10.77.0.2'), /managed/);
  });
});
