/**
 * The XDP program: attached in both modes, one verdict counter for each way a frame can go, its
 * maps, and that it goes with the process. Frames are sent by a socket on the other end of a veth
 * pair.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { Redirect } from '#xvs/control/redirect';
import { bucketOf, RedirectBuckets } from '#xvs/control/redirectBuckets';
import { RedirectMacs } from '#xvs/control/redirectMacs';
import { addon, XDP_VERDICTS, type XdpProgram } from '#xvs/port/addon';
import {
  authentication,
  ethernet,
  extension,
  fragmentHeader,
  icmpError,
  ipv4,
  ipv6,
  type Packet6Options,
  type PacketOptions,
  ports,
} from './frames';
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
const IPV6_TYPE = 0x86dd;
const SCTP = 132;
const GRE = 47;
const VIP6 = 'fd00:80::1';
const RIP6 = 'fd00:2::10';
const CLIENT6 = 'fd00:7::7';
const OWN6 = 'fd00:2::1';
const LIP6 = 'fd00:2::200';
const REPLIES = 1;
const TUNNEL = 2;
const TO_SERVICE = 1;
const FROM_SERVER = 2;
const WILDCARD_SERVICES = 1;
const WILDCARD_REAL_SERVERS = 2;
const ICMP_ERRORS = 4;
const FRAGMENTS = 8;
const ALL_FRAGMENTS = 32;
const ENDPOINTS_KEPT = 64;
const KIND_USED = 128;
/** XDP_REDIRECT. */
const REDIRECT = 4;

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

/** The bucket of an endpoint with that alone, or nothing; an address alone has port 0. */
function writeBucket(leftOut: number, address: string, port: number, kinds: number): void {
  const key = endpointKey(address, port, port === 0 ? 0 : TCP);
  const words = new Int32Array(key.buffer, 0, 5);
  const addressWords = address.includes(':') ? 4 : 1;
  const endpoint = words[4]! & 0xffffff;
  const value = new Int32Array(16);
  if (kinds !== 0) {
    value.set(words.subarray(0, addressWords));
    value[addressWords] = endpoint | ((kinds | KIND_USED) << 24);
  }
  value[15] = leftOut;
  const map = addressWords === 1 ? 'endpoints4' : 'endpoints6';
  const bucket = bucketOf(words, 0, addressWords, endpoint);
  program.mapUpdate(map, word(bucket), new Uint8Array(value.buffer));
}

