/**
 * Tells the XDP program which frames may be ours: services, NAT real servers (their replies), the
 * host's own addresses and what the mark rules mark for a service. Removed services and servers
 * stay redirected while connections refer to them, so that these are answered as IPVS answers
 * them. Keys as native/xsk-napi/bpf says.
 */

import { addressBytes, formatIpv4 } from '../net/address';
import type { XdpProgram } from '../port/addon';
import type { Director } from './director';
import type { RealServer } from './model';
import type { Command, ServerKey, ServiceKey } from './protocol';

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;
const OWN_ADDRESS = 1;
/** Bits of the program's settings word; the number of mark rules stands above them. */
const WILDCARD_SERVICES = 1;
const WILDCARD_REAL_SERVERS = 2;
const MARK_RULES_SECOND = 16;
const MARK_COUNT_SHIFT = 16;
/** Values of `mark_services`. */
const MARK_OF_FAMILY = { 4: 1, 6: 2 } as const;

type Entries = Map<string, { readonly key: Uint8Array; readonly value: Uint8Array }>;

export class Redirect {
  readonly #program: XdpProgram;
  readonly #held: Readonly<Record<string, Entries>> = {
    services: new Map(),
    real_servers: new Map(),
    local_addresses: new Map(),
    mark_services: new Map(),
    interfaces: new Map(),
  };
  #wildcards = 0;
  #marks = 0;

  constructor(program: XdpProgram) {
    this.#program = program;
    this.#writeSettings();
  }

  /** Services and real servers as the director has them now. */
  updateServices(director: Director): void {
    const services: Entries = new Map();
    const servers: Entries = new Map();
    const marks: Entries = new Map();
    for (const service of director.services) {
      putService(services, marks, service.key);
      for (const server of service.servers) putServer(servers, service.key, server);
    }
    for (const { service, server } of director.services.length > 0 ? director.trash : []) {
      if (director.tables.realServers.references(server.slot) === 0) continue;
      putService(services, marks, service);
      putServer(servers, service, server);
    }
    this.#replace('services', services);
    this.#replace('real_servers', servers);
    this.#replace('mark_services', marks);
    this.#wildcards =
      (hasWildcard(services) ? WILDCARD_SERVICES : 0) |
      (hasWildcard(servers) ? WILDCARD_REAL_SERVERS : 0);
    this.#writeSettings();
  }

  /**
   * After one command. What it adds is redirected before this returns. What it takes away goes to
   * the workers still, who give it to the host: true asks for an updateServices in due time, which
   * costs as much as there are services.
   */
  follow(director: Director, command: Command): boolean {
    switch (command.command) {
      case 'set-timeouts':
      case 'zero':
      case 'edit-service':
        return false;
      case 'add-service':
      case 'add-server':
      case 'edit-server':
        this.#followAddition(director, command);
        return false;
      default:
        return true;
    }
  }

  #followAddition(director: Director, command: Extract<Command, { settings: unknown }>): void {
    const { service } = command;
    const wildcard = service.fwmark !== 0 || service.port === 0;
    const server = 'server' in command ? command.server : null;
    // The first service brings back what the trash still refers to.
    if (wildcard || server?.port === 0 || director.serviceCount === 1) {
      this.updateServices(director);
    } else if (server === null) this.#add('services', endpointKey(service, service.protocol));
    else this.#add('real_servers', endpointKey(server, service.protocol));
  }

  #add(map: string, key: Uint8Array): void {
    const held = this.#held[map]!;
    const wanted: Entries = new Map();
    put(wanted, key, 1);
    for (const [id, entry] of wanted) {
      if (held.has(id)) continue;
      this.#program.mapUpdate(map, entry.key, entry.value);
      held.set(id, entry);
    }
  }

  /** The kernel's numbers of the interfaces, in slot order, for rules that name one. */
  updateInterfaces(indices: readonly number[]): void {
    const entries: Entries = new Map();
    for (const [slot, index] of indices.entries()) put(entries, word(index), 1 << slot);
    this.#replace('interfaces', entries);
  }

  /** All mark rules as src/table/mark.ts encodes them. In force at once, when all are written. */
  updateMarks(rules: readonly Int32Array[]): void {
    const second = (this.#marks & MARK_RULES_SECOND) ^ MARK_RULES_SECOND;
    const map = second === 0 ? 'mark_rules_0' : 'mark_rules_1';
    for (const [at, rule] of rules.entries()) {
      this.#program.mapUpdate(map, word(at), new Uint8Array(rule.slice().buffer));
    }
    this.#marks = second | (rules.length << MARK_COUNT_SHIFT);
    this.#writeSettings();
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

  #writeSettings(): void {
    this.#program.mapUpdate('settings', new Uint8Array(4), word(this.#wildcards | this.#marks));
  }

  /** New entries first: nothing that stays is ever missing. */
  #replace(map: string, wanted: Entries): void {
    const held = this.#held[map]!;
    for (const [id, entry] of wanted) {
      const before = held.get(id)?.value;
      if (before === undefined || Buffer.compare(before, entry.value) !== 0) {
        this.#program.mapUpdate(map, entry.key, entry.value);
      }
    }
    for (const [id, entry] of held) {
      if (!wanted.has(id)) this.#program.mapDelete(map, entry.key);
    }
    held.clear();
    for (const [id, entry] of wanted) held.set(id, entry);
  }
}

function putService(services: Entries, marks: Entries, key: ServiceKey): void {
  if (key.fwmark === 0) {
    put(services, endpointKey(key, key.protocol), 1);
    return;
  }
  const mark = word(key.fwmark);
  const before = marks.get(Buffer.from(mark).toString('hex'))?.value[0] ?? 0;
  put(marks, mark, before | MARK_OF_FAMILY[key.family]);
}

/**
 * Replies come from a server's port. A service of a mark, or of every port, sends its clients to
 * any port of a server: then all that a NAT server sends is taken. What has no connection goes
 * back to the host.
 */
function putServer(servers: Entries, service: ServiceKey, server: RealServer): void {
  if (service.fwmark === 0 && service.port !== 0) {
    put(servers, endpointKey(server.key, service.protocol), 1);
    return;
  }
  if (server.settings.method !== 'nat') return;
  const anyPort = { ...server.key, port: 0 };
  const every = Object.keys(PROTOCOL_NUMBERS) as ServiceKey['protocol'][];
  for (const protocol of service.fwmark === 0 ? [service.protocol] : every) {
    put(servers, endpointKey(anyPort, protocol), 1);
  }
}

function hasWildcard(entries: Entries): boolean {
  for (const { key } of entries.values()) {
    if (key[16] === 0 && key[17] === 0) return true;
  }
  return false;
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
