/**
 * Path MTU discovery through the director, end to end: transfers over paths that are narrower
 * somewhere than at either end, with real routers that say so, and what the ends learn from them.
 */
import assert from 'node:assert/strict';
import { createHash, randomFillSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { sumOf } from './director';
import { FAMILIES, type Family, type Method } from './matrix';
import { CLOSED_PORT, type NarrowPath, startNarrowPath } from './narrowPath';
import { whyNoNetwork } from './probe';
import { mustRun } from './process';

const FILE_BYTES = 16 * 1024 * 1024;
const SECONDS_MAX = 30;
const WIDE = 1500;
const NARROW = 1400;
/** Outer header of ipip, both headers of the same family. */
const OVERHEAD: Readonly<Record<Family, number>> = { 4: 20, 6: 40 };

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function testMethod(method: Method, family: Family): void {
  let path: NarrowPath;
  let content: Buffer;
  let original: string;

  before(async () => {
    path = await startNarrowPath(method, family);
    content = randomFillSync(Buffer.alloc(FILE_BYTES));
    original = join(path.topology.directory, 'random');
    writeFileSync(original, content);
    writeFileSync(join(path.server.files, 'random'), content);
  });
  after(() => path?.close());

  async function download(): Promise<void> {
    const to = join(path.topology.directory, 'downloaded');
    const words = ['-gsSf', '--max-time', `${SECONDS_MAX}`, '-o', to];
    await mustRun(path.client, ['curl', ...words, `${path.url}files/random`]);
    assert.equal(sha256(readFileSync(to)), sha256(content));
  }

  async function upload(): Promise<void> {
    const words = ['-gsSf', '--max-time', `${SECONDS_MAX}`, '-T', original];
    await mustRun(path.client, ['curl', ...words, `${path.url}files/uploaded`]);
    assert.equal(sha256(readFileSync(join(path.server.files, 'uploaded'))), sha256(content));
  }

  // A tunnel's answers pass the director, and its path, by.
  if (method !== 'tunnel') {
    test('narrow in front: the server learns it, of a router that knows the VIP', async () => {
      path.narrow('front', NARROW);
      assert.equal(path.learned(path.server.host, path.peer), 0);
      await download();
      assert.equal(path.learned(path.server.host, path.peer), NARROW);
      await upload();
      path.narrow('front', WIDE);
    });
  }

  if (method !== 'dr') {
    test('narrow behind: the client learns it of the VIP', async () => {
      // What the server knows by now it would tell the client in its MSS.
      for (const host of [path.client, path.server.host]) {
        host.ip(`-${family}`, 'route', 'flush', 'cache');
      }
      assert.equal(path.learned(path.server.host, path.peer), 0);
      path.narrow('behind', NARROW);
      assert.equal(path.learned(path.client, path.vip), 0);
      await upload();
      const overhead = method === 'tunnel' ? OVERHEAD[family] : 0;
      assert.equal(path.learned(path.client, path.vip), NARROW - overhead);
      await download();
    });
  }

  if (method === 'nat' || method === 'fullnat') {
    test('the client hears of a port on which nobody listens', async () => {
      const script = join(__dirname, '..', 'e2e', 'refusedUdp.js');
      const words = [process.execPath, script, path.vip, `${CLOSED_PORT}`];
      assert.equal(await mustRun(path.client, words), 'ECONNREFUSED\n');
      const metrics = await path.director.metrics();
      assert.equal(sumOf(metrics, 'xvs_worker_icmp_sent_total'), 0, 'it is the server who says so');
    });
  }
}

/** For each method and either family. */
export function testPathMtu(...methods: Method[]): void {
  for (const method of methods) {
    for (const family of FAMILIES) {
      describe(`path MTU, ${method}, IPv${family}`, { skip: whyNoNetwork() }, () =>
        testMethod(method, family),
      );
    }
  }
}
