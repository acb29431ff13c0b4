/**
 * Services for the exercise, one for each way to forward: every method and tunnel, both families,
 * real servers of the other family behind tunnels, TCP, UDP and SCTP. Each has one real server.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import { PROTOCOL_SCTP } from '../net/sctp';
import type { Address6 } from '../table/address6';
import { LOCAL_PORT_FIRST, LOCAL_PORT_LAST, LOCAL_PORTS } from '../table/localPort';
import type { Tables } from '../table/memory';
import { NEIGHBOUR_FAILED } from '../table/neighbour';
import {
  METHOD_DR,
  METHOD_FULLNAT,
  METHOD_NAT,
  METHOD_TUNNEL,
  type RealServerSettings,
  TUNNEL_CHECKSUM,
  TUNNEL_GRE,
  TUNNEL_GUE,
  TUNNEL_IPIP,
  TUNNEL_REMOTE_CHECKSUM,
  TUNNEL_WITHOUT_CHECKSUM,
} from '../table/realServer';
import { ROUTE_LOCAL, ROUTE_UNICAST, type Route6 } from '../table/route';
import {
  framesTo,
  oddFrames,
  type Repeated,
  type Target,
  VIRTUAL_ADDRESS,
  VIRTUAL_ADDRESS6,
} from './exerciseFrames';

const SERVER = 0x0a020003; // 10.2.0.3
const LOCAL = 0x0a020001;
/** Where a real server is, in either family. */
export interface Place {
  readonly four: number;
  readonly six: Address6;
}
export const USUAL: Place = { four: SERVER, six: [0xfd020000 | 0, 0, 0, 3] };
/** Where neighbours are known: hosts 2 to 33 of each net. */
const HOSTS = 32;
const CLIENT_NET6: Address6 = [0xfd010000 | 0, 0, 0, 0];
const SERVER_NET6: Address6 = [0xfd020000 | 0, 0, 0, 0];
const NO_ADDRESS: Address6 = [0, 0, 0, 0];
const MAC_HIGH = 0x02000000;
const FIRST_PORT = 4000;
const GUE_PORT = 6080;
/** Local ports that are taken for good, by whom in locks. */
const TAKEN_FIRST = 1032;
const TAKEN_LAST = 1200;
const OWNER = 1;
/** Services that nobody asks for: they crowd the index. */
const CROWD_PORT = 30000;
const CROWD = 2048;
const CLIENT_SIDE = 0;
const SERVER_SIDE = 1;

export interface Way {
  readonly method: number;
  readonly tunnelType: number;
  readonly tunnelChecksum: number;
  readonly protocols: readonly number[];
  /** Is the real server of the other family? */
  readonly isOther: boolean;
}

const ALL = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];
const MOST = [PROTOCOL_TCP, PROTOCOL_UDP];
export const way = (method: number, protocols: readonly number[]): Way => ({
  method,
  protocols,
  tunnelType: TUNNEL_IPIP,
  tunnelChecksum: TUNNEL_WITHOUT_CHECKSUM,
  isOther: false,
});
export const tunnel = (tunnelType: number, tunnelChecksum: number, isOther = false): Way => ({
  ...way(METHOD_TUNNEL, MOST),
  tunnelType,
  tunnelChecksum,
  isOther,
});
const WAYS: readonly Way[] = [
  way(METHOD_NAT, ALL),
  way(METHOD_DR, ALL),
  way(METHOD_FULLNAT, ALL),
  tunnel(TUNNEL_IPIP, TUNNEL_WITHOUT_CHECKSUM),
  tunnel(TUNNEL_IPIP, TUNNEL_WITHOUT_CHECKSUM, true),
  tunnel(TUNNEL_GUE, TUNNEL_WITHOUT_CHECKSUM),
  tunnel(TUNNEL_GUE, TUNNEL_CHECKSUM),
  tunnel(TUNNEL_GUE, TUNNEL_REMOTE_CHECKSUM),
  tunnel(TUNNEL_GUE, TUNNEL_CHECKSUM, true),
  tunnel(TUNNEL_GRE, TUNNEL_WITHOUT_CHECKSUM),
  tunnel(TUNNEL_GRE, TUNNEL_CHECKSUM, true),
];

function host(net: Address6, number: number): Address6 {
  return [net[0], net[1], net[2], number];
}

function route6(destination: Address6, prefixLength: number, slot: number): Route6 {
  return {
    destination,
    prefixLength,
    kind: slot < 0 ? ROUTE_LOCAL : ROUTE_UNICAST,
    interfaceSlot: slot,
    gateway: NO_ADDRESS,
    preferredSource: NO_ADDRESS,
    mtu: 0,
  };
}

