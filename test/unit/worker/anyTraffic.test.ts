/**
 * Whatever comes in, in whatever order, by whatever method: no chunk is lost or freed twice, what
 * leaves fits its link, and its checksums hold, since all that came in had good ones. Two workers,
 * both families, narrow links, few chunks, neighbours that are not known, fragments out of order,
 * errors about what was sent.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ServerSettings, ServiceKey } from '#xvs/control/protocol';
import { addressWords } from '#xvs/net/address';
import { cut } from '../../support/cut';
import { decapsulate } from '../../support/decapsulate';
import { decode, type Fields } from '../../support/decode';
import { shrinkMtu } from '../../support/icmpCases';
import { type Checksum, ethernet, type PacketBuilder } from '../../support/packet';
import {
  CLIENT_SIDE,
  type Outcome,
  SERVER_SIDE,
  type Side,
  Simulation,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
} from '../../support/simulation';
import { type Family, TUNNELS } from '../../support/tunnelStand';

const RUNS = 60;
const STEPS = 120;
const METHODS = ['nat', 'dr', 'tunnel', 'fullnat'] as const;
const CLIENT = { 4: '10.0.1.100', 6: 'fd00:1::100' } as const;
const LOCAL = { 4: '10.0.2.1', 6: 'fd00:2::1' } as const;
const ROUTER = { 4: '10.0.1.200', 6: 'fd00:1::200' } as const;
const server = (family: Family): string => (family === 4 ? serverAddress(1) : serverAddress6(1));
const virtual = (family: Family): string => (family === 4 ? VIP : VIP6);

/** Numbers from a seed; what is drawn is drawn again with the same one. */
class Lot {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 0;
  }
  below(count: number): number {
    this.#state = (Math.imul(this.#state, 0x2c1b3c6d) + 0x297a2d39) | 0;
    const mixed = Math.imul(this.#state ^ (this.#state >>> 15), 0x85ebca6b | 0);
    return ((mixed ^ (mixed >>> 13)) >>> 0) % count;
  }
  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

interface World {
  readonly lot: Lot;
  readonly simulation: Simulation;
  readonly family: Family;
  readonly method: ServerSettings['method'];
  readonly protocol: 'tcp' | 'udp';
  readonly mtu: Record<Side, number>;
  /** What has left lately. */
  readonly sent: { readonly side: Side; readonly frame: Uint8Array }[];
}

function createWorld(seed: number): World {
  const lot = new Lot(seed);
  const family = lot.of([4, 6] as const);
  const method = lot.of(METHODS);
  const protocol = lot.of(['tcp', 'udp'] as const);
  const chunks = lot.of([12, 60, 512]);
  const simulation = new Simulation({ workers: 2, chunks, neighbours: lot.below(3) > 0 });
  simulation.director.sysctls.set({
    pmtu_disc: lot.below(2),
    conn_expire_tcp_rst: lot.below(2),
    expire_nodest_conn: lot.below(2),
    schedule_icmp: lot.below(2),
    nat_icmp_send: lot.below(2),
  });
  const key: Partial<ServiceKey> = { family, protocol, address: virtual(family) };
  const onePacket = protocol === 'udp' && lot.below(4) === 0;
  const persistentTimeout = lot.below(4) === 0 ? 300 : 0;
  const service = simulation.addService(key, { onePacket, persistentTimeout });
  const outer = method === 'tunnel' ? lot.of([4, 6] as const) : family;
  const { tunnel } = lot.of(TUNNELS);
  const port = method === 'dr' || method === 'tunnel' ? 80 : 8000;
  simulation.addServer(service, server(outer), port, { method, tunnel });
  if (method === 'fullnat') {
    simulation.director.execute({
      command: 'add-local-address',
      service,
      address: LOCAL[family],
    });
  }
  const narrow = family === 4 && outer === 4 ? [1500, 1400, 576, 300] : [1500, 1400, 1300, 1280];
  const mtu = { [CLIENT_SIDE]: lot.of(narrow), [SERVER_SIDE]: lot.of(narrow) } as const;
  for (const side of [CLIENT_SIDE, SERVER_SIDE] as const) shrinkMtu(simulation, side, mtu[side]);
  return { lot, simulation, family, method, protocol, mtu, sent: [] };
}

function ip({ lot, family }: World, source: string, destination: string): PacketBuilder {
  const hops = lot.of([64, 64, 64, 64, 64, 64, 64, 64, 2, 1]);
  if (family === 6) return ethernet().ipv6({ source, destination, hopLimit: hops });
  const fragment = lot.of([0, 0x4000]);
  const options = new Uint8Array(lot.of([0, 0, 4, 40])).fill(1);
  const id = lot.below(0x10000);
  return ethernet().ipv4({ source, destination, ttl: hops, fragment, options, id });
}

interface Ends {
  readonly source: number;
  readonly destination: number;
}

function transport(world: World, builder: PacketBuilder, ends: Ends, server: boolean): Uint8Array {
  const { lot, protocol, family } = world;
  const room = 1500 - (family === 4 ? 60 : 40) - 60;
  const payload = new Uint8Array(lot.of([0, 1, lot.below(room), room])).fill(lot.below(256));
  if (protocol === 'udp') {
    const none = family === 4 ? [0] : [];
    const checksum = lot.of<Checksum>(['correct', 'unfinished', ...none]);
    return builder
      .udp({ ...ends, checksum })
      .payload(payload)
      .build();
  }
  const flags = lot.of(
    server
      ? ['SA', 'SA', 'SA', 'A', 'PA', 'FA', 'RA']
      : ['S', 'S', 'A', 'PA', 'PA', 'PA', 'FA', 'R'],
  );
  const options = lot.of([[], [1, 1, 1, 1], [254, 8, 0, 1, 1, 2, 3, 4], [2, 4, 5, 180]]);
  const sequence = lot.of([0xfffffff0, 0x7ffffff0, 1000]);
  const acknowledgement = lot.of([5001, 5002]);
  const numbers = { ...ends, sequence: server ? 5000 : sequence, acknowledgement, flags };
  const checksum = lot.of<Checksum>(['correct', 'unfinished']);
  return builder
    .tcp({ ...numbers, checksum, options: Uint8Array.from(options) })
    .payload(payload)
    .build();
}

const fromClient = (world: World): Uint8Array => {
  const { lot, family } = world;
  const ends = { source: 40000 + lot.below(3), destination: 80 };
  return transport(world, ip(world, CLIENT[family], virtual(family)), ends, false);
};

/** An answer of the server to something that it was sent. */
function fromServer(world: World): Uint8Array | null {
  const { lot, family, protocol } = world;
  const got = world.sent.filter(({ side }) => side === SERVER_SIDE);
  if (got.length === 0) return null;
  const fields = decode(lot.of(got).frame);
  const [source, destination] = [fields[`${protocol}.source`], fields[`${protocol}.destination`]];
  const to = fields[`ipv${family}.source`];
  // A tunnel's frame: those servers answer the client themselves.
  if (source === undefined || destination === undefined || to === undefined) return null;
  const ends = { source: Number(destination), destination: Number(source) };
  return transport(world, ip(world, server(family), String(to)), ends, true);
}

/** An error about something that left, from a router behind that side. */
function error({ lot, sent }: World): { side: Side; frame: Uint8Array } | null {
  if (sent.length === 0) return null;
  const { side, frame } = lot.of(sent);
  const fields = decode(frame);
  const family = fields['ipv4.source'] === undefined ? 6 : 4;
  const destination = String(fields[`ipv${family}.source`]);
  const rest = lot.of([0, 68, 552, 1280, 1400]);
  const quoted = frame.subarray(14, 14 + lot.of([28, 48, 68, 128, 500]));
  if (family === 4) {
    const [type, code] = lot.of([
      [3, 4],
      [3, 3],
      [11, 0],
    ] as const);
    const start = ethernet().ipv4({ source: ROUTER[4], destination });
    return { side, frame: start.icmp({ type, code, rest }).payload(quoted).build() };
  }
  const [type, code] = lot.of([
    [2, 0],
    [1, 4],
    [3, 0],
  ] as const);
  const start = ethernet().ipv6({ source: ROUTER[6], destination });
  return { side, frame: start.icmp6({ type, code, rest }).payload(quoted).build() };
}

/** Perhaps in fragments, perhaps not in order, perhaps not all of them. */
function pieces({ lot }: World, frame: Uint8Array): Uint8Array[] {
  const isIpv4 = frame[12] === 8 && frame[13] === 0;
  const isWhole = isIpv4 ? (frame[20]! & 0x40) === 0 : true;
  const fields = decode(frame);
  const isComplete = fields['tcp.checksumIs'] ?? fields['udp.checksumIs'];
  // Who leaves its checksum to a device does not fragment.
  if (!isWhole || isComplete === 'unfinished' || lot.below(3) > 0) return [frame];
  const all = cut(frame, lot.of([64, 400, 1000]), lot.below(0x10000));
  return lot.below(2) === 0 ? all : all.filter(() => lot.below(8) > 0).reverse();
}

function assertSound(world: World, side: Side, frame: Uint8Array): void {
  assert.ok(frame.length - 14 <= world.mtu[side], `${frame.length - 14} bytes over ${side}`);
  const fields = decode(frame);
  assertChecksums(fields, JSON.stringify(fields));
  const protocol = fields['ipv4.protocol'] ?? fields['ipv6.nextHeader'];
  const isTunnel = protocol === 4 || protocol === 41 || protocol === 47;
  if (!isTunnel || (Number(fields['ipv4.fragment'] ?? 0) & 0x3fff) !== 0) return;
  const found = decapsulate(frame);
  assert.notEqual(found.checksum, 'wrong');
  const type = found.innerFamily === 4 ? 0x0800 : 0x86dd;
  const inner = ethernet({ type }).payload(found.inner).build();
  assertChecksums(decode(inner), 'inside a tunnel');
}

function assertChecksums(fields: Fields, what: string): void {
  const isPart = (Number(fields['ipv4.fragment'] ?? 0) & 0x3fff) !== 0;
  for (const name of ['ipv4', 'tcp', 'udp', 'icmp', 'icmp6']) {
    const held = fields[`${name}.checksumIs`];
    if (name !== 'ipv4' && isPart) continue;
    assert.ok(held !== 'wrong' && held !== 'unfinished', `${name} is ${held}: ${what}`);
  }
}

function take(world: World, { sent }: Outcome): void {
  for (const side of [CLIENT_SIDE, SERVER_SIDE] as const) {
    for (const frame of sent[side]) {
      assertSound(world, side, frame);
      world.sent.push({ side, frame });
    }
  }
  world.sent.splice(0, Math.max(0, world.sent.length - 20));
}

function step(world: World): void {
  const { lot, simulation } = world;
  const kind = lot.below(12);
  let side: Side = CLIENT_SIDE;
  let frame: Uint8Array | null = null;
  if (kind < 6) frame = fromClient(world);
  else if (kind < 8) {
    side = SERVER_SIDE;
    frame = fromServer(world);
  } else if (kind < 10) {
    const about = error(world);
    if (about !== null) ({ side, frame } = about);
  } else if (kind === 10) take(world, simulation.advance(1 + lot.below(20)));
  else if (lot.below(2) === 0) take(world, simulation.jump(1000 + lot.below(9000)));
  else simulation.resolveAll();
  if (frame !== null) {
    const frames = pieces(world, frame);
    take(world, simulation.receive(side, frames, lot.below(2)));
  }
  simulation.assertNoLeak();
}

/** All connections are over: nothing counts them, nothing is kept for them. */
function assertNothingLeft({ simulation, family, protocol }: World): void {
  assert.deepEqual(simulation.connections(), []);
  const { connections, realServers, localAddresses, localPorts } = simulation.tables;
  assert.equal(connections.freeCount, connections.capacity);
  for (const { servers, localAddresses: locals } of simulation.director.services) {
    for (const { slot } of servers) assert.equal(realServers.references(slot), 0);
    for (const { slot } of locals) {
      assert.equal(localAddresses.connections(slot), 0);
      const real = addressWords(server(family));
      const number = protocol === 'tcp' ? 6 : 17;
      localPorts.setKey(
        localAddresses.words,
        localAddresses.addressAt(slot),
        real,
        0,
        8000,
        number,
      );
      assert.equal(localPorts.used, 0);
    }
  }
}

test('any traffic: no chunk is lost, what leaves fits and is whole', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const world = createWorld(seed);
      for (let count = 0; count < STEPS; count++) step(world);
      // The second time a persistence template may end too: all its connections have.
      for (const ticks of [20_000, 1000]) take(world, world.simulation.jump(ticks));
      take(world, world.simulation.advance(40));
      world.simulation.assertNoLeak();
      assertNothingLeft(world);
      for (const { pipeline } of world.simulation.workers) {
        assert.deepEqual([pipeline.egress.waiting, pipeline.fragments.held], [0, 0]);
      }
    }),
    { numRuns: RUNS },
  );
});
