/**
 * Services, servers, routes and neighbours of the bench's directors:
 *
 *   clients -- gateway -- client side, director, server side -- eight real servers
 */
import { Director } from '#xvs/control/director';
import { addressWords } from '#xvs/net/address';
import type { HostAddress } from '#xvs/table/address6';
import type { Tables } from '#xvs/table/memory';
import { ROUTE_UNICAST, type Route, type Route6 } from '#xvs/table/route';
import { isOneWay, type Row } from './row';

export const CLIENT_SIDE = 0;
export const SERVER_SIDE = 1;
export const VIRTUAL_PORT = 80;
export const SERVER_PORT = 8000;
export const SERVER_COUNT = 8;
/** Last two bytes of the first server's MAC; the others follow. */
export const SERVER_MAC_LOW = 0x10;
export const GATEWAY_MAC_LOW = 0xfe;
export const GUE_PORT = 5555;

interface Plan {
  readonly virtual: string;
  readonly gateway: string;
  /** The director's own, on either side. */
  readonly own: readonly [string, string];
  readonly server: (number: number) => string;
  /** Each gives 64,511 connections to each server. */
  readonly local: readonly string[];
  /** Address 0 of the clients. */
  readonly clients: string;
}

/** Enough local addresses for ten million connections. */
const localNumbers = Array.from({ length: 24 }, (_, at) => 200 + at);

const PLANS: Readonly<Record<4 | 6, Plan>> = {
  4: {
    virtual: '198.51.100.1',
    gateway: '198.51.100.254',
    own: ['198.51.100.2', '10.0.0.1'],
    server: (number) => `10.0.0.${16 + number}`,
    local: localNumbers.map((number) => `10.0.0.${number}`),
    clients: '172.16.0.1',
  },
  6: {
    virtual: '2001:db8:1::1',
    gateway: '2001:db8:1::fe',
    own: ['2001:db8:1::2', 'fd00:2::1'],
    server: (number) => `fd00:2::${(16 + number).toString(16)}`,
    local: localNumbers.map((number) => `fd00:2::${number.toString(16)}`),
    clients: '2001:db8:100::1',
  },
};

export function virtualAddress(row: Row): Int32Array {
  return addressWords(PLANS[row.family].virtual);
}

export function serverAddress(row: Row, number: number): Int32Array {
  return addressWords(PLANS[row.family].server(number));
}

/** The director's address towards the servers: what tunnels come from. */
export function ownAddress(row: Row): Int32Array {
  return addressWords(PLANS[row.family].own[SERVER_SIDE]);
}

const clientsFirst = { 4: addressWords(PLANS[4].clients), 6: addressWords(PLANS[6].clients) };

/** Words of the client's address; they hold until the next call. */
export function clientAddress(row: Row, number: number): Int32Array {
  const words = clientWords;
  words.set(clientsFirst[row.family]);
  words[row.family === 4 ? 0 : 3]! += number;
  return words;
}
const clientWords = new Int32Array(4);

/** The row's service, with as many servers as there are addresses for. */
export function addService(
  tables: Tables,
  row: Row,
  scheduler = 'rr',
  servers = SERVER_COUNT,
): void {
  const { family, protocol, method } = row;
  const plan = PLANS[family];
  const director = new Director(tables);
  const address = plan.virtual;
  const service = { family, protocol, address, port: VIRTUAL_PORT, fwmark: 0 } as const;
  director.execute({
    command: 'add-service',
    service,
    settings: {
      scheduler,
      persistentTimeout: 0,
      netmask: family === 4 ? '255.255.255.255' : '128',
      onePacket: false,
      schedulerFlags: [false, false, false],
      persistenceEngine: '',
    },
  });
  if (method === 'fullnat') {
    for (const local of plan.local) {
      director.execute({ command: 'add-local-address', service, address: local });
    }
  }
  const port = isOneWay(row) ? VIRTUAL_PORT : SERVER_PORT;
  for (let number = 0; number < servers; number++) {
    director.execute({
      command: 'add-server',
      service,
      server: { family, address: plan.server(number), port },
      settings: {
        method,
        weight: 1,
        upperThreshold: 0,
        lowerThreshold: 0,
        tunnel: {
          type: row.tunnel,
          port: row.tunnel === 'gue' ? GUE_PORT : 0,
          checksum: 'nocsum',
        },
      },
    });
  }
}

/** An address as the tables of next hops take it. */
function host(text: string): HostAddress {
  const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = addressWords(text);
  return text.includes(':') ? [word0, word1, word2, word3] : word0;
}

export function addNextHops(
  tables: Tables,
  { family }: Row,
  tick: number,
  servers = SERVER_COUNT,
): void {
  const { nextHops } = tables;
  const plan = PLANS[family];
  plan.own.forEach((text, slot) => {
    const own = host(text);
    nextHops.links.set(slot, {
      interfaceIndex: 2 + slot,
      macHigh: 0x02000000 | slot,
      macLow: 0x0001,
      mtu: 1500,
      up: true,
      ...(typeof own === 'number' ? { address: own } : { address: 0, address6: own }),
    });
  });
  const gateway = host(plan.gateway);
  if (typeof gateway === 'number') nextHops.replaceRoutes([routes4(gateway)]);
  else nextHops.replaceRoutes6([routes6(gateway)]);
  nextHops.putResolved(CLIENT_SIDE, gateway, 0x02000000, GATEWAY_MAC_LOW, tick);
  for (let number = 0; number < servers; number++) {
    const server = host(plan.server(number));
    nextHops.putResolved(SERVER_SIDE, server, 0x02000001, SERVER_MAC_LOW + number, tick);
  }
}

const NO_GATEWAY = [0, 0, 0, 0] as const;

function routes4(gateway: number): Route[] {
  const rest = { kind: ROUTE_UNICAST, preferredSource: 0, mtu: 0 } as const;
  const route = (prefix: string, prefixLength: number, interfaceSlot: number, via: number) => ({
    ...rest,
    destination: addressWords(prefix)[0]!,
    prefixLength,
    interfaceSlot,
    gateway: via,
  });
  return [
    route('198.51.100.0', 24, CLIENT_SIDE, 0),
    route('10.0.0.0', 24, SERVER_SIDE, 0),
    route('172.16.0.0', 12, CLIENT_SIDE, gateway),
  ];
}

function routes6(gateway: Exclude<HostAddress, number>): Route6[] {
  const rest = { kind: ROUTE_UNICAST, preferredSource: NO_GATEWAY, mtu: 0 } as const;
  const route = (
    prefix: string,
    prefixLength: number,
    interfaceSlot: number,
    via: Exclude<HostAddress, number>,
  ): Route6 => ({
    ...rest,
    destination: host(prefix) as Exclude<HostAddress, number>,
    prefixLength,
    interfaceSlot,
    gateway: via,
  });
  return [
    route('2001:db8:1::', 64, CLIENT_SIDE, NO_GATEWAY),
    route('fd00:2::', 64, SERVER_SIDE, NO_GATEWAY),
    route('2001:db8:100::', 48, CLIENT_SIDE, gateway),
  ];
}
