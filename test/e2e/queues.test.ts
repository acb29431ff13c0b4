/**
 * Two queues on both interfaces: replies come in on whatever queue the interface chooses, often
 * another worker's than the one that made the connection.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WARMED_UP } from '#xvs/lab/director';
import { type Stand, samplesOf, startNat, sumOf, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts, mustRun } from '../support/process';

const QUEUES = 2;
const REQUESTS = 20;
const WRK = ['wrk', '-t', '1', '-c', '256', '-d', '3s'];

/** Load with many client ports, so that both queues get flows. */
async function load(stand: Stand): Promise<void> {
  const said = await mustRun(stand.hosts.client, [...WRK, VIP_URL]);
  assert.doesNotMatch(said, /Socket errors|Non-2xx/, said);
  const answers = await fetchTexts(stand.hosts.client, VIP_URL, REQUESTS);
  for (const { greeting } of stand.hosts.webServers) {
    assert.equal(answers.filter((answer) => answer === greeting).length, REQUESTS / 2);
  }
}

describe('two queues, two workers', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat({ workers: { ...WARMED_UP, count: 2 } }, { queues: QUEUES });
  });
  after(() => stand?.close());

  test('a quarter of the replies and more is handled by the other worker', async () => {
    await load(stand);
    const metrics = await stand.director.metrics();
    const foreign = samplesOf(metrics, 'xvs_worker_foreign_packets_total');
    assert.equal(foreign.length, QUEUES, 'one sample for each worker');
    const replies = sumOf(metrics, 'xvs_service_out_packets_total');
    const share = sumOf(metrics, 'xvs_worker_foreign_packets_total') / replies;
    assert.ok(share >= 0.25, `${share} of ${replies} replies were handled by the other worker`);
  });
});

describe('two queues, one worker', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat({ workers: { count: 1 } }, { queues: QUEUES });
  });
  after(() => stand?.close());

  test('the worker serves both', async () => {
    await load(stand);
    const metrics = await stand.director.metrics();
    assert.equal(samplesOf(metrics, 'xvs_worker_foreign_packets_total').length, 1);
    assert.equal(sumOf(metrics, 'xvs_worker_foreign_packets_total'), 0);
  });
});
