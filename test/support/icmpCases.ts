/**
 * What tests of ICMP errors share: both families' addresses and numbers, connections to have errors
 * about, errors as routers and hosts send them.
 */
import assert from 'node:assert/strict';
import type { ServerSettings, ServiceKey } from '#xvs/control/protocol';
import { realServerTraffic } from '#xvs/table/counter';
import { decode, type Fields } from './decode';
import { ethernet, type PacketBuilder } from './packet';
import {
  CLIENT_SIDE,
  SERVER_SIDE,
  type Side,
  Simulation,
  type SimulationOptions,
  serverAddress,
  serverAddress6,
  VIP,
  VIP6,
} from './simulation';

export interface Family {
  readonly family: 4 | 6;
  /** Prefix of its fields. */
  readonly ip: 'ipv4' | 'ipv6';
  readonly icmp: 'icmp' | 'icmp6';
  readonly hops: 'ttl' | 'hopLimit';
  readonly headerBytes: number;
  readonly client: string;
  readonly router: string;
  readonly vip: string;
  readonly real: string;
  readonly serverRouter: string;
  /** The director's own address towards the servers. */
  readonly own: string;
  /** Of FULLNAT. */
  readonly local: string;
  readonly tooBig: readonly [number, number];
  readonly portUnreachable: readonly [number, number];
  readonly timeExceeded: readonly [number, number];
}

export const FAMILY4: Family = {
  family: 4,
  ip: 'ipv4',
  icmp: 'icmp',
  hops: 'ttl',
  headerBytes: 20,
  client: '10.0.1.100',
  router: '172.16.5.5',
  vip: VIP,
  real: serverAddress(1),
  serverRouter: serverAddress(4),
  own: '10.0.2.1',
  local: '10.0.2.7',
  tooBig: [3, 4],
  portUnreachable: [3, 3],
  timeExceeded: [11, 0],
};
export const FAMILY6: Family = {
  family: 6,
  ip: 'ipv6',
  icmp: 'icmp6',
  hops: 'hopLimit',
  headerBytes: 40,
  client: 'fd00:1::100',
  router: 'fd00:c::5',
  vip: VIP6,
  real: serverAddress6(1),
  serverRouter: serverAddress6(4),
  own: 'fd00:2::1',
  local: 'fd00:2::7',
  tooBig: [2, 0],
  portUnreachable: [1, 4],
  timeExceeded: [3, 0],
};
export const FAMILIES = [FAMILY4, FAMILY6] as const;

export const CLIENT_PORT = 40001;
export const SERVICE_PORT = 80;
export const REAL_PORT = 8000;

/** A packet's builder from one address to another. */
export function packet(
  family: Family,
  source: string,
  destination: string,
  more: { readonly hops?: number; readonly fragment?: number } = {},
): PacketBuilder {
  const { hops = 64, fragment = 0x4000 } = more;
  if (family.family === 4) {
    return ethernet().ipv4({ source, destination, ttl: hops, fragment });
  }
  return ethernet().ipv6({ source, destination, hopLimit: hops });
}

/** A packet without its Ethernet header; at most `bytes` of it. */
export function quote(builder: PacketBuilder, bytes = 2000): Uint8Array {
  return builder.build().subarray(14, 14 + bytes);
}

export interface ErrorFields {
  readonly rest?: number;
  readonly hops?: number;
  readonly checksum?: number;
}

/** An error from one address to another about what it quotes. */
export function errorFrame(
  family: Family,
  source: string,
  destination: string,
  [type, code]: readonly [number, number],
  quoted: Uint8Array,
  fields: ErrorFields = {},
): Uint8Array {
  const { rest = 0, hops = 64, checksum } = fields;
  const icmp = { type, code, rest, ...(checksum === undefined ? {} : { checksum }) };
  const builder = packet(family, source, destination, { hops });
  const whole = family.family === 4 ? builder.icmp(icmp) : builder.icmp6(icmp);
  return whole.payload(quoted).build();
}

export type Protocol = 'tcp' | 'udp';

/** One connection of the client, and what both sides see of it. */
export class Connected {
  readonly simulation: Simulation;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly service: ServiceKey;
  /** The request, as it left to the server. */
  readonly request: Uint8Array;
  readonly realPort: number;