/** Services of one bucket, with a frame to each. */
function crowdOf(family: 4 | 6, count: number): { key: Uint8Array; frame: number[] }[] {
  const found: { key: Uint8Array; frame: number[] }[] = [];
  const words = family === 4 ? 1 : 4;
  let bucket = -1;
  for (let number = 0; found.length < count; number++) {
    const [high, low] = [number >> 8, number & 0xff];
    const port = 1 + (number >> 16);
    const address =
      family === 4 ? `10.7.${high & 0xff}.${low}` : `fd00::${(number & 0xffff).toString(16)}`;
    const key = endpointKey(address, port, TCP);
    const ints = new Int32Array(key.buffer, 0, 5);
    const its = bucketOf(ints, 0, words, ints[4]! & 0xffffff);
    if (bucket === -1) bucket = its;
    if (its !== bucket) continue;
    const one = family === 4 ? flow : flow6;
    const client = family === 4 ? CLIENT : CLIENT6;
    found.push({ key, frame: one(TCP, [client, 40000], [address, port]) });
  }
  return found;
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

/** The same in IPv6. */
function flow6(
  protocol: number,
  [source, sourcePort]: [string, number],
  [destination, destinationPort]: [string, number],
  more: Partial<Packet6Options> = {},
): number[] {
  const options = { source, destination, protocol, ...more };
  return ethernet(IPV6_TYPE, ipv6(options, ports(sourcePort, destinationPort)));
}

/** An ICMPv6 error about a packet. */
function errorAbout6(
  type: number,
  [source, sourcePort]: [string, number],
  [destination, destinationPort]: [string, number],
  { protocol = TCP, ...more }: Partial<Packet6Options> = {},
): number[] {
  const options = { source, destination, protocol, ...more };
  const quoted = ipv6(options, ports(sourcePort, destinationPort));
  const outer = { source: 'fd00:99::1', destination: OWN6, protocol: 58 };
  return ethernet(IPV6_TYPE, ipv6(outer, icmpError(type, quoted)));
}

/** An ICMP error from a router about a packet. */
function errorAbout(
  type: number,
  [source, sourcePort]: [string, number],
  [destination, destinationPort]: [string, number],
  { protocol = TCP, ...more }: Partial<PacketOptions> = {},
): number[] {
  const options = { source, destination, protocol, ...more };
  const quoted = ipv4(options, ports(sourcePort, destinationPort));
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
    program.mapUpdate('real_servers', endpointKey(RIP, 8080, TCP), word(1));
    program.mapUpdate('local_addresses', addressKey(OWN), word(1));
    program.mapUpdate('local_addresses', addressKey(LIP), word(2));
    const client: [string, number] = [CLIENT, 40000];
    const service: [string, number] = [VIP, 80];
    const server: [string, number] = [RIP, 8080];
    const cases: [string, number[]][] = [
      ['pass_not_ip', ethernet(0x0806, [])],
      ['pass_not_ip', ethernet(0x8100, [])],
      ['pass_malformed', ethernet(IPV6_TYPE, [])],
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
    program.mapUpdate('real_servers', endpointKey(RIP, 0, TCP), word(1));
    program.mapUpdate('local_addresses', addressKey(OWN), word(1));
    program.mapUpdate('local_addresses', addressKey(LIP), word(2));
    const client: [string, number] = [CLIENT, 40000];
    const service: [string, number] = [VIP, 443];
    const server: [string, number] = [RIP, 9999];
    program.mapUpdate('fragment_addresses', addressKey(VIP), word(TO_SERVICE));
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

  /** One frame after another; each verdict is counted once. */
  async function check(cases: readonly [string, number[]][]): Promise<void> {
    for (const [at, [expected, frame]] of cases.entries()) {
      assert.deepEqual(await verdictsOf(frame), { [expected]: 1 }, `case ${at}`);
      if (expected.startsWith('redirect_')) assert.equal(near.socket.rxBurst(64), 1);
    }
  }

  it('treats IPv6 as IPv4, behind extension headers too', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    program.mapUpdate('services', endpointKey(VIP6, 80, TCP), word(1));
    program.mapUpdate('real_servers', endpointKey(RIP6, 8080, TCP), word(REPLIES));
    program.mapUpdate('local_addresses', addressKey(OWN6), word(1));
    program.mapUpdate('local_addresses', addressKey(LIP6), word(3));
    settings(ICMP_ERRORS);
    const client: [string, number] = [CLIENT6, 40000];
    const service: [string, number] = [VIP6, 80];
    const server: [string, number] = [RIP6, 8080];
    const behind = (...extensions: NonNullable<Packet6Options['extensions']>) => ({ extensions });
    const many = Array.from({ length: 9 }, () => extension(60));
    await check([
      ['redirect_service', flow6(TCP, client, service)],
      ['redirect_service', flow6(TCP, client, service, behind(extension(0)))],
      [
        'redirect_service',
        flow6(
          TCP,
          client,
          service,
          behind(extension(0), extension(60, 3), extension(43, 2), authentication(), extension(60)),
        ),
      ],
      ['pass_no_match', flow6(TCP, client, service, behind(...many))],
      ['pass_malformed', flow6(TCP, client, service, { payloadBytes: 19 })],
      ['pass_malformed', flow6(TCP, client, service, { payloadBytes: 1200 })],
      ['pass_malformed', flow6(60, client, service)],
      ['pass_no_match', flow6(59, client, service)],
      ['pass_no_match', flow6(UDP, client, service)],
      ['pass_no_match', flow6(TCP, client, [VIP6, 81])],
      ['redirect_real_server', flow6(TCP, server, client)],
      ['pass_own_address', flow6(TCP, server, [OWN6, 40000])],
      ['redirect_local_address', flow6(TCP, server, [LIP6, 1025])],
      ['pass_own_address', flow6(TCP, server, [LIP6, 1024])],
      ['pass_no_match', flow6(TCP, client, [LIP6, 22])],
      ['redirect_icmp_error', errorAbout6(1, service, client)],
      ['redirect_icmp_error', errorAbout6(2, [RIP6, 1], server)],
      ['redirect_icmp_error', errorAbout6(3, client, server, behind(extension(60)))],
      ['redirect_icmp_error', errorAbout6(4, [LIP6, 5000], [RIP6, 53])],
      ['pass_own_address', errorAbout6(1, [OWN6, 5000], server)],
      ['pass_no_match', errorAbout6(1, [CLIENT6, 1], [OWN6, 1])],
      ['pass_no_match', errorAbout6(1, service, client, behind(fragmentHeader(8)))],
      ['pass_no_match', errorAbout6(128, service, client)],
      ['pass_no_match', errorAbout6(136, service, client)],
    ]);
  });

  it('tells fragments by their addresses, of IPv4 and IPv6', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    for (const [address, use] of [
      [VIP, TO_SERVICE],
      [VIP6, TO_SERVICE],
      [RIP, FROM_SERVER],
      [RIP6, FROM_SERVER],
    ] as const) {
      program.mapUpdate('fragment_addresses', addressKey(address), word(use));
    }
    for (const [address, role] of [
      [OWN, 1],
      [OWN6, 1],
      [LIP, 3],
      [LIP6, 3],
    ] as const) {
      program.mapUpdate('local_addresses', addressKey(address), word(role));
    }
    const later = { fragment: 0x0010 };
    const first = { fragment: 0x2000 };
    const later6 = { extensions: [fragmentHeader(0x0100)] };
    const first6 = { extensions: [extension(0), fragmentHeader(1)] };
    const whole6 = { extensions: [fragmentHeader(0)] };
    const four = (from: string, to: string, more: Partial<PacketOptions>): number[] =>
      flow(UDP, [from, 1], [to, 1], more);
    const six = (from: string, to: string, more: Partial<Packet6Options>): number[] =>
      flow6(UDP, [from, 1], [to, 1], more);
    settings(0);
    await check([
      ['pass_fragment', four(CLIENT, VIP, first)],
      ['pass_fragment', six(CLIENT6, VIP6, later6)],
    ]);
    settings(FRAGMENTS);
    await check([
      ['redirect_fragment', four(CLIENT, VIP, first)],
      ['redirect_fragment', four(CLIENT, VIP, later)],
      ['redirect_fragment', six(CLIENT6, VIP6, first6)],
      ['redirect_fragment', six(CLIENT6, VIP6, later6)],
      ['redirect_fragment', four(RIP, CLIENT, later)],
      ['redirect_fragment', six(RIP6, CLIENT6, later6)],
      ['redirect_fragment', four(RIP, LIP, later)],
      ['redirect_fragment', six(CLIENT6, LIP6, later6)],
      ['pass_own_address', four(RIP, OWN, later)],
      ['pass_own_address', six(RIP6, OWN6, first6)],
      ['pass_fragment', four(CLIENT, OWN, later)],
      ['pass_fragment', six(CLIENT6, OWN6, later6)],
      ['pass_fragment', six(CLIENT6, RIP6, later6)],
      // An "atomic fragment" (RFC 6946) is whole.
      ['pass_no_match', six(CLIENT6, VIP6, whole6)],
    ]);
    settings(FRAGMENTS | ALL_FRAGMENTS);
    await check([['redirect_fragment', four(CLIENT, OWN, later)]]);
  });

  it('takes SCTP as TCP, and AH and ESP with their ISAKMP exchange', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    for (const [vip, rip] of [
      [VIP, RIP],
      [VIP6, RIP6],
    ] as const) {
      program.mapUpdate('services', endpointKey(vip, 9899, SCTP), word(1));
      program.mapUpdate('real_servers', endpointKey(rip, 9899, SCTP), word(REPLIES));
      program.mapUpdate('services', endpointKey(vip, 500, UDP), word(1));
      program.mapUpdate('real_servers', endpointKey(rip, 500, UDP), word(REPLIES));
    }
    settings(ICMP_ERRORS);
    const short = { totalBytes: 31 };
    await check([
      ['redirect_service', flow(SCTP, [CLIENT, 1], [VIP, 9899])],
      ['redirect_real_server', flow(SCTP, [RIP, 9899], [CLIENT, 1])],
      ['pass_malformed', flow(SCTP, [CLIENT, 1], [VIP, 9899], short)],
      ['redirect_service', flow6(SCTP, [CLIENT6, 1], [VIP6, 9899])],
      ['redirect_icmp_error', errorAbout(3, [VIP, 9899], [CLIENT, 1], { protocol: SCTP })],
      ['redirect_service', flow(50, [CLIENT, 7], [VIP, 7])],
      ['redirect_service', flow(51, [CLIENT, 7], [VIP, 7])],
      ['redirect_real_server', flow(50, [RIP, 7], [CLIENT, 7])],
      ['redirect_service', flow6(50, [CLIENT6, 7], [VIP6, 7])],
      ['redirect_icmp_error', errorAbout(3, [VIP, 7], [CLIENT, 7], { protocol: 50 })],
      ['pass_no_match', flow(50, [CLIENT, 7], [OWN, 7])],
    ]);
  });

  it('redirects errors about tunnel packets of our own', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    for (const address of [OWN, OWN6]) {
      program.mapUpdate('local_addresses', addressKey(address), word(1));
    }
    const tunnels = [
      [4, 0],
      [41, 0],
      [GRE, 0],
      [UDP, 6080],
    ] as const;
    for (const far of [RIP, RIP6]) {
      for (const [protocol, port] of tunnels) {
        program.mapUpdate('real_servers', endpointKey(far, port, protocol), word(TUNNEL));
      }
    }
    settings(ICMP_ERRORS | WILDCARD_REAL_SERVERS);
    const cases = tunnels.flatMap(([protocol, port]): [string, number[]][] => [
      ['redirect_icmp_error', errorAbout(3, [OWN, 1234], [RIP, port], { protocol })],
      ['redirect_icmp_error', errorAbout6(2, [OWN6, 1234], [RIP6, port], { protocol })],
      ['pass_no_match', errorAbout(3, [OWN, 1234], ['192.0.2.99', port], { protocol })],
    ]);
    await check([
      ...cases,
      ['pass_no_match', errorAbout(3, [OWN, 1234], [RIP, 6081], { protocol: UDP })],
      // What comes from that address and port is no reply.
      ['pass_no_match', flow(UDP, [RIP, 6080], [CLIENT, 1])],
    ]);
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
      /map 'dests': allowed are .*services, real_servers/,
    );
    assert.equal(thrownBy(() => addon.loadProgram('/nonexistent/x.o')).code, 'ENOENT');
    assert.match(
      thrownBy(() => program.setSocket('xvs-none', 0, near.socket.fd)).message,
      /not attached to this interface/,
    );
  });

  it('asks the buckets of endpoints, and its maps where one was left out', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    const optioned = { source: CLIENT, destination: VIP, protocol: TCP, headerWords: 6 };
    const extended = { source: CLIENT6, destination: VIP6, protocol: TCP };
    const extensions = [extension(60)];
    const transport = ports(40000, 80);
    const frames: [string, number[]][] = [
      ['redirect_service', flow(TCP, [CLIENT, 40000], [VIP, 80])],
      ['redirect_local_address', flow(TCP, [CLIENT, 80], [LIP, 1025])],
      ['pass_no_match', flow(TCP, [CLIENT, 80], [LIP, 1024])],
      ['redirect_real_server', flow(TCP, [RIP, 8080], [CLIENT, 40000])],
      ['pass_own_address', flow(TCP, [RIP, 8080], [OWN, 40000])],
      ['redirect_service', flow6(TCP, [CLIENT6, 40000], [VIP6, 80])],
      ['redirect_local_address', flow6(TCP, [CLIENT6, 80], [LIP6, 1025])],
      ['redirect_real_server', flow6(TCP, [RIP6, 8080], [CLIENT6, 40000])],
      ['pass_own_address', flow6(TCP, [RIP6, 8080], [OWN6, 40000])],
      ['pass_no_match', flow6(TCP, [RIP6, 8081], [CLIENT6, 40000])],
      ['redirect_service', ethernet(IPV4_TYPE, ipv4(optioned, [1, 1, 1, 1, ...transport]))],
      ['redirect_service', ethernet(IPV6_TYPE, ipv6({ ...extended, extensions }, transport))],
      ['pass_no_match', flow(UDP, [CLIENT, 40000], [VIP, 80])],
      ['pass_no_match', flow(TCP, [CLIENT, 40000], [VIP, 81])],
    ];
    for (const leftOut of [0, 1]) {
      for (const [vip, rip, own, lip] of [
        [VIP, RIP, OWN, LIP],
        [VIP6, RIP6, OWN6, LIP6],
      ] as const) {
        writeBucket(leftOut, vip, 80, 1);
        writeBucket(leftOut, rip, 8080, 2);
        writeBucket(leftOut, own, 0, 8);
        writeBucket(leftOut, lip, 0, 16);
      }
      settings(ENDPOINTS_KEPT);
      await check(frames);
    }
    // Who is left out is in the maps.
    for (const [type, client, vip] of [
      [flow, CLIENT, VIP],
      [flow6, CLIENT6, VIP6],
    ] as const) {
      const frame = type(TCP, [client, 40000], [vip, 80]);
      writeBucket(1, vip, 80, 0);
      await check([['pass_no_match', frame]]);
      program.mapUpdate('services', endpointKey(vip, 80, TCP), word(1));
      await check([['redirect_service', frame]]);
      writeBucket(0, vip, 80, 0);
      await check([['pass_no_match', frame]]);
    }
    settings(0);
    await check([
      ['redirect_service', flow(TCP, [CLIENT, 40000], [VIP, 80])],
      ['pass_no_match', flow(TCP, [RIP, 8080], [CLIENT, 40000])],
    ]);
  });

  it('finds each of the endpoints that share a bucket, and those that it has no room for', () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    settings(ENDPOINTS_KEPT);
    const ran = (frame: number[]) => program.testRun(NEAR, Uint8Array.from(frame)) === REDIRECT;
    for (const [family, places] of [
      [4, 7],
      [6, 3],
    ] as const) {
      const follower = new RedirectBuckets(program).ofEndpoints(0);
      const endpoints = crowdOf(family, places + 2);
      const change = (at: number, before: number, after: number) => {
        const { key } = endpoints[at]!;
        follower.change(new Int32Array(key.buffer, 0, 5), 0, before, after);
        follower.commit();
      };
      const found = () => endpoints.map(({ frame }) => ran(frame));
      const known = new Array<boolean>(places).fill(true);
      for (const at of endpoints.keys()) change(at, 0, 1);
      assert.deepEqual(found(), [...known, false, false]);
      // The last is in the hash map, which is asked about those that were left out.
      program.mapUpdate('services', endpoints.at(-1)!.key, word(1));
      assert.deepEqual(found(), [...known, false, true]);
      // Behind one that is gone stand others.
      change(1, 1, 0);
      assert.deepEqual(found(), [true, false, ...known.slice(2), false, true]);
      program.mapDelete('services', endpoints.at(-1)!.key);
    }
  });

  it('takes frames for its own MACs only, as they are now', async () => {
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
    program.mapUpdate('services', endpointKey(VIP, 80, TCP), word(1));
    program.mapUpdate('services', endpointKey(VIP6, 80, TCP), word(1));
    const redirect = new Redirect(program);
    // It knows nothing of these services.
    settings(0);
    const macs = new RedirectMacs({
      addon,
      interfaces: ['xvs-none', NEAR],
      onChange: (interfaces) => redirect.updateInterfaces(interfaces),
      log: (_level, _event, message) => assert.fail(message),
    });
    await macs.start();
    const to = (...mac: number[]): number[] => {
      const packet = { source: CLIENT, destination: VIP, protocol: TCP };
      return ethernet(IPV4_TYPE, ipv4(packet, ports(40000, 80)), mac);
    };
    const becomes = async (verdict: string, ...mac: number[]): Promise<void> => {
      const deadline = Date.now() + 3000;
      let seen = await verdictsOf(to(...mac));
      while (seen[verdict] !== 1 && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        seen = await verdictsOf(to(...mac));
      }
      assert.deepEqual(seen, { [verdict]: 1 });
    };
    try {
      ip('link', 'set', NEAR, 'address', '02:00:00:00:00:41');
      await becomes('redirect_service', 2, 0, 0, 0, 0, 0x41);
      await check([
        ['pass_other_mac', to(2, 0, 0, 0, 0, 0x42)],
        ['pass_other_mac', to(3, 0, 0, 0, 0, 0x41)],
        ['pass_other_mac', to(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
      ]);
      ip('link', 'set', NEAR, 'address', '02:00:00:00:00:43');
      await becomes('redirect_service', 2, 0, 0, 0, 0, 0x43);
      await becomes('pass_other_mac', 2, 0, 0, 0, 0, 0x41);
      // A virtual router on top of the interface, as keepalived makes it.
      ip('link', 'add', 'xvsnv0', 'link', NEAR, 'address', '00:00:5e:00:01:33', 'type', 'macvlan');
      await becomes('redirect_service', 0, 0, 0x5e, 0, 1, 0x33);
      ip('link', 'delete', 'xvsnv0');
      await becomes('pass_other_mac', 0, 0, 0x5e, 0, 1, 0x33);
    } finally {
      macs.stop();
    }
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
