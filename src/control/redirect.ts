/**
 * Tells the XDP program which frames may be ours: services, NAT real servers (their replies), far
 * ends of tunnels (errors about what we send them), the host's own addresses and MACs and what the
 * mark rules mark for a service. Removed services and servers stay redirected while connections
 * refer to them, so that these are answered as IPVS answers them; so do removed mark rules. Keys
 * as native/xsk-napi/bpf says.
 */

import { formatIpv4 } from '../net/address';
import type { XdpProgram } from '../port/addon';
import type { Director } from './director';
import type { RealServer } from './model';
import type { AddressFamily, Command } from './protocol';
import { RedirectBuckets } from './redirectBuckets';
import { ADDRESS_BYTES, putAddressKey, RedirectEndpoints } from './redirectEndpoints';
import {
  type Entries,
  freeInterfaceSlot,
  interfaceValue,
  macBytes,
  macKey,
  NO_INTERFACE,
  put,
  word,
} from './redirectKeys';
import { RedirectMap } from './redirectMap';
import { RedirectMarks } from './redirectMarks';

/** Bits of `local_addresses`. */
const OWN_ADDRESS = 1;
const FULLNAT_ADDRESS = 2;
/** Where they stand in the kinds of endpoints. */
const KIND_ADDRESS_SHIFT = 3;
/** Bits of the program's settings word; the number of mark rules stands above them. */
const WILDCARD_SERVICES = 1;
const WILDCARD_REAL_SERVERS = 2;
const REDIRECT_ICMP_ERRORS = 4;
const REDIRECT_FRAGMENTS = 8;
const MARK_RULES_SECOND = 16;
const REDIRECT_ALL_FRAGMENTS = 32;
const ENDPOINTS_KEPT = 64;
const MARK_COUNT_SHIFT = 16;
const OTHER_MAC = word(1);

/** An interface that is served. */
export interface RedirectInterface {
  /** The kernel's number; 0: there is none now. */
  readonly index: number;
  /** "02:00:00:00:00:01"; '' = frames to any unicast MAC are taken. */
  readonly mac: string;
  /** Others that it takes frames for: of virtual routers, of its bridge. */
  readonly otherMacs?: readonly string[];
}

export class Redirect {
  readonly #program: XdpProgram;
  readonly #endpoints: RedirectEndpoints;
  readonly #addresses: RedirectMap;
  readonly #held = { interfaces: new Map() as Entries, other_macs: new Map() as Entries };
  readonly #marks = new RedirectMarks();
  readonly #ownAddresses: Record<AddressFamily, readonly string[]> = { 4: [], 6: [] };
  /** Local addresses of FULLNAT; of them, what the director has no more but connections may. */
  #fullnat: ReadonlySet<string> = new Set();
  #removedFullnat = false;
  /** As the program has them; those of the mark rules also apart. */
  #settings = 0;
  #markSettings = 0;
  #endpointSettings = 0;

  constructor(program: XdpProgram) {
    this.#program = program;
    const buckets = new RedirectBuckets(program);
    this.#endpoints = new RedirectEndpoints(program, buckets);
    const follower = buckets.ofAddresses(KIND_ADDRESS_SHIFT);
    this.#addresses = new RedirectMap(program, 'local_addresses', ADDRESS_BYTES, follower);
    this.#writeSettings();
  }

  /** Services and real servers as the director has them now. */
  updateServices(director: Director): void {
    const endpoints = this.#endpoints;
    let markConnections = false;
    let fullnatConnections = false;
    const isReferred = (server: RealServer): boolean =>
      director.tables.realServers.references(server.slot) > 0;
    endpoints.begin();
    for (const { key, servers } of director.services) {
      endpoints.putService(key);
      for (const server of servers) {
        endpoints.putServer(key, server);
        if (!fullnatConnections && isFullnat(server)) fullnatConnections = isReferred(server);
      }
      if (key.fwmark !== 0) markConnections ||= servers.some(isReferred);
    }
    for (const { service, server } of director.serviceCount > 0 ? director.trash : []) {
      if (!isReferred(server)) continue;
      endpoints.putService(service);
      endpoints.putServer(service, server);
      markConnections ||= service.fwmark !== 0;
      fullnatConnections ||= isFullnat(server);
    }
    // A wildcard may take the place of what goes now.
    this.#endpointSettings |= this.#wildcards;
    this.#writeSettings();
    endpoints.commit();
    this.#setEndpointSettings();
    this.#writeSettings();
    this.#updateFullnat(director, fullnatConnections);
    if (!markConnections && this.#marks.hasRemoved) {
      this.#marks.forgetRemoved();
      this.#writeMarks();
    }
  }

  /**
   * Whether there is anything here that ends with connections: removed mark rules or local
   * addresses. Then updateServices has to be called from time to time.
   */
  get waitsForConnections(): boolean {
    return this.#marks.hasRemoved || this.#removedFullnat;
  }

