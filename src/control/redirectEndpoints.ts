/**
 * What the XDP program is told of services and real servers: four of its maps, and what the buckets
 * of endpoints repeat. Keys as native/xsk-napi/bpf/maps.h declares them: addresses and ports in
 * network order, IPv4 in the first four bytes, marks as the machine has them.
 */
import { addressWords, parseIpv4 } from '../net/address';
import type { RealServer } from './model';
import type { AddressFamily, ServiceKey } from './protocol';
import type { RedirectBuckets } from './redirectBuckets';
import { commitAll, type MapWriter, RedirectMap } from './redirectMap';
import { PROTOCOL_NUMBERS } from './tableValues';

const PROTOCOLS = Object.values(PROTOCOL_NUMBERS);
/** IP protocols of tunnels; that of ipip is by the inner packet's family. */
const PROTOCOL_IPIP: Readonly<Record<AddressFamily, number>> = { 4: 4, 6: 41 };
const PROTOCOL_UDP = 17;
const PROTOCOL_GRE = 47;
const SERVICE = 1;
/** Bits of `real_servers`. */
const SERVER_REPLIES = 1;
const SERVER_TUNNEL = 2;
/** Where the values of `services` and `real_servers` stand in the kinds of endpoints. */
const KIND_SERVICE_SHIFT = 0;
const KIND_SERVER_SHIFT = 1;
/** Bits of `fragment_addresses`. */
const FRAGMENTS_TO_SERVICE = 1;
const FRAGMENTS_FROM_SERVER = 2;
/** Values of `mark_services`. */
const MARK_OF_FAMILY: Readonly<Record<AddressFamily, number>> = { 4: 1, 6: 2 };
/** struct endpoint_key and struct address_key, and where their members stand. */
const ENDPOINT_BYTES = 24;
export const ADDRESS_BYTES = 20;
const MARK_BYTES = 4;
const PORT_AT = 16;
const PROTOCOL_AT = 18;
const FAMILY_AT = 19;
const ADDRESS_FAMILY_AT = 16;

type Server = Pick<RealServer, 'key' | 'settings'>;

export class RedirectEndpoints {
  readonly #services: RedirectMap;
  readonly #servers: RedirectMap;
  readonly #fragments: RedirectMap;
  readonly #marks: RedirectMap;
  #wildcardServices = false;
  #wildcardServers = false;

  constructor(program: MapWriter, buckets: RedirectBuckets) {
    const service = buckets.ofEndpoints(KIND_SERVICE_SHIFT);
    const server = buckets.ofEndpoints(KIND_SERVER_SHIFT);
    this.#services = new RedirectMap(program, 'services', ENDPOINT_BYTES, service);
    this.#servers = new RedirectMap(program, 'real_servers', ENDPOINT_BYTES, server);
    this.#fragments = new RedirectMap(program, 'fragment_addresses', ADDRESS_BYTES);
    this.#marks = new RedirectMap(program, 'mark_services', MARK_BYTES);
  }

  /** From now to `commit` all services and servers are put; else, what is put is added. */
  begin(): void {
    this.#wildcardServices = false;
    this.#wildcardServers = false;
    this.#services.begin();
    this.#servers.begin();
    this.#fragments.begin();
    this.#marks.begin();
  }

  commit(): void {
    commitAll([this.#services, this.#servers, this.#fragments, this.#marks]);
  }

  /** Is there a service for every port? */
  get hasWildcardServices(): boolean {
    return this.#wildcardServices;
  }
  /** Is there a server whose replies come from any port? */
  get hasWildcardServers(): boolean {
    return this.#wildcardServers;
  }
  get hasServices(): boolean {
    return this.#services.size > 0 || this.#marks.size > 0;
  }
  get hasMarks(): boolean {
    return this.#marks.size > 0;
  }

  putService(key: ServiceKey): void {
    const { family, address, port, fwmark } = key;
    if (fwmark !== 0) {
      this.#marks.key.setUint32(0, fwmark, IS_LITTLE_ENDIAN);
      this.#marks.want(MARK_OF_FAMILY[family]);
      return;
    }
    if (port === 0) this.#wildcardServices = true;
    putAddress(this.#services.key, family, address);
    wantEndpoint(this.#services, family, port, PROTOCOL_NUMBERS[key.protocol], SERVICE);
    this.#wantFragments(family, address, FRAGMENTS_TO_SERVICE);
  }

  /**
   * Replies come from a server's port. A service of a mark, or of every port, sends its clients to
   * any port of a server: then all that a NAT server sends is taken. What has no connection goes
   * back to the host.
   */
  putServer(service: ServiceKey, { key, settings }: Server): void {
    const { family, address, port } = key;
    const servers = this.#servers;
    const isNat = settings.method === 'nat' || settings.method === 'fullnat';
    putAddress(servers.key, family, address);
    if (settings.method === 'tunnel') wantTunnel(servers, service, { key, settings });
    if (isNat) this.#wantFragments(family, address, FRAGMENTS_FROM_SERVER);
    if (service.fwmark === 0 && service.port !== 0) {
      if (port === 0) this.#wildcardServers = true;
      const protocol = PROTOCOL_NUMBERS[service.protocol];
      wantEndpoint(servers, family, port, protocol, SERVER_REPLIES);
      return;
    }
    if (!isNat) return;
    this.#wildcardServers = true;
    const protocols = service.fwmark === 0 ? [PROTOCOL_NUMBERS[service.protocol]] : PROTOCOLS;
    for (const protocol of protocols) wantEndpoint(servers, family, 0, protocol, SERVER_REPLIES);
  }

  #wantFragments(family: AddressFamily, address: string, bits: number): void {
    putAddressKey(this.#fragments.key, family, address);
    this.#fragments.want(bits);
  }
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

function putAddress(key: DataView, family: AddressFamily, address: string): void {
  if (family === 4) {
    key.setInt32(0, parseIpv4(address));
    for (let at = 4; at < 16; at += 4) key.setInt32(at, 0);
    return;
  }
  const words = addressWords(address);
  for (let word = 0; word < 4; word++) key.setInt32(word * 4, words[word]!);
}

/** struct address_key. */
export function putAddressKey(key: DataView, family: AddressFamily, address: string): void {
  putAddress(key, family, address);
  key.setUint8(ADDRESS_FAMILY_AT, family);
}

/** The rest of a struct endpoint_key whose address is there. */
function wantEndpoint(
  map: RedirectMap,
  family: AddressFamily,
  port: number,
  protocol: number,
  bits: number,
): void {
  map.key.setUint16(PORT_AT, port);
  map.key.setUint8(PROTOCOL_AT, protocol);
  map.key.setUint8(FAMILY_AT, family);
  map.want(bits);
}

/** The outer packets to a tunnel's far end: a router may have something to say about them. */
function wantTunnel(servers: RedirectMap, service: ServiceKey, { key, settings }: Server): void {
  const { type, port } = settings.tunnel;
  const protocol =
    type === 'gue' ? PROTOCOL_UDP : type === 'gre' ? PROTOCOL_GRE : PROTOCOL_IPIP[service.family];
  wantEndpoint(servers, key.family, type === 'gue' ? port : 0, protocol, SERVER_TUNNEL);
}
