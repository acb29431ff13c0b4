/**
 * Much data over one connection through the VIP, and many connections at once, all hosts with
 * their default offloads: large writes, unfinished checksums, delayed acknowledgements.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, linkSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WARMED_UP } from '#xvs/lab/director';
import { type Stand, startNat, sumOf, VIP_URL } from '../support/director';
import { RANDOM_FILE_BYTES, writeRandomFile } from '../support/file';
import { whyNoNetwork } from '../support/probe';
import { mustRun } from '../support/process';

const TRANSFER_SECONDS_MAX = 60;
const WRK_CONNECTIONS = 200;
const WRK_SECONDS = 10;

describe('transfer', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  let original: string;
  let sha256: string;

  before(async () => {
    stand = await startNat({ workers: WARMED_UP });
    original = join(stand.hosts.topology.directory, 'random');
    sha256 = writeRandomFile(original);
    for (const server of stand.hosts.webServers) linkSync(original, join(server.files, 'random'));
  });
  after(() => stand?.close());

  test('a download of 200 MB arrives as it was sent', async () => {
    const url = `${VIP_URL}files/random`;
    const script = `curl -sSf --max-time ${TRANSFER_SECONDS_MAX} ${url} | sha256sum`;
    const said = await mustRun(stand.hosts.client, ['bash', '-o', 'pipefail', '-c', script]);
    assert.equal(said.split(' ')[0], sha256);
  });

  test('an upload of 200 MB arrives as it was sent', async () => {
    const words = ['-sSf', '--max-time', `${TRANSFER_SECONDS_MAX}`, '-T', original];
    await mustRun(stand.hosts.client, ['curl', ...words, `${VIP_URL}files/upload`]);
    const copies = stand.hosts.webServers
      .map((server) => join(server.files, 'upload'))
      .filter((path) => existsSync(path));
    assert.equal(copies.length, 1);
    assert.equal(createHash('sha256').update(readFileSync(copies[0]!)).digest('hex'), sha256);
  });

  test('both went through the workers', async () => {
    const metrics = await stand.director.metrics();
    assert.ok(sumOf(metrics, 'xvs_service_out_bytes_total') >= RANDOM_FILE_BYTES);
    assert.ok(sumOf(metrics, 'xvs_service_in_bytes_total') >= RANDOM_FILE_BYTES);
  });

  test(`wrk with ${WRK_CONNECTIONS} connections has no failed request`, async () => {
    const words = ['-t', '2', '-c', `${WRK_CONNECTIONS}`, '-d', `${WRK_SECONDS}s`];
    const said = await mustRun(stand.hosts.client, ['wrk', ...words, VIP_URL]);
    const requests = Number(/(\d+) requests in/.exec(said)?.[1] ?? 0);
    assert.ok(requests >= WRK_CONNECTIONS, said);
    assert.doesNotMatch(said, /Socket errors|Non-2xx/, said);
  });
});
