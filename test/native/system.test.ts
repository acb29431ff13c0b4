/** What needs no traffic: probing, interfaces, UMEM options, threads, the loader. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addon } from '#xvs/port/addon';
import { ip, Lab, thrownBy } from './support';

const CHUNKS = 16;

describe('probe', () => {
  it('tells kernel and Node, and has AF_XDP where the tests can run', () => {
    const features = addon.probe();
    assert.equal(features.kernel, release());
    assert.equal(`v${features.nodeVersion}`, process.version);
    assert.equal(features.afXdp, true);
    const [major, minor] = features.kernel.split('.').map(Number) as [number, number];
    if (major > 6 || (major === 6 && minor >= 8)) assert.equal(features.txMetadata, true);
    if (major > 6 || (major === 6 && minor >= 17)) assert.equal(features.maxTxSkbBudget, true);
  });
});

describe('interfaceInfo', () => {
  const lab = new Lab();
  before(() => lab.pair('xvsni0', 'xvsni1'));
  after(() => lab.remove());

  it('agrees with ip', () => {
    const shown = JSON.parse(ip('-j', 'link', 'show', 'xvsni0'))[0];
    assert.deepEqual(addon.interfaceInfo('xvsni0'), {
      name: 'xvsni0',
      index: shown.ifindex,
      mtu: shown.mtu,
      mac: shown.address,
      up: true,
      rxQueues: 1,
      txQueues: 1,
      driver: 'veth',
    });
  });

  it('counts queues in use', () => {
    ip('link', 'add', 'xvsni2', 'numrxqueues', '2', 'numtxqueues', '2', 'type', 'veth');
    try {
      assert.equal(addon.interfaceInfo('xvsni2').rxQueues, 2);
      execFileSync('ethtool', ['-L', 'xvsni2', 'rx', '1', 'tx', '2']);
      assert.equal(addon.interfaceInfo('xvsni2').rxQueues, 1);
      assert.equal(addon.interfaceInfo('xvsni2').txQueues, 2);
      assert.equal(addon.interfaceInfo('xvsni2').up, false);
    } finally {
      ip('link', 'delete', 'xvsni2');
    }
  });

  it('refuses unknown and impossible names', () => {
    const error = thrownBy(() => addon.interfaceInfo('xvs-none'));
    assert.equal(error.code, 'ENODEV');
    assert.equal(error.interface, 'xvs-none');
    assert.match(thrownBy(() => addon.interfaceInfo('x'.repeat(16))).message, /1 to 15 characters/);
  });
});

describe('createUmem', () => {
  const buffer = new SharedArrayBuffer((CHUNKS + 2) * 4096);
  const good = {
    buffer,
    offset: addon.pageOffset(buffer),
    chunkSize: 2048,
    chunkCount: CHUNKS,
    txMetadata: true,
    free: new Int32Array(CHUNKS + 1),
    clock: new Int32Array(4),
  };

  it('registers memory that starts at a page', () => {
    const umem = addon.createUmem(good);
    assert.equal(umem.headroom, 256);
    assert.equal(umem.txMetadata, addon.probe().txMetadata);
    assert.equal(addon.openHandles()['umems'], 1);
    umem.close();
    umem.close();
    assert.equal(addon.openHandles()['umems'], 0);
  });

  it('refuses what does not fit, with value and what is allowed', () => {
    const cases: [object, RegExp][] = [
      [{ offset: good.offset + 64 }, /is 64 bytes past a page boundary; use pageOffset/],
      [{ chunkSize: 3000 }, /chunkSize 3000: must be 2048 or 4096/],
      [{ chunkSize: 1024 }, /chunkSize 1024: must be a whole number from 2048 to 4096/],
      [{ chunkCount: 100000 }, /bytes: offset and chunks need/],
      [{ chunkCount: 2.5 }, /chunkCount 2.5: must be a whole number/],
      [{ free: new Int32Array(CHUNKS) }, /free: must be an Int32Array of at least 17 elements/],
      [{ clock: new Float64Array(4) }, /clock: must be an Int32Array of at least 4 elements/],
      [{ buffer: new ArrayBuffer(65536) }, /buffer: must be a SharedArrayBuffer/],
      [{ txMetadata: 'yes' }, /txMetadata: must be true or false/],
    ];
    for (const [change, message] of cases) {
      const error = thrownBy(() => addon.createUmem({ ...good, ...change } as never));
      assert.equal(error.code, 'EINVAL');
      assert.match(error.message, message);
    }
    assert.equal(addon.openHandles()['umems'], 0);
  });
});

describe('threads and peers', () => {
  it('pins, and refuses a CPU that is not there', () => {
    const allowed = () =>
      /Cpus_allowed_list:\s*(\S+)/.exec(
        execFileSync('cat', [`/proc/${process.pid}/task/${addon.threadId()}/status`], {
          encoding: 'utf8',
        }),
      )?.[1];
    const error = thrownBy(() => addon.pinThread(1000));
    assert.equal(error.code, 'EINVAL');
    assert.match(error.message, /CPU 1000/);
    const last = availableParallelism() - 1; // afterwards it counts one
    addon.pinThread(last);
    assert.equal(allowed(), String(last));
  });

  it('measures the CPU time of the thread', () => {
    const earlier = addon.threadCpuMicroseconds();
    const until = process.hrtime.bigint() + 20_000_000n;
    while (process.hrtime.bigint() < until);
    const used = addon.threadCpuMicroseconds() - earlier;
    assert.ok(used > 1000 && used < 1_000_000, `${used} us`);
  });

  it('knows the peer of a Unix socket', async () => {
    const path = join(tmpdir(), `xvs-nat-peer-${process.pid}.sock`);
    const server = createServer().listen(path);
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const client = connect(path);
    const [socket] = (await accepted) as [{ _handle: { fd: number }; destroy(): void }];
    const peer = addon.peerCredentials(socket._handle.fd);
    assert.deepEqual(peer, { pid: process.pid, uid: process.getuid!(), gid: process.getgid!() });
    socket.destroy();
    client.destroy();
    server.close();
    rmSync(path, { force: true });
    assert.equal(thrownBy(() => addon.peerCredentials(0x7fff)).code, 'EBADF');
  });
});

describe('the loader', () => {
  it('names what it looked for when there is no addon', () => {
    const missing = join(tmpdir(), 'xvs-nat-no-such.node');
    const child = spawnSync(process.execPath, ['-e', "require('xsk-napi')"], {
      cwd: join(__dirname, '..', '..', '..'),
      env: { ...process.env, XSK_NAPI_PATH: missing },
      encoding: 'utf8',
    });
    assert.notEqual(child.status, 0);
    assert.match(child.stderr, /no native addon for linux-/);
    assert.ok(child.stderr.includes(missing));
    assert.match(child.stderr, /npm run build/);
  });
});