/** IPv6 routes of every kind, in place of those there were. */
export function layRoutes6({ nextHops }: Tables): void {
  const nets = [CLIENT_NET6, SERVER_NET6];
  nextHops.replaceRoutes6([
    [
      ...nets.map((net, slot) => route6(net, 32, slot)),
      // Of its own MTU; by a gateway; by an interface that is not served.
      { ...route6([0xfd020000 | 0, 1, 0, 0], 64, SERVER_SIDE), mtu: 1400 },
      { ...route6([0xfd040000 | 0, 0, 0, 0], 32, SERVER_SIDE), gateway: host(SERVER_NET6, 2) },
      { ...route6([0xfd050000 | 0, 0, 0, 0], 32, -1), kind: ROUTE_UNICAST },
      ...[VIRTUAL_ADDRESS6, ...nets.map((net) => host(net, 1))].map((own) => route6(own, 128, -1)),
    ],
  ]);
}

/** IPv6 neighbours on both sides, one of which has failed. */
export function addNextHops6(tables: Tables, tick: number): void {
  const { nextHops } = tables;
  const nets = [CLIENT_NET6, SERVER_NET6];
  nextHops.putUnresolved(SERVER_SIDE, host(SERVER_NET6, 0x102), NEIGHBOUR_FAILED, tick);
  for (const [slot, net] of nets.entries()) {
    for (let number = 2; number < 2 + HOSTS; number++) {
      nextHops.putResolved(slot, host(net, number), MAC_HIGH, number, tick);
    }
  }
}

/** An interface's own IPv6 address. */
export function ownAddress6(slot: number): Address6 {
  return host(slot === CLIENT_SIDE ? CLIENT_NET6 : SERVER_NET6, 1);
}

/** Makes the services. Returns what clients send to them, in an order that makes sense. */
export function addWays(tables: Tables): Repeated[] {
  const frames: Repeated[] = [];
  let number = 0;
  for (const family of [4, 6] as const) {
    for (const one of WAYS) {
      for (const protocol of one.protocols) {
        const target: Target = { family, protocol, port: FIRST_PORT + number };
        addService(tables, target, one);
        frames.push(...framesTo(target, number));
        number++;
      }
    }
  }
  const udp: Target = { family: 6, protocol: PROTOCOL_UDP, port: FIRST_PORT };
  const tcp: Target = { family: 6, protocol: PROTOCOL_TCP, port: FIRST_PORT };
  frames.push(...oddFrames(udp, tcp));
  const address = Int32Array.from(VIRTUAL_ADDRESS6);
  for (let port = CROWD_PORT; port < CROWD_PORT + CROWD; port++) {
    tables.services.create({ family: 6, protocol: PROTOCOL_UDP, address, port, fwmark: 0 }, 0);
  }
  return frames;
}

function words(family: 4 | 6, four: number, six: Address6): Int32Array {
  return Int32Array.from(family === 4 ? [four, 0, 0, 0] : six);
}

/** Returns the service's slot. */
export function addService(tables: Tables, target: Target, one: Way, place?: Place): number {
  const { services, localAddresses } = tables;
  const { family, protocol, port } = target;
  const address = words(family, VIRTUAL_ADDRESS, VIRTUAL_ADDRESS6);
  const service = services.create({ family, protocol, address, port, fwmark: 0 }, 0);
  const server = addServer(tables, service, family, one, place);
  if (one.method !== METHOD_FULLNAT) return service;
  for (const last of [0, 1]) {
    const local = words(family, LOCAL + (last << 8), host(SERVER_NET6, 1 + (last << 8)));
    localAddresses.list(localAddresses.create(service, local));
    const isCrowded = last === 0 && place === undefined && protocol === PROTOCOL_UDP;
    if (isCrowded) crowdPorts(tables, local, server, protocol);
  }
  return service;
}

/** Gives a service of `family` its one real server. */
export function addServer(
  tables: Tables,
  service: number,
  family: 4 | 6,
  one: Way,
  { four, six } = USUAL,
): number {
  const { services, realServers } = tables;
  const other = family === 4 ? 6 : 4;
  const serverFamily = one.isOther ? other : family;
  const isMapped = one.method === METHOD_NAT || one.method === METHOD_FULLNAT;
  const server = realServers.create(service, {
    family: serverFamily,
    address: words(serverFamily, four, six),
    port: isMapped ? 8000 : services.port(service),
  });
  realServers.configure(server, settingsOf(one));
  realServers.setAvailable(server, service, true);
  services.setFirstServer(service, server);
  return server;
}

/** Takes a run of a local address's ports for good: who looks for a free one meets full words. */
function crowdPorts(tables: Tables, local: Int32Array, server: number, protocol: number): void {
  const { localPorts, realServers } = tables;
  const real = Int32Array.from([0, 1, 2, 3].map((word) => realServers.addressWord(server, word)));
  localPorts.setKey(local, 0, real, 0, realServers.port(server), protocol);
  for (let count = 0; count < LOCAL_PORTS; count++) localPorts.allocate(OWNER);
  for (let port = LOCAL_PORT_FIRST; port <= LOCAL_PORT_LAST; port++) {
    const isTaken = port >= TAKEN_FIRST && port <= TAKEN_LAST;
    if (!isTaken) localPorts.release(port);
  }
}

function settingsOf(one: Way): RealServerSettings {
  return {
    method: one.method,
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnelType: one.tunnelType,
    tunnelPort: one.tunnelType === TUNNEL_GUE ? GUE_PORT : 0,
    tunnelChecksum: one.tunnelChecksum,
  };
}
