/**
 * The XDP program: attached in both modes, one verdict counter for each way a frame can go, its
 * maps, and that it goes with the process. Frames are sent by a socket on the other end of a veth
 * pair.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { addon, XDP_VERDICTS, type XdpProgram } from '#xvs/port/addon';
import { ethernet, icmpError, ipv4, type PacketOptions, ports } from './frames';
import {
  addressKey,
  endpointKey,
  ip,
  Lab,
  type Memory,
  makeMemory,
  type Opened,
  openQueue,
  TCP,
  takeChunk,
  thrownBy,
  UDP,
  word,
} from './support';

const NEAR = 'xvsnx0';
const FAR = 'xvsnx1';
const ICMP = 1;
const VIP = '192.0.2.80';
const RIP = '192.0.2.10';
const CLIENT = '198.51.100.7';
const OWN = '192.0.2.1';
const LIP = '192.0.2.200';
const IPV4_TYPE = 0x0800;
const WILDCARD_SERVICES = 1;
const WILDCARD_REAL_SERVERS = 2;
const ICMP_ERRORS = 4;
const FRAGMENTS = 8;

const lab = new Lab();
let program: XdpProgram;
let nearMemory: Memory;
let farMemory: Memory;
let near: Opened;
let far: Opened;

function attached(): number {
  return JSON.parse(ip('-j', 'link', 'show', NEAR))[0].xdp?.prog?.id ?? 0;
}

/** Whether the kernel lets go of this program: it does so some time after its last user went. */
async function isFreed(id: number): Promise<boolean> {
  const deadline = Date.now() + 5000;
  while (Date.now() < deadline) {
    const text = execFileSync('bpftool', ['-j', 'prog', 'show'], { encoding: 'utf8' });
    if (!JSON.parse(text).some((each: { id: number }) => each.id === id)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

function send(frames: readonly number[][]): void {
  frames.forEach((frame, index) => {
    const offset = takeChunk(farMemory);
    farMemory.bytes.set(frame, offset);
    far.tx.set([offset, frame.length, 0], index * 3);
  });
  assert.equal(far.socket.txBurst(frames.length), frames.length);
}

/** Sends frames and returns by how much each verdict counter grew, zeros left out. */
async function verdictsOf(...frames: number[][]): Promise<Record<string, number>> {
  const earlier = program.verdicts();
  send(frames);
  const deadline = Date.now() + 2000;
  let later = program.verdicts();
  const sum = (counts: number[]) => counts.reduce((total, count) => total + count, 0);
  while (sum(later) - sum(earlier) < frames.length && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    later = program.verdicts();
  }
  const grown: Record<string, number> = {};
  later.forEach((count, index) => {
    if (count !== earlier[index]) grown[XDP_VERDICTS[index]!] = count - earlier[index]!;
  });
  return grown;
}

function settings(flags: number): void {
  program.mapUpdate('settings', word(0), word(flags));
}

/** A frame of a flow; `more` changes the IPv4 header. */
function flow(
  protocol: number,
  [source, sourcePort]: [string, number],
  [destination, destinationPort]: [string, number],
  more: Partial<PacketOptions> = {},
): number[] {
  const options = { source, destination, protocol, ...more };
  return ethernet(IPV4_TYPE, ipv4(options, ports(sourcePort, destinationPort)));
}

/** An ICMP error from a router about a packet. */
function errorAbout(
  type: number,
  [source, sourcePort]: [string, number],
  [destination, destinationPort]: [string, number],
): number[] {
  const quoted = ipv4({ source, destination, protocol: TCP }, ports(sourcePort, destinationPort));
  const outer = { source: '203.0.113.1', destination: OWN, protocol: ICMP };
  return ethernet(IPV4_TYPE, ipv4(outer, icmpError(type, quoted)));
}

before(() => lab.pair(NEAR, FAR));
after(() => lab.remove());

describe('the XDP program', { timeout: 60_000 }, () => {
  beforeEach(() => {
    program = addon.loadProgram();
    nearMemory = makeMemory(128);
    farMemory = makeMemory(128);
    far = openQueue(farMemory, FAR);
    near = openQueue(nearMemory, NEAR);
  });
  afterEach(() => {
    nearMemory.umem.close();
    farMemory.umem.close();
    program.close();
  });

  it('attaches natively and generically, and is gone after detach and close', async () => {
    assert.equal(program.attach(NEAR, 'native'), 'native');
    assert.notEqual(attached(), 0);
    assert.match(thrownBy(() => program.attach(NEAR, 'auto')).message, /attached to it already/);
    const other = addon.loadProgram();
    const refused = thrownBy(() => other.attach(NEAR, 'auto'));
    assert.equal(refused.code, 'EBUSY');
    assert.match(refused.message, /another XDP program is attached to this interface/);
    assert.equal(refused.interface, NEAR);
    other.close();
    program.detach(NEAR);
    program.detach(NEAR);
    assert.equal(attached(), 0);
    assert.equal(program.attach(NEAR, 'generic'), 'generic');
    assert.equal(JSON.parse(ip('-j', 'link', 'show', NEAR))[0].xdp.mode, 2);
    program.detach(NEAR);
    assert.equal(program.attach(NEAR, 'auto'), 'native');
    const id = attached();
    program.close();
    assert.equal(attached(), 0);
    assert.equal(await isFreed(id), true);
  });

  it('counts each verdict, and redirects only what may be ours', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    program.mapUpdate('services', endpointKey(VIP, 80, TCP), word(0));
    program.mapUpdate('real_servers', endpointKey(RIP, 8080, TCP), word(0));
    program.mapUpdate('local_addresses', addressKey(OWN), word(1));
    program.mapUpdate('local_addresses', addressKey(LIP), word(2));
    const client: [string, number] = [CLIENT, 40000];
    const service: [string, number] = [VIP, 80];
    const server: [string, number] = [RIP, 8080];
    const cases: [string, number[]][] = [
      ['pass_not_ip', ethernet(0x0806, [])],
      ['pass_not_ip', ethernet(0x86dd, [])],
      ['pass_malformed', flow(TCP, client, service, { totalBytes: 400 })],
      ['pass_malformed', flow(TCP, client, service, { totalBytes: 30 })],
      ['pass_malformed', flow(TCP, client, service, { headerWords: 4 })],
      ['pass_fragment', flow(TCP, client, service, { fragment: 0x2000 })],
      ['pass_fragment', flow(TCP, client, service, { fragment: 0x0010 })],
      ['redirect_service', flow(TCP, client, service)],
      ['redirect_service', flow(TCP, client, service, { fragment: 0x4000 })],
      ['pass_no_match', flow(UDP, client, service)],
      ['pass_no_match', flow(TCP, client, [VIP, 81])],
      ['redirect_real_server', flow(TCP, server, client)],
      ['pass_own_address', flow(TCP, server, [OWN, 40000])],
      ['pass_no_match', flow(TCP, [RIP, 8081], client)],
      ['redirect_local_address', flow(UDP, [RIP, 53], [LIP, 5000])],
      ['pass_no_match', flow(TCP, client, [OWN, 22])],
      ['pass_no_match', flow(47, client, service)],
      ['pass_no_match', errorAbout(3, service, client)],
    ];
    let redirected = 0;
    for (const [expected, frame] of cases) {
      assert.deepEqual(await verdictsOf(frame), { [expected]: 1 });
      if (expected.startsWith('redirect_')) redirected++;
    }
    assert.equal(near.socket.rxBurst(64), redirected);
  });

  it('redirects wildcards, ICMP errors and fragments when it is told to', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    program.mapUpdate('services', endpointKey(VIP, 0, TCP), word(0));
    program.mapUpdate('real_servers', endpointKey(RIP, 0, TCP), word(0));
    program.mapUpdate('local_addresses', addressKey(OWN), word(1));
    program.mapUpdate('local_addresses', addressKey(LIP), word(2));
    const client: [string, number] = [CLIENT, 40000];
    const service: [string, number] = [VIP, 443];
    const server: [string, number] = [RIP, 9999];
    const cases: [number, string, number[]][] = [
      [0, 'pass_no_match', flow(TCP, client, service)],
      [WILDCARD_SERVICES, 'redirect_service', flow(TCP, client, service)],
      [WILDCARD_SERVICES, 'pass_no_match', flow(TCP, server, client)],
      [WILDCARD_REAL_SERVERS, 'redirect_real_server', flow(TCP, server, client)],
      [FRAGMENTS, 'redirect_fragment', flow(UDP, client, service, { fragment: 0x2000 })],
      [ICMP_ERRORS | WILDCARD_SERVICES, 'redirect_icmp_error', errorAbout(3, service, client)],
      [ICMP_ERRORS | WILDCARD_SERVICES, 'redirect_icmp_error', errorAbout(11, service, client)],
      [ICMP_ERRORS | WILDCARD_SERVICES, 'pass_no_match', errorAbout(8, service, client)],
      [ICMP_ERRORS | WILDCARD_REAL_SERVERS, 'redirect_icmp_error', errorAbout(3, client, server)],
      [ICMP_ERRORS | WILDCARD_REAL_SERVERS, 'pass_own_address', errorAbout(3, [OWN, 1], server)],
      [ICMP_ERRORS, 'redirect_icmp_error', errorAbout(4, [LIP, 5000], server)],
      [ICMP_ERRORS, 'pass_no_match', errorAbout(3, service, client)],
    ];
    for (const [flags, expected, frame] of cases) {
      settings(flags);
      assert.deepEqual(await verdictsOf(frame), { [expected]: 1 }, `settings ${flags}`);
    }
  });

  it('leaves frames to the kernel where no socket serves the queue', async () => {
    program.attach(NEAR, 'native');
    program.mapUpdate('services', endpointKey(VIP, 80, TCP), word(0));
    const frame = flow(TCP, [CLIENT, 40000], [VIP, 80]);
    assert.deepEqual(await verdictsOf(frame), { pass_no_socket: 1 });
    program.setSocket(NEAR, 0, near.socket.fd);
    assert.deepEqual(await verdictsOf(frame, frame), { redirect_service: 2 });
    program.clearSocket(NEAR, 0);
    assert.deepEqual(await verdictsOf(frame), { pass_no_socket: 1 });
    program.setSocket(NEAR, 0, near.socket.fd);
    near.socket.close();
    assert.deepEqual(await verdictsOf(frame), { pass_no_socket: 1 });
  });

  it('works in generic mode', async () => {
    assert.equal(program.attach(NEAR, 'generic'), 'generic');
    program.setSocket(NEAR, 0, near.socket.fd);
    program.mapUpdate('services', endpointKey(VIP, 80, TCP), word(0));
    const frame = flow(TCP, [CLIENT, 40000], [VIP, 80]);
    assert.deepEqual(await verdictsOf(frame), { redirect_service: 1 });
    assert.equal(near.socket.rxBurst(64), 1);
    const received = nearMemory.bytes.subarray(near.rx[0]!, near.rx[0]! + near.rx[1]!);
    assert.deepEqual([...received], frame);
    assert.equal(near.rx[0]! % 2048, nearMemory.umem.headroom);
  });

  it('keeps what is written to its maps, and refuses what does not fit', () => {
    const key = endpointKey(VIP, 80, TCP);
    program.mapUpdate('services', key, word(7));
    program.mapUpdate('services', endpointKey(VIP, 443, TCP), word(8));
    const entries = program.mapEntries('services');
    assert.equal(entries.length, 2);
    const found = entries.find((entry) => Buffer.compare(entry.key, key) === 0);
    assert.deepEqual(found?.value, word(7));
    assert.equal(program.mapDelete('services', key), true);
    assert.equal(program.mapDelete('services', key), false);
    assert.match(
      thrownBy(() => program.mapUpdate('services', addressKey(VIP), word(1))).message,
      /key of 20 bytes: must have 24/,
    );
    assert.match(
      thrownBy(() => program.mapEntries('dests')).message,
      /map 'dests': must be services, real_servers, local_addresses or settings/,
    );
    assert.equal(thrownBy(() => addon.loadProgram('/nonexistent/x.o')).code, 'ENOENT');
    assert.match(
      thrownBy(() => program.setSocket('xvs-none', 0, near.socket.fd)).message,
      /not attached to this interface/,
    );
  });

  it('shares its maps among interfaces, sockets apart', async () => {
    program.attach(NEAR, 'native');
    program.attach(FAR, 'native');
    program.mapUpdate('services', endpointKey(VIP, 80, TCP), word(0));
    program.setSocket(FAR, 0, far.socket.fd);
    const frame = flow(TCP, [CLIENT, 40000], [VIP, 80]);
    assert.deepEqual(await verdictsOf(frame), { pass_no_socket: 1 });
    program.setSocket(NEAR, 0, near.socket.fd);
    assert.deepEqual(await verdictsOf(frame), { redirect_service: 1 });
  });
});

describe('a process that is killed', { timeout: 30_000 }, () => {
  it('leaves no program behind', async () => {
    const child = spawn(process.execPath, [`${__dirname}/attachAndWait.js`, NEAR], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const id = attached();
    assert.notEqual(id, 0);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(await isFreed(id), true);
    assert.equal(attached(), 0);
  });
});
