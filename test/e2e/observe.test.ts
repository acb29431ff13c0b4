/**
 * What an operator sees of a running director: the exporter, how fast `xvsadm -Ln` answers, and the
 * log with its audit.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { executable, METRICS_ADDRESS } from '#xvs/lab/director';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { eventually } from '#xvs/lab/process';
import { AS_NOBODY, NOBODY } from '../support/asNobody';
import { NAT_CONFIG, type Stand, samplesOf, startNat, sumOf, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts, mustRun } from '../support/process';

const REQUESTS = 10;
const LISTINGS = 10;
/** Beside a Node that does nothing: what a tool loads and asks may not outweigh its start. */
const BARE_STARTS_MAX = 2;
const RELOAD_TIMEOUT_MS = 20_000;

describe('observe', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat();
    await fetchTexts(stand.hosts.client, VIP_URL, REQUESTS);
  });
  after(() => stand?.close());

  test(`xvsadm -Ln takes less than ${BARE_STARTS_MAX} bare starts of Node`, async () => {
    const { director } = stand;
    const best = { bare: Number.POSITIVE_INFINITY, listing: Number.POSITIVE_INFINITY };
    const time = async (what: keyof typeof best, work: () => Promise<unknown>): Promise<void> => {
      const began = performance.now();
      await work();
      best[what] = Math.min(best[what], performance.now() - began);
    };
    for (let round = 0; round < LISTINGS; round++) {
      await time('bare', () => mustRun(director.host, [process.execPath, '-e', '']));
      await time('listing', async () => {
        const table = await director.xvsadm(['-Ln']);
        assert.equal(table.status, 0, table.stderr);
        for (const address of REAL_SERVERS) assert.ok(table.stdout.includes(`-> ${address}:80 `));
      });
    }
    const { bare, listing } = best;
    const said = `best of ${LISTINGS}: ${listing.toFixed(0)} ms, bare ${bare.toFixed(0)} ms`;
    assert.ok(listing < BARE_STARTS_MAX * bare, said);
  });

  test('xvsadm --stats counts the connections of both real servers', async () => {
    const table = await stand.director.xvsadm(['-Ln', '--stats', '-t', `${VIP}:80`]);
    assert.equal(table.status, 0, table.stderr);
    for (const name of [`${VIP}:80`, ...REAL_SERVERS.map((address) => `${address}:80`)]) {
      const line = table.stdout.split('\n').find((row) => row.includes(` ${name} `));
      const [connections, inPackets, outPackets] = line!.split(name)[1]!.trim().split(/\s+/);
      assert.equal(Number(connections), name.startsWith(VIP) ? REQUESTS : REQUESTS / 2, line);
      assert.ok(Number.parseInt(inPackets!, 10) >= 4 * Number(connections), line);
      assert.ok(Number.parseInt(outPackets!, 10) >= 3 * Number(connections), line);
    }
  });

  test('the exporter and its health pages answer', async () => {
    for (const page of ['metrics', 'healthz', 'readyz']) {
      const words = ['-sSf', '--max-time', '2', `http://${METRICS_ADDRESS}/${page}`];
      await mustRun(stand.hosts.director, ['curl', ...words]);
    }
  });

  test('the exporter counts what passed', async () => {
    const metrics = await stand.director.metrics();
    assert.equal(sumOf(metrics, 'xvs_service_connections_total'), REQUESTS);
    assert.equal(sumOf(metrics, 'xvs_worker_connections_created_total'), REQUESTS);
    for (const side of ['service', 'real_server']) {
      // A request takes four packets of the client at least, and three of the server.
      assert.ok(sumOf(metrics, `xvs_${side}_in_packets_total`) >= 4 * REQUESTS);
      assert.ok(sumOf(metrics, `xvs_${side}_out_packets_total`) >= 3 * REQUESTS);
      assert.ok(sumOf(metrics, `xvs_${side}_in_bytes_total`) >= 4 * REQUESTS * 40);
      assert.ok(sumOf(metrics, `xvs_${side}_out_bytes_total`) >= 3 * REQUESTS * 40);
    }
    const perServer = samplesOf(metrics, 'xvs_real_server_connections_total')
      .filter(({ labels }) => labels['server']?.endsWith(':80'))
      .map(({ value }) => value);
    assert.deepEqual(perServer, [REQUESTS / 2, REQUESTS / 2]);
  });

  test('the exporter shows the state of connections, rings, memory and workers', async () => {
    const metrics = await stand.director.metrics();
    const live = sumOf(metrics, 'xvs_real_server_current_connections');
    const entries = samplesOf(metrics, 'xvs_table_entries');
    assert.equal(live, entries.find(({ labels }) => labels['table'] === 'connections')?.value);
    assert.equal(live, REQUESTS);
    const queues = samplesOf(metrics, 'xvs_socket_rx_frames_total').map(({ labels }) => labels);
    assert.deepEqual(queues, [
      { worker: '0', interface: 'eth0', queue: '0' },
      { worker: '0', interface: 'eth1', queue: '0' },
    ]);
    for (const ring of ['rx', 'tx', 'fill', 'completion']) {
      assert.equal(samplesOf(metrics, `xvs_socket_${ring}_ring_level`).length, queues.length);
    }
    assert.ok(sumOf(metrics, 'xvs_worker_umem_free_chunks') > 0);
    const busy = sumOf(metrics, 'xvs_worker_busy_seconds_total');
    assert.ok(busy > 0 && busy <= sumOf(metrics, 'xvs_worker_seconds_total'));
    assert.equal(sumOf(metrics, 'xvs_drops_total'), 0, 'nothing was dropped');
  });

  test('the log says who changed what, another user too, and what was refused', async () => {
    const { director, hosts } = stand;
    const service = ['-t', `${VIP}:81`];
    assert.equal((await director.xvsadm(['-A', ...service, '-s', 'rr'])).status, 0);
    assert.notEqual((await director.xvsadm(['-A', ...service, '-s', 'rr'])).status, 0);
    // Whoever is in the socket's group may ask.
    chmodSync(hosts.topology.directory, 0o711);
    chownSync(director.socket, 0, NOBODY);
    const words = [executable('xvsadm'), '--socket', director.socket, '-D', ...service];
    await mustRun(hosts.director, [...AS_NOBODY, process.execPath, ...words]);
    const change = `xvsadm -A -t ${VIP}:81 -s rr`;
    const said = director
      .log()
      .split('\n')
      .filter((line) => line.includes(' event=audit '));
    const wanted = [
      `root (uid 0, gid 0, pid N xvsadm): ${change}: ok`,
      `root (uid 0, gid 0, pid N xvsadm): ${change}: refused, ERR_SERVICE_EXISTS: ` +
        `service tcp ${VIP}:81 exists already`,
      `nobody (uid ${NOBODY}, gid ${NOBODY}, pid N xvsadm): xvsadm -D -t ${VIP}:81: ok`,
    ];
    assert.deepEqual(
      said.map((line) => line.replace(/^.* event=audit /, '').replace(/pid \d+/, 'pid N')),
      wanted,
    );
    const metrics = await director.metrics();
    assert.ok(sumOf(metrics, 'xvs_log_messages_total') >= wanted.length);
    assert.equal(sumOf(metrics, 'xvs_log_lost_total'), 0);
  });

  test("a reload takes over the log's settings; a link that goes down is told of", async () => {
    const { director, hosts } = stand;
    const before = director.log().length;
    director.configure({ ...NAT_CONFIG, log: { level: 'warn', format: 'json' } });
    director.reload();
    const lines = (): Record<string, unknown>[] =>
      director
        .log()
        .slice(before)
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const has = (event: string) => () => lines().some((line) => line['event'] === event);
    assert.ok(await eventually(has('audit'), RELOAD_TIMEOUT_MS), director.log());
    const { source, result } = lines()[0]!;
    assert.deepEqual([source, result], ['SIGHUP', 'ok']);
    hosts.director.ip('link', 'set', 'eth1', 'down');
    assert.ok(await eventually(has('link_down'), RELOAD_TIMEOUT_MS), director.log());
    hosts.director.ip('link', 'set', 'eth1', 'up');
    const down = lines().find((line) => line['event'] === 'link_down')!;
    assert.deepEqual([down['level'], down['interface']], ['warn', 'eth1']);
    assert.equal(await director.stop(), 0, 'its last words are no warnings');
    const levels = lines().map((line) => `${line['level']} ${line['event']}`);
    assert.ok(!levels.includes('info stopped'), levels.join());
  });
});
