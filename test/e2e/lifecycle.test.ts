/**
 * The daemon's life: check, start, reload, end by SIGTERM, end by SIGKILL; and what is left of it
 * on its host each time.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Director, WARMED_UP } from '#xvs/lab/director';
import { CLIENT_ADDRESS, REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { startWebServer } from '#xvs/lab/webServer';
import { NAT_CONFIG, type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchText, fetchTexts, mustRun } from '../support/process';

const REFUSED_STATUS = 7; // curl: could not connect
const RELOAD_TIMEOUT_MS = 20_000;
/** A start that has something left behind to wait for takes longer than that, each time. */
const START_AGAIN_MAX = 2;
const START_AGAIN_TRIES = 3;
/** From the first line of the log on. */
const INTO_WARM_UP_MS = 1000;
const STOP_MS_MAX = 3000;

/** Interfaces of the director with what is attached to them. */
async function links(stand: Stand): Promise<string[]> {
  const said = await mustRun(stand.hosts.director, ['ip', '-d', '-j', 'link', 'show']);
  const all = JSON.parse(said) as { ifname: string; xdp?: unknown; promiscuity?: number }[];
  return all.map(
    ({ ifname, xdp, promiscuity }) => `${ifname} xdp=${xdp !== undefined} ${promiscuity}`,
  );
}

const check = (director: Director) =>
  director.tool('xvsd', ['--check', '--config', director.configFile]);

