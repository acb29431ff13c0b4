/**
 * A mark rule that is taken away ends no connection it has brought about: netfilter marks only what
 * it sees, but IPVS finds a connection without a mark, and so do we.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { REAL_SERVERS, VIP } from '#xvs/lab/natTopology';
import { type Stand, samplesOf, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';

const MARK = 66;
const RULE = `-t mangle -D PREROUTING -d ${VIP} -p tcp --dport 80 -j MARK --set-mark ${MARK}`;
const FILE_BYTES = 6 << 20;
/** So that the transfer takes three seconds. */
const BYTES_PER_SECOND = 2 << 20;

describe('a mark rule that is removed', { skip: whyNoNetwork() }, () => {
  let stand: Stand;

  before(async () => {
    stand = await startNat({
      marks: [RULE.replace('-D', '-A')],
      services: [
        {
          fwmark: MARK,
          scheduler: 'rr',
          servers: REAL_SERVERS.map((address) => ({ address, method: 'nat' })),
        },
      ],
    });
    for (const { files } of stand.hosts.webServers) {
      writeFileSync(join(files, 'large'), Buffer.alloc(FILE_BYTES, 'x'));
    }
  });
  after(() => stand?.close());

  test('leaves a transfer alone that it has brought about, and begins no other', async () => {
    const { client } = stand.hosts;
    const words = ['curl', '-sS', '--max-time', '20', '-o', '/dev/null', '-w', '%{size_download}'];
    const limit = ['--limit-rate', String(BYTES_PER_SECOND)];
    const transfer = client.run([...words, ...limit, `${VIP_URL}files/large`]);
    await new Promise((resolve) => setTimeout(resolve, 800));
    const removed = await stand.director.tool('xvs', ['mark', ...RULE.split(' ')]);
    assert.equal(removed.status, 0, removed.stderr);
    const refused = await client.run(['curl', '-sS', '--max-time', '5', VIP_URL]);
    assert.equal(refused.status, 7, 'the host itself answers');
    const { status, stdout, stderr } = await transfer;
    assert.equal(status, 0, stderr);
    assert.equal(Number(stdout), FILE_BYTES);
    const verdicts = samplesOf(await stand.director.metrics(), 'xvs_xdp_verdicts_total');
    const seen = verdicts.find(({ labels }) => labels['verdict'] === 'redirect_removed_mark');
    assert.ok((seen?.value ?? 0) > 0, 'packets of the transfer came by the removed rule');
  });
});
