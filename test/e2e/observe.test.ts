/**
 * What an operator sees of a running director: the exporter, and how fast `xvsadm -Ln` answers.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { METRICS_ADDRESS } from '#xvs/lab/director';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { type Stand, samplesOf, startNat, sumOf, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts, mustRun } from '../support/process';

const REQUESTS = 10;
const LISTINGS = 10;
const LISTING_MS_MAX = 500;

describe('observe', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat();
    await fetchTexts(stand.hosts.client, VIP_URL, REQUESTS);
  });
  after(() => stand?.close());

  test(`xvsadm -Ln answers within ${LISTING_MS_MAX} ms, start of Node included`, async () => {
    let best = Number.POSITIVE_INFINITY;
    for (let listing = 0; listing < LISTINGS; listing++) {
      const began = performance.now();
      const table = await stand.director.xvsadm(['-Ln']);
      best = Math.min(best, performance.now() - began);
      assert.equal(table.status, 0, table.stderr);
      for (const address of REAL_SERVERS) assert.ok(table.stdout.includes(`-> ${address}:80 `));
    }
    assert.ok(best <= LISTING_MS_MAX, `the best of ${LISTINGS} took ${best.toFixed(0)} ms`);
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
    const live =
      sumOf(metrics, 'xvs_real_server_active_connections') +
      sumOf(metrics, 'xvs_real_server_inactive_connections');
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
});