describe('lifecycle', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  let withoutDaemon: string[];

  before(async () => {
    stand = await startNat({ workers: WARMED_UP });
    await startWebServer(stand.hosts.topology, stand.hosts.client, 'outside', CLIENT_ADDRESS);
    stand.hosts.client.route('192.168.0.0/24', VIP);
  });
  after(() => stand?.close());

  const greetings = () => stand.hosts.webServers.map((server) => server.greeting);

  /** The host is as if there had never been a daemon. */
  async function assertHostAsBefore(): Promise<void> {
    const { client, webServers } = stand.hosts;
    const bare = await eventually(
      async () => !(await links(stand)).some((link) => link.includes('xdp=true')),
      2000,
    );
    assert.ok(bare, 'an XDP program is still attached');
    await mustRun(client, ['ping', '-c', '1', '-W', '2', VIP]);
    assert.equal(
      await fetchText(webServers[0].host, `http://${CLIENT_ADDRESS}/`),
      `outside ${CLIENT_ADDRESS}`,
    );
    assert.equal(await fetchText(client, `http://${REAL_SERVERS[1]}/`), greetings()[1]);
    const refused = await client.run(['curl', '-sS', '--max-time', '5', VIP_URL]);
    assert.equal(refused.status, REFUSED_STATUS, 'nobody listens on the VIP now');
  }

  test('workers come before the control plane, whose collections have no helpers', () => {
    const process = `/proc/${stand.director.pid}`;
    const nices = readdirSync(`${process}/task`).flatMap((thread) => {
      const file = `${process}/task/${thread}/stat`;
      if (!existsSync(file)) return []; // It has ended meanwhile.
      const stat = readFileSync(file, 'utf8');
      // Fields are counted from behind the name (proc_pid_stat(5)): nice is the nineteenth of all.
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
    });
    const own = getPriority();
    const workers = nices.filter((nice) => nice === own);
    assert.equal(workers.length, 1, `${nices}`);
    assert.ok(nices.every((nice) => nice === own || nice === Math.min(19, own + 10)));
    const words = readFileSync(`${process}/cmdline`, 'utf8').split('\0');
    assert.ok(words.includes('--single-threaded-gc'), words.join(' '));
  });

  test('SIGTERM ends it with status 0 and takes everything along', async () => {
    assert.ok((await links(stand)).some((link) => link.includes('xdp=true')));
    assert.ok(existsSync(stand.director.socket));
    assert.equal(await stand.director.stop('SIGTERM'), 0, stand.director.log());
    assert.ok(!existsSync(stand.director.socket), 'the admin socket is still there');
    await assertHostAsBefore();
    withoutDaemon = await links(stand);
    assert.deepEqual(withoutDaemon.map((link) => link.split(' ')[0]).sort(), [
      'eth0',
      'eth1',
      'lo',
    ]);
  });

  /** Milliseconds until the daemon is ready. */
  async function timeStart(): Promise<number> {
    const began = performance.now();
    await stand.director.start();
    return performance.now() - began;
  }

  test('after kill -9 the network is as before, and a new daemon starts at once', async () => {
    const ordinaryMs = await timeStart();
    assert.deepEqual((await fetchTexts(stand.hosts.client, VIP_URL, 2)).sort(), greetings());
    assert.equal(await stand.director.stop('SIGKILL'), -1);
    await assertHostAsBefore();
    assert.deepEqual(await links(stand), withoutDaemon);
    const tries = [await timeStart()];
    // Once may be another's doing, on a machine that has more to do.
    while (tries.at(-1)! > START_AGAIN_MAX * ordinaryMs && tries.length < START_AGAIN_TRIES) {
      assert.equal(await stand.director.stop('SIGKILL'), -1);
      tries.push(await timeStart());
    }
    const said = `ready after ${tries.join(', ')} ms, without kill -9 after ${ordinaryMs} ms`;
    assert.ok(tries.at(-1)! <= START_AGAIN_MAX * ordinaryMs, said);
    assert.deepEqual((await fetchTexts(stand.hosts.client, VIP_URL, 2)).sort(), greetings());
  });

  test('SIGTERM while workers warm up ends it at once, with status 0', async () => {
    assert.equal(await stand.director.stop(), 0, stand.director.log());
    const before = stand.director.log().length;
    const said = () => stand.director.log().slice(before);
    const starting = assert.rejects(stand.director.start(), /ended with status 0/);
    const isStarting = () => said().includes('event=starting');
    assert.ok(await eventually(isStarting, RELOAD_TIMEOUT_MS), said());
    await sleep(INTO_WARM_UP_MS);
    const began = performance.now();
    assert.equal(await stand.director.stop(), 0, stand.director.log());
    const tookMs = performance.now() - began;
    await starting;
    assert.doesNotMatch(said(), /event=(ready|failed|close_failed)/);
    assert.ok(tookMs <= STOP_MS_MAX, `it took ${tookMs.toFixed(0)} ms`);
    await assertHostAsBefore();
    await stand.director.start();
  });

  test('SIGHUP takes over what changed in the config file', async () => {
    const server = { address: `${REAL_SERVERS[1]}:80`, method: 'nat', weight: 1 };
    const service = { tcp: `${VIP}:80`, scheduler: 'rr', servers: [server] };
    stand.director.configure({ ...NAT_CONFIG, workers: WARMED_UP, services: [service] });
    stand.director.reload();
    const reloaded = await eventually(async () => {
      const table = await stand.director.xvsadm(['-Ln']);
      return !table.stdout.includes(REAL_SERVERS[0]);
    }, RELOAD_TIMEOUT_MS);
    assert.ok(reloaded, stand.director.log());
    const only = greetings()[1]!;
    assert.deepEqual(await fetchTexts(stand.hosts.client, VIP_URL, 3), [only, only, only]);
  });

  test('a config file with a mistake is refused on SIGHUP, and the old one stays', async () => {
    stand.director.configure({ ...NAT_CONFIG, srevices: [] });
    stand.director.reload();
    const said = () => stand.director.log().includes('srevices');
    assert.ok(await eventually(said, RELOAD_TIMEOUT_MS), stand.director.log());
    assert.equal(await fetchText(stand.hosts.client, VIP_URL), greetings()[1]);
  });

  test('--check accepts what is right and names what is wrong', async () => {
    const { director } = stand;
    director.configure(NAT_CONFIG);
    const right = await check(director);
    assert.equal(right.status, 0, right.stderr);
    director.configure({ ...NAT_CONFIG, srevices: [] });
    const unknownKey = await check(director);
    assert.notEqual(unknownKey.status, 0);
    assert.match(unknownKey.stderr, /srevices/);
    director.configure({ ...NAT_CONFIG, workers: { mode: 'lazy' } });
    const badValue = await check(director);
    assert.notEqual(badValue.status, 0);
    assert.match(badValue.stderr, /mode.*lazy|lazy.*mode/s);
    assert.match(badValue.stderr, /adaptive/, 'what is allowed');
  });
});
