/**
 * What tests of tunnels share: every tunnel there is, a director with one tunnelled real server,
 * and packets of its client.
 */
import assert from 'node:assert/strict';
import type { ServerSettings, ServiceKey } from '#xvs/control/protocol';
import { decapsulate } from './decapsulate';
import { decode, type Fields } from './decode';
import { ethernet, type PacketBuilder } from './packet';
import { type Outcome, Simulation, serverAddress, serverAddress6, VIP, VIP6 } from './simulation';

export type Family = 4 | 6;
export type Tunnel = ServerSettings['tunnel'];

export const IPIP: Tunnel = { type: 'ipip', port: 0, checksum: 'nocsum' };
export const GUE: Tunnel = { type: 'gue', port: 6080, checksum: 'nocsum' };
export const TUNNELS: readonly { readonly tunnel: Tunnel; readonly bytes: number }[] = [
  { tunnel: IPIP, bytes: 0 },
  { tunnel: GUE, bytes: 12 },
  { tunnel: { ...GUE, checksum: 'csum' }, bytes: 12 },
  { tunnel: { ...GUE, checksum: 'remcsum' }, bytes: 12 },
  { tunnel: { type: 'gre', port: 0, checksum: 'nocsum' }, bytes: 4 },
  { tunnel: { type: 'gre', port: 0, checksum: 'csum' }, bytes: 8 },
];
export const FAMILIES: readonly Family[] = [4, 6];
export const IP_BYTES = { 4: 20, 6: 40 } as const;
/** The director's addresses on the servers' side, and rs1's, as `decapsulate` gives them. */
export const OWN = { 4: '10.0.2.1', 6: 'fd000002000000000000000000000001' } as const;
export const SERVER = { 4: '10.0.2.11', 6: 'fd000002000000000000000000000011' } as const;
export const LINK_MTU = 1500;

export interface Stand {
  readonly simulation: Simulation;
  readonly service: ServiceKey;
  /** Bytes in front of a packet. */
  readonly overhead: number;
}

interface StandOptions {
  readonly inner?: Family;
  readonly outer?: Family;
  readonly tunnel?: Tunnel;
  readonly protocol?: 'tcp' | 'udp';
  readonly server?: string;
  readonly neighbours?: boolean;
}

/** A service of one tunnelled server, rs1 unless given. */
export function stand(options: StandOptions = {}): Stand {
  const { inner = 4, outer = 4, tunnel = IPIP, protocol = 'tcp', neighbours = true } = options;
  const simulation = new Simulation({ neighbours });
  const family = inner;
  const service = simulation.addService(
    {
      family,
      protocol,
      address: inner === 4 ? VIP : VIP6,
      port: 80,
    },
    { netmask: inner === 4 ? '255.255.255.255' : '128' },
  );
  const server = options.server ?? (outer === 4 ? serverAddress(1) : serverAddress6(1));
  simulation.addServer(service, server, 80, { method: 'tunnel', tunnel });
  const kind = TUNNELS.find(
    (one) => one.tunnel.type === tunnel.type && one.tunnel.checksum === tunnel.checksum,
  )!;
  return { simulation, service, overhead: IP_BYTES[outer] + kind.bytes };
}

interface PacketOptions {
  readonly ttl?: number;
  readonly dontFragment?: boolean;
  readonly flags?: string;
  readonly source?: number;
}

/** A packet of the client, `total` bytes long. */
export function packet(
  family: Family,
  protocol: 'tcp' | 'udp',
  total: number,
  options: PacketOptions = {},
) {
  const { ttl = 64, dontFragment = true, flags = 'S', source = 40001 } = options;
  const start: PacketBuilder =
    family === 4
      ? ethernet().ipv4({ ttl, fragment: dontFragment ? 0x4000 : 0 })
      : ethernet().ipv6({ hopLimit: ttl });
  const headers = IP_BYTES[family] + (protocol === 'tcp' ? 20 : 8);
  const whole = protocol === 'tcp' ? start.tcp({ flags, source }) : start.udp({ source });
  return whole.payload(new Uint8Array(total - headers).fill(0x61)).build();
}

/** The one frame that left, by this side, while the host was given nothing. */
export function only(outcome: Outcome, side: 0 | 1): Uint8Array {
  assert.equal(outcome.sent[side].length, 1);
  assert.equal(outcome.sent[1 - side]!.length, 0);
  assert.equal(outcome.host.length, 0);
  return outcome.sent[side][0]!;
}

/** The packet in a tunnel's frame, decoded. */
export const inside = (frame: Uint8Array): Fields =>
  decode(
    ethernet({ type: decapsulate(frame).innerFamily === 4 ? 0x0800 : 0x86dd })
      .payload(decapsulate(frame).inner)
      .build(),
  );