  /** Of what was put since `begin`. */
  get #wildcards(): number {
    return (
      (this.#endpoints.hasWildcardServices ? WILDCARD_SERVICES : 0) |
      (this.#endpoints.hasWildcardServers ? WILDCARD_REAL_SERVERS : 0)
    );
  }

  #setEndpointSettings(): void {
    const endpoints = this.#endpoints;
    this.#endpointSettings =
      this.#wildcards |
      (endpoints.hasServices ? REDIRECT_ICMP_ERRORS | REDIRECT_FRAGMENTS : 0) |
      (endpoints.hasMarks ? REDIRECT_ALL_FRAGMENTS : 0);
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
      case 'add-local-address':
        this.#fullnat = new Set([...this.#fullnat, command.address]);
        this.#writeAddresses();
        return false;
      default:
        return true;
    }
  }

  #followAddition(director: Director, command: Extract<Command, { settings: unknown }>): void {
    const { service } = command;
    const wildcard = service.fwmark !== 0 || service.port === 0;
    const serverPort = 'server' in command ? command.server.port : null;
    // The first service brings back what the trash still refers to.
    if (wildcard || serverPort === 0 || director.serviceCount === 1) {
      this.updateServices(director);
      return;
    }
    if ('server' in command) {
      this.#endpoints.putServer(service, { key: command.server, settings: command.settings });
    } else this.#endpoints.putService(service);
    this.#endpoints.commit();
  }

  /** The interfaces in slot order: their numbers, for rules that name one, and their MACs. */
  updateInterfaces(interfaces: readonly RedirectInterface[]): void {
    const entries: Entries = new Map();
    const macs: Entries = new Map();
    for (const [slot, { index, mac, otherMacs = [] }] of interfaces.entries()) {
      if (index === 0) continue;
      const own = mac === '' ? null : macBytes(mac);
      const key = freeInterfaceSlot(entries, index);
      // Without a slot its frames are taken whatever their MAC, and no rule can name it.
      if (key !== null) put(entries, key, interfaceValue(index, 1 << slot, own));
      for (const other of otherMacs) put(macs, macKey(index, macBytes(other)), OTHER_MAC);
    }
    this.#replace('other_macs', macs);
    // An array: its entries cannot be deleted.
    for (const [id, { key }] of this.#held.interfaces) {
      if (!entries.has(id)) put(entries, key, NO_INTERFACE);
    }
    this.#replace('interfaces', entries);
  }

  /** All mark rules as src/table/mark.ts encodes them. In force at once, when all are written. */
  updateMarks(rules: readonly Int32Array[]): void {
    this.#marks.replace(rules, this.#endpoints.hasMarks);
    this.#writeMarks();
  }

  #writeMarks(): void {
    const { rules } = this.#marks;
    const second = (this.#markSettings & MARK_RULES_SECOND) ^ MARK_RULES_SECOND;
    const map = second === 0 ? 'mark_rules_0' : 'mark_rules_1';
    for (const [at, rule] of rules.entries()) {
      this.#program.mapUpdate(map, word(at), new Uint8Array(rule.slice().buffer));
    }
    this.#writeSettings(second | (rules.length << MARK_COUNT_SHIFT));
  }

  /** The host's own IPv4 addresses: what goes to them from a real server is the host's. */
  updateLocalAddresses(addresses: readonly number[]): void {
    this.#ownAddresses[4] = addresses.map(formatIpv4);
    this.#writeAddresses();
  }

  /** The host's own IPv6 addresses, four words each. */
  updateLocalAddresses6(addresses: readonly (readonly number[])[]): void {
    this.#ownAddresses[6] = addresses.map(textOf);
    this.#writeAddresses();
  }

  /** A local address that is removed stays one as long as a FULLNAT server has connections. */
  #updateFullnat(director: Director, hasConnections: boolean): void {
    const current = new Set<string>();
    for (const { localAddresses } of director.services) {
      for (const { address } of localAddresses) current.add(address);
    }
    const all = hasConnections ? new Set([...this.#fullnat, ...current]) : current;
    this.#removedFullnat = all.size > current.size;
    this.#fullnat = all;
    this.#writeAddresses();
  }

  #writeAddresses(): void {
    const map = this.#addresses;
    map.begin();
    for (const family of [4, 6] as const) {
      for (const address of this.#ownAddresses[family]) {
        putAddressKey(map.key, family, address);
        map.want(OWN_ADDRESS);
      }
    }
    for (const address of this.#fullnat) {
      putAddressKey(map.key, address.includes(':') ? 6 : 4, address);
      map.want(FULLNAT_ADDRESS);
    }
    map.commit();
  }

  #writeSettings(markSettings = this.#markSettings): void {
    const settings = ENDPOINTS_KEPT | this.#endpointSettings | markSettings;
    if (settings === this.#settings) return;
    this.#program.mapUpdate('settings', new Uint8Array(4), word(settings));
    this.#settings = settings;
    this.#markSettings = markSettings;
  }

  /** New entries first: nothing that stays is ever missing. */
  #replace(map: 'interfaces' | 'other_macs', wanted: Entries): void {
    const held = this.#held[map];
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

/** Four words of an IPv6 address as text, of which there are shorter ways to write it. */
function textOf(words: readonly number[]): string {
  return words
    .map((one) => `${((one >>> 16) & 0xffff).toString(16)}:${(one & 0xffff).toString(16)}`)
    .join(':');
}

function isFullnat({ settings }: RealServer): boolean {
  return settings.method === 'fullnat';
}
