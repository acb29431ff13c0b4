/**
 * Tells the XDP program which frames may be ours: services, NAT real servers (their replies) and
 * the host's own addresses. Removed services and servers stay redirected while connections refer
 * to them, so that these are answered as IPVS answers them. Keys as native/xsk-napi/bpf says.
 */

import { addressBytes, formatIpv4 } from '../net/address';
import type { XdpProgram } from '../port/addon';
import type { Director } from './director';
import type { ServerKey, ServiceKey } from './protocol';

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const OWN_ADDRESS = 1;

type Entries = Map<string, { readonly key: Uint8Array; readonly value: Uint8Array }>;

export class Redirect {
  readonly #program: XdpProgram;
  readonly #held: Readonly<Record<string, Entries>> = {
    services: new Map(),
    real_servers: new Map(),
    local_addresses: new Map(),
  };

  constructor(program: XdpProgram) {
    this.#program = program;
    this.#program.mapUpdate('settings', new Uint8Array(4), word(0));
  }

  /** Services and real servers as the director has them now. */
  updateServices(director: Director): void {
    const services: Entries = new Map();
    const servers: Entries = new Map();
    for (const service of director.services) {
      put(services, endpointKey(service.key, service.key.protocol), 1);
      for (const server of service.servers) {
        put(servers, endpointKey(server.key, service.key.protocol), 1);
      }
    }
    for (const { service, server } of director.services.length > 0 ? director.trash : []) {
      if (director.tables.realServers.references(server.slot) === 0) continue;
      put(services, endpointKey(service, service.protocol), 1);
      put(servers, endpointKey(server.key, service.protocol), 1);
    }
    this.#replace('services', services);
    this.#replace('real_servers', servers);
  }

  /** The host's own IPv4 addresses: what goes to them from a real server is the host's. */
  updateLocalAddresses(addresses: readonly number[]): void {
    const entries: Entries = new Map();
    for (const address of addresses) {
      const key = new Uint8Array(20);
      key.set(addressBytes(formatIpv4(address)));
      key[16] = 4;
      put(entries, key, OWN_ADDRESS);
    }
    this.#replace('local_addresses', entries);
  }

  /** New entries first: nothing that stays is ever missing. */
  #replace(map: string, wanted: Entries): void {
    const held = this.#held[map]!;
    for (const [id, entry] of wanted) {
      if (!held.has(id)) this.#program.mapUpdate(map, entry.key, entry.value);
    }
    for (const [id, entry] of held) {
      if (!wanted.has(id)) this.#program.mapDelete(map, entry.key);
    }
    held.clear();
    for (const [id, entry] of wanted) held.set(id, entry);
  }
}

/** struct endpoint of the XDP program: address[16], port (network order), protocol, family, 0. */
function endpointKey(
  endpoint: ServiceKey | ServerKey,
  protocol: ServiceKey['protocol'],
): Uint8Array {
  const key = new Uint8Array(24);
  key.set(addressBytes(endpoint.address));
  new DataView(key.buffer).setUint16(16, endpoint.port);
  key[18] = PROTOCOL_NUMBERS[protocol];
  key[19] = endpoint.family;
  return key;
}

function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

function put(entries: Entries, key: Uint8Array, value: number): void {
  entries.set(Buffer.from(key).toString('hex'), { key, value: word(value) });
}
