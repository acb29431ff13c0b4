/**
 * What explain says the XDP program would do, against the program itself (BPF_PROG_TEST_RUN): on
 * random frames, over maps as the control plane writes them for services of every kind, FULLNAT,
 * tunnels, marks and none at all.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { Director } from '#xvs/control/director';
import { XdpModel } from '#xvs/control/explain/xdpModel';
import { parseRules } from '#xvs/control/mark/parse';
import { compileRule } from '#xvs/control/mark/rule';
import type { ForwardingMethodName, ServiceKey } from '#xvs/control/protocol';
import { Redirect } from '#xvs/control/redirect';
import { addressWords, parseIpv4 } from '#xvs/net/address';
import { addon, XDP_VERDICTS, type XdpProgram } from '#xvs/port/addon';
import { attachTables, createMemory } from '#xvs/table/memory';
import { Lot } from '../support/anyTraffic';
import { serverSettings, serviceKey, serviceSettings } from '../support/simulation';
import {
  authentication,
  ethernet,
  extension,
  fragmentHeader,
  icmpError,
  ipv4,
  ipv6,
  ports,
} from './frames';
import { Lab, type Memory, makeMemory, openQueue } from './support';

const NEAR = 'xvsxm0';
const FAR = 'xvsxm1';
const MAC = [2, 0, 0, 0, 0, 1];
/** Taken too; nobody's of ours; everybody's. */
const OTHER_MAC = [2, 0, 0, 0, 0, 7];
const FOREIGN_MAC = [2, 9, 9, 9, 9, 9];
const GROUP_MAC = [1, 0, 0, 0, 0, 1];
/** Configurations in turn: services of every kind with marks, with removed ones, any. */
const [REMOVED, RANDOM, KINDS] = [1, 2, 3];
/** Of an unusual thing: one in so many and one. */
const OFTEN = 14;
const RUNS = 60;
const FRAMES_EACH = 200;
const BUCKETS = 65536;
const BUCKET_WORDS = 16;
/** Of XDP_REDIRECT and XDP_PASS. */
const [PASS, REDIRECT] = [2, 4];
const ADDRESSES = {
  4: [
    '192.0.2.80',
    '192.0.2.81',
    '192.0.2.10',
    '192.0.2.11',
    '192.0.2.1',
    '192.0.2.200',
    '10.9.9.9',
  ],
  6: ['fd00::80', 'fd00::81', 'fd00::10', 'fd00::11', 'fd00::1', 'fd00::200', 'fd00:9::9'],
} as const;
const PORTS = [80, 443, 8000, 1024, 1025, 40000, 500, 0];
const PROTOCOLS = [6, 17, 132, 1, 58, 4, 41, 47, 50, 51, 89];
const METHODS: readonly ForwardingMethodName[] = ['nat', 'dr', 'tunnel', 'fullnat'];

const lab = new Lab();
let program: XdpProgram;
let memory: Memory;

type Family = 4 | 6;
type Draw = <T>(choices: readonly T[]) => T;

function addServices(director: Director, family: Family, draw: Draw, all: boolean): void {
  const [vip, vip2, rip, rip2, , local] = ADDRESSES[family];
  const keys: Partial<ServiceKey>[] = [
    { address: vip!, port: 80 },
    { address: vip2!, port: draw([0, 443]), protocol: draw(['tcp', 'udp', 'sctp'] as const) },
    { address: family === 4 ? '0.0.0.0' : '::', port: 0, fwmark: 66 },
  ];
  for (const key of keys.filter(() => draw([true, true, all]))) {
    const service = serviceKey({ family, ...key });
    const netmask = family === 4 ? '255.255.255.255' : '128';
    director.execute({ command: 'add-service', service, settings: serviceSettings({ netmask }) });
    for (const address of [rip!, rip2!]) {
      const method = draw(METHODS);
      const type = draw(['ipip', 'gue', 'gre'] as const);
      const settings = serverSettings({
        method,
        tunnel: { type, port: type === 'gue' ? 443 : 0, checksum: 'nocsum' },
      });
      const isMapped = method === 'nat' || method === 'fullnat';
      const port = isMapped && service.fwmark === 0 && service.port !== 0 ? 8000 : service.port;
      const server = { family, address, port };
      director.execute({ command: 'add-server', service, server, settings });
    }
    if (draw([true, false])) {
      director.execute({ command: 'add-local-address', service, address: local! });
    }
  }
}