  constructor(
    family: Family,
    protocol: Protocol,
    settings: Partial<ServerSettings> = {},
    real = family.real,
    options: SimulationOptions = {},
  ) {
    const simulation = new Simulation(options);
    const { method = 'nat' } = settings;
    const keepsPort = method === 'dr' || method === 'tunnel';
    this.realPort = keepsPort ? SERVICE_PORT : REAL_PORT;
    this.simulation = simulation;
    this.family = family;
    this.protocol = protocol;
    const key = { family: family.family, protocol, address: family.vip, port: SERVICE_PORT };
    this.service = simulation.addService(key);
    simulation.addServer(this.service, real, this.realPort, settings);
    if (method === 'fullnat') {
      simulation.director.execute({
        command: 'add-local-address',
        service: this.service,
        address: family.local,
      });
    }
    const outcome = simulation.receive(CLIENT_SIDE, this.fromClient().build());
    assert.equal(outcome.sent[SERVER_SIDE].length, 1, 'the connection is made');
    this.request = outcome.sent[SERVER_SIDE][0]!;
  }

  #transport(builder: PacketBuilder, source: number, destination: number): PacketBuilder {
    const withPorts =
      this.protocol === 'tcp'
        ? builder.tcp({ source, destination, sequence: 1000 })
        : builder.udp({ source, destination });
    return withPorts.payload('what is quoted');
  }

  /** What the client sends. */
  fromClient(more: { readonly hops?: number; readonly fragment?: number } = {}): PacketBuilder {
    const { client, vip } = this.family;
    const builder = packet(this.family, client, vip, more);
    return this.#transport(builder, CLIENT_PORT, SERVICE_PORT);
  }

  /** A reply as the client sees it. */
  replySeen(): PacketBuilder {
    const { client, vip } = this.family;
    return this.#transport(packet(this.family, vip, client), SERVICE_PORT, CLIENT_PORT);
  }

  /** Where the server believes that its client is. */
  get replyEnd(): { readonly address: string; readonly port: number } {
    const fields = decode(this.request);
    return {
      address: String(fields[`${this.family.ip}.source`]),
      port: Number(fields[`${this.protocol}.source`]),
    };
  }

  /** Packets and bytes counted for the server: in, out. */
  traffic(): { readonly in: readonly [number, number]; readonly out: readonly [number, number] } {
    const address = this.simulation.director.find(this.service)!.servers[0]!;
    const at = realServerTraffic(address.slot);
    const block = this.simulation.tables.counters[0]!;
    return { in: [block[at + 1]!, block[at + 3]!], out: [block[at + 2]!, block[at + 4]!] };
  }

  /** Lets an error in; the one frame that left, by fields, and where. */
  receive(side: Side, frame: Uint8Array): { readonly fields: Fields; readonly side: Side } {
    const { sent, host } = this.simulation.receive(side, frame);
    assert.deepEqual(host, [], 'nothing for the host');
    assert.equal(sent[0].length + sent[1].length, 1, 'one frame left');
    const out = sent[0].length === 1 ? CLIENT_SIDE : SERVER_SIDE;
    return { fields: decode(sent[out][0]!), side: out };
  }
}

/** The request as the server sees it. */
export function requestSeen(connected: Connected): PacketBuilder {
  const { family, protocol, realPort } = connected;
  const { address, port } = connected.replyEnd;
  const builder = packet(family, address, family.real);
  const sequence = new DataView(connected.request.buffer).getUint32(14 + family.headerBytes + 4);
  const ends = { source: port, destination: realPort };
  const whole = protocol === 'tcp' ? builder.tcp({ ...ends, sequence }) : builder.udp(ends);
  return whole.payload('what is quoted');
}

/** The link on one side gets another MTU. */
export function shrinkMtu(simulation: Simulation, side: Side, mtu: number): void {
  const { links } = simulation.tables.nextHops;
  const word = (at: number): number => links.address6(side, at);
  links.set(side, {
    interfaceIndex: links.interfaceIndex(side),
    macHigh: links.macHigh(side),
    macLow: links.macLow(side),
    mtu,
    up: true,
    address: links.address(side),
    address6: [word(0), word(1), word(2), word(3)],
  });
}
