/**
 * Traffic of every kind from a seed: services of all methods, clients, real servers that answer
 * what they were sent, routers with something to say about it, fragments in any order.
 */
import type { ServerSettings, ServiceKey } from '#xvs/control/protocol';
import { cut } from './cut';
import { decode } from './decode';
import { shrinkMtu } from './icmpCases';
import { type Checksum, ethernet, type PacketBuilder } from './packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  type Side,
  Simulation,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
} from './simulation';
import { type Family, TUNNELS } from './tunnelStand';

const METHODS = ['nat', 'dr', 'tunnel', 'fullnat'] as const;
const CLIENT = { 4: '10.0.1.100', 6: 'fd00:1::100' } as const;
const LOCAL = { 4: '10.0.2.1', 6: 'fd00:2::1' } as const;
const ROUTER = { 4: '10.0.1.200', 6: 'fd00:1::200' } as const;
export const server = (family: Family): string =>
  family === 4 ? serverAddress(1) : serverAddress6(1);
const virtual = (family: Family): string => (family === 4 ? VIP : VIP6);

/** Numbers from a seed; what is drawn is drawn again with the same one. */
export class Lot {
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

export interface World {
  readonly lot: Lot;
  readonly simulation: Simulation;
  readonly family: Family;
  readonly method: ServerSettings['method'];
  readonly protocol: 'tcp' | 'udp';
  readonly mtu: Record<Side, number>;
  /** What has left lately. */
  readonly sent: { readonly side: Side; readonly frame: Uint8Array }[];
}

export function createWorld(seed: number): World {
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

export const fromClient = (world: World): Uint8Array => {
  const { lot, family } = world;
  const ends = { source: 40000 + lot.below(3), destination: 80 };
  return transport(world, ip(world, CLIENT[family], virtual(family)), ends, false);
};

/** An answer of the server to something that it was sent. */
export function fromServer(world: World): Uint8Array | null {
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
export function error({ lot, sent }: World): { side: Side; frame: Uint8Array } | null {
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
export function pieces({ lot }: World, frame: Uint8Array): Uint8Array[] {
  const isIpv4 = frame[12] === 8 && frame[13] === 0;
  const isWhole = isIpv4 ? (frame[20]! & 0x40) === 0 : true;
  const fields = decode(frame);
  const isComplete = fields['tcp.checksumIs'] ?? fields['udp.checksumIs'];
  // Who leaves its checksum to a device does not fragment.
  if (!isWhole || isComplete === 'unfinished' || lot.below(3) > 0) return [frame];
  const all = cut(frame, lot.of([64, 400, 1000]), lot.below(0x10000));
  return lot.below(2) === 0 ? all : all.filter(() => lot.below(8) > 0).reverse();
}