const RULES: readonly (readonly string[])[] = [
  [],
  ['-p tcp -m multiport --dports 80,443 -j MARK --set-mark 66'],
  [
    `-i ${NEAR} ! -p udp -j MARK --set-mark 2`,
    '-m mark --mark 2 -p tcp --dport 1:1024 -j MARK --or-mark 64',
  ],
];

function publishMarks(redirect: Redirect, draw: Draw, kind: number): void {
  const chosen = kind === RANDOM ? draw(RULES) : RULES[1]!;
  const rules = ([4, 6] as const).flatMap((family) =>
    chosen.flatMap((text) =>
      parseRules(text, family, () => null).map((rule) => compileRule(rule, [NEAR])),
    ),
  );
  redirect.updateMarks(rules);
  // Removed rules stay as long as connections might.
  const isRemoved = kind === RANDOM ? draw([true, false, false]) : kind === REMOVED;
  if (isRemoved) redirect.updateMarks([]);
}

/** All buckets without an entry. */
function writeBuckets(leftOut: number): void {
  const keys = Uint32Array.from({ length: BUCKETS }, (_none, bucket) => bucket);
  const values = new Uint32Array(BUCKETS * BUCKET_WORDS);
  for (let bucket = 0; bucket < BUCKETS; bucket++) values[bucket * BUCKET_WORDS + 15] = leftOut;
  for (const map of ['endpoints4', 'endpoints6']) {
    program.mapUpdateMany(map, new Uint8Array(keys.buffer), new Uint8Array(values.buffer));
  }
}

/** Everything that the program's maps hold, anew; returns what takes it away again. */
function configure(draw: Draw, kind: number): () => void {
  const options = { workers: 1, connectionCapacity: 1024, hashSeed: 1 };
  const director = new Director(attachTables(createMemory(options), () => {}));
  const redirect = new Redirect(program);
  if (kind !== RANDOM || draw([true, true, true, true, false])) {
    for (const family of [4, 6] as const) addServices(director, family, draw, kind !== RANDOM);
  }
  redirect.updateServices(director);
  const mac = draw(['02:00:00:00:00:01', '']);
  const { index } = addon.interfaceInfo(NEAR);
  redirect.updateInterfaces([{ index, mac, otherMacs: ['02:00:00:00:00:07'] }]);
  redirect.updateLocalAddresses([parseIpv4(ADDRESSES[4][4])]);
  redirect.updateLocalAddresses6([[...addressWords(ADDRESSES[6][4])]]);
  publishMarks(redirect, draw, kind);
  // Buckets that have no room for anything: then the other maps are asked.
  const isCrowded = draw([true, false, false]);
  if (isCrowded) writeBuckets(1);
  return () => {
    if (isCrowded) writeBuckets(0);
    director.execute({ command: 'flush' });
    redirect.updateServices(director);
    redirect.updateLocalAddresses([]);
    redirect.updateLocalAddresses6([]);
    redirect.updateMarks([]);
    redirect.updateInterfaces([]);
  };
}

/** `usual`, but now and then one of the others. */
function mostly<T>(draw: Draw, usual: T, others: readonly T[]): T {
  return draw([...new Array<boolean>(OFTEN).fill(true), false]) ? usual : draw(others);
}

