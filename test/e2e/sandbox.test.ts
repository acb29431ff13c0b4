/**
 * xvsd in the sandbox of its unit: read-only files, devices, capabilities, system calls and address
 * families as config/systemd/xvsd.service says, put up without systemd (test/support/unitSandbox).
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { METRICS_ADDRESS } from '#xvs/lab/director';
import { ended, eventually } from '#xvs/lab/process';
import { type Stand, startNat, VIP_URL } from '../support/director';
import { whyNoNetwork } from '../support/probe';
import { fetchTexts } from '../support/process';
import { sandboxOf } from '../support/unitSandbox';

const ROOT = resolve(__dirname, '..', '..', '..');
const UNIT = join(ROOT, 'config', 'systemd', 'xvsd.service');
const START_TIMEOUT_MS = 30_000;

/** What must not be possible, and the error it meets. */
const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ['a file of the system', "open('/usr/xvs-sandbox', 'w')", /Errno (1|13|30)\b/],
  ['a sysctl', "open('/proc/sys/net/ipv4/ip_forward', 'w')", /Errno (1|13|30)\b/],
  ['a raw disk, or any device but its own', "open('/dev/kmsg')", /Errno (1|2|13)\b/],
  [
    'a packet socket',
    '__import__("socket").socket(__import__("socket").AF_PACKET, 3)',
    /Errno 97\b/,
  ],
  ['another network', '__import__("ctypes").CDLL(None).unshare(0x40000000) or 1', /^-1$/m],
  ['a mount', '__import__("ctypes").CDLL(None).mount(b"a", b"/mnt", b"tmpfs", 0, 0)', /^-1$/m],
];

describe('sandbox', { skip: whyNoNetwork() }, () => {
  let stand: Stand;
  let prefix: readonly string[];
  before(async () => {
    stand = await startNat();
    assert.equal(await stand.director.stop(), 0);
    prefix = await sandboxOf(UNIT, stand.hosts.topology.directory, ROOT);
  });
  after(() => stand?.close());

  for (const [name, expression, refusal] of REFUSED) {
    test(`refuses ${name}`, async () => {
      const { director } = stand.hosts;
      const script = `print(${expression})`;
      const plain = await director.run([...prefix, 'python3', '-c', 'print("there")']);
      assert.equal(plain.stdout, 'there\n', plain.stderr);
      const said = await director.run([...prefix, 'python3', '-c', script]);
      assert.match(said.stdout + said.stderr, refusal);
    });
  }

  test('xvsd starts, forwards, is asked, reloads and ends in it', async () => {
    const { topology, director, client } = stand.hosts;
    const child = topology.spawn(director, [...prefix, ...stand.director.command], 'sandbox.log');
    const log = () => readFileSync(join(topology.directory, 'sandbox.log'), 'utf8');
    const ready = async () => {
      const url = `http://${METRICS_ADDRESS}/readyz`;
      return (await director.run(['curl', '-sf', '--max-time', '2', url])).status === 0;
    };
    assert.ok(await eventually(ready, START_TIMEOUT_MS), log());
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    assert.match(status, /^Seccomp:\t2$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Umask:\t0007$/m);
    const greetings = stand.hosts.webServers.map(({ greeting }) => greeting);
    assert.deepEqual((await fetchTexts(client, VIP_URL, 2)).sort(), greetings);
    // The pool's thread begins now, and memory is taken.
    assert.equal((await stand.director.tool('xvs', ['connections', '--count'])).status, 0);
    assert.equal((await stand.director.xvsadm(['-Ln'])).status, 0);
    // Who asked is known in there too.
    assert.equal((await stand.director.xvsadm(['-Z'])).status, 0);
    assert.match(log(), /event=audit root \(uid 0, gid 0, pid \d+ xvsadm\): xvsadm -Z: ok$/m);
    process.kill(child.pid!, 'SIGHUP');
    assert.ok(await eventually(() => /SIGHUP: reload of \S+: ok/.test(log()), 5000), log());
    assert.doesNotMatch(log(), /EPERM|EACCES|EROFS|EAFNOSUPPORT| warn | error /);
    process.kill(child.pid!, 'SIGTERM');
    assert.equal(await ended(child), 0, log());
    assert.match(log(), /event=stopping SIGTERM\n.* event=stopped xvsd ends with status 0\n$/);
    assert.ok(!existsSync(stand.director.socket));
  });
});