function packet(family: Family, draw: Draw, depth: number): number[] {
  const [source, destination] = [draw(ADDRESSES[family]), draw(ADDRESSES[family])];
  let protocol = mostly(draw, draw([6, 6, 17]), PROTOCOLS);
  let payload = ports(draw(PORTS), draw(PORTS));
  if (depth > 0 && draw([true, false, false])) {
    protocol = family === 4 ? 1 : 58;
    const type = draw([3, 4, 11, 1, 2, 8, 128]);
    payload = icmpError(type, packet(mostly(draw, family, [4, 6]), draw, depth - 1));
  }
  payload = payload.slice(0, mostly(draw, payload.length, [0, 3, 8, 19]));
  if (family === 4) {
    const fragment = mostly(draw, 0, [0x4000, 0x2000, 0x2001, 5]);
    const headerWords = mostly(draw, 5, [4, 6]);
    const totalBytes = mostly(draw, 20 + payload.length, [19, 1500]);
    return ipv4({ source, destination, protocol, fragment, headerWords, totalBytes }, payload);
  }
  const extensions = [extension(0), extension(60, 2), authentication(), fragmentHeader(1)];
  extensions.push(fragmentHeader(9), fragmentHeader(0), extension(43, 40));
  const chosen = extensions.filter(() => !mostly(draw, true, [false]));
  const options = { source, destination, protocol, extensions: chosen };
  const isTrue = mostly(draw, true, [false]);
  return ipv6(isTrue ? options : { ...options, payloadBytes: draw([0, 19, 1400]) }, payload);
}

function frameOf(draw: Draw): Uint8Array {
  const family = draw([4, 6] as const);
  const type = mostly(draw, family === 4 ? 0x0800 : 0x86dd, [0x0806, 0x86dd]);
  const mac = mostly(draw, MAC, [OTHER_MAC, FOREIGN_MAC, GROUP_MAC]);
  const frame = Uint8Array.from(ethernet(type, packet(family, draw, 2), mac));
  return frame.subarray(0, mostly(draw, frame.length, [14, 20, 33, 40]));
}

/** The program's own verdict, which must have been counted once. */
function ran(frame: Uint8Array): { verdict: string; action: number } {
  const before = program.verdicts();
  const action = program.testRun(NEAR, frame);
  const grown = program.verdicts().map((count, at) => count - before[at]!);
  assert.equal(
    grown.reduce((sum, count) => sum + count, 0),
    1,
    'one frame, one verdict',
  );
  return { verdict: XDP_VERDICTS[grown.indexOf(1)]!, action };
}

describe('explain and the XDP program', { timeout: 600_000 }, () => {
  before(() => {
    lab.pair(NEAR, FAR);
    program = addon.loadProgram();
    memory = makeMemory(128);
    const near = openQueue(memory, NEAR);
    program.attach(NEAR, 'native');
    program.setSocket(NEAR, 0, near.socket.fd);
  });
  after(() => {
    memory?.umem.close();
    program?.close();
    lab.remove();
  });

  it('agree on random frames', () => {
    let run = 0;
    const seen = new Map<string, number>();
    const { index } = addon.interfaceInfo(NEAR);
    const model = new XdpModel((map, key) => program.mapLookup(map, key), index);
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const lot = new Lot(seed);
        const draw: Draw = (choices) => lot.of(choices);
        const clear = configure(draw, run++ % KINDS);
        try {
          for (let count = 0; count < FRAMES_EACH; count++) {
            const frame = frameOf(draw);
            const { verdict, action } = ran(frame);
            const told = model.decide(frame);
            const context = `${Buffer.from(frame).toString('hex')}\n${told.steps.join('\n')}`;
            assert.equal(told.verdict, verdict, context);
            assert.equal(action, verdict.startsWith('redirect') ? REDIRECT : PASS, context);
            seen.set(verdict, (seen.get(verdict) ?? 0) + 1);
          }
        } finally {
          clear();
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
    for (const verdict of XDP_VERDICTS) {
      if (verdict === 'pass_no_socket') continue;
      assert.ok(seen.has(verdict), `no frame was ${verdict}: ${JSON.stringify([...seen])}`);
    }
  });

  it('a program that is not attached there runs on nothing', () => {
    assert.throws(() => program.testRun('xvs-none', new Uint8Array(60)), /not attached to this/);
    assert.throws(() => program.testRun(NEAR, new Uint8Array(13)), /frame/);
  });

  it('a key that is not there has no value', () => {
    assert.equal(program.mapLookup('services', new Uint8Array(24)), null);
    assert.equal(program.mapLookup('settings', new Uint8Array(4))?.length, 4);
    assert.throws(() => program.mapLookup('none', new Uint8Array(4)), /allowed are/);
  });
});
