/**
 * Local addresses of services, as the control plane keeps them: text beside the slots of the table
 * that workers take them from, in the order of adding.
 */
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { addressWords } from '../net/address';
import type { LocalAddressTable } from '../table/localAddress';
import { CONTROL_OWNER } from '../table/lock';
import type { Tables } from '../table/memory';
import { DirectorError } from './error';
import { type LocalAddress, serviceId, type VirtualService } from './model';
import type { LocalAddressListing, ServiceKey, ServiceSpec } from './protocol';

const MULTICAST4 = 14;
const MULTICAST6 = 0xff;
const LINK_LOCAL6 = 0xfe80 >>> 6;

/** Throws a DirectorError unless connections of the service can come from the address. */
export function checkLocalAddress(service: ServiceKey, address: string): void {
  const { family } = service;
  const id = `service ${serviceId(service)}: local address "${address}"`;
  const isWritten = family === 4 ? isIPv4(address) : isCanonical6(address);
  if (isWritten && isUnicast(family, address)) return;
  const allowed = family === 4 ? 'a unicast IPv4 address' : 'a unicast IPv6 address (RFC 5952)';
  throw new DirectorError(
    'ERR_VALUE',
    `${id}: ${allowed} is allowed, as the service's is IPv${family}`,
  );
}

/** The same of all that a spec has; each may stand there once. */
export function checkLocalAddresses({ service, localAddresses = [] }: ServiceSpec): void {
  const seen = new Set<string>();
  for (const address of localAddresses) {
    checkLocalAddress(service, address);
    if (seen.has(address)) throw exists(service, address, 'stands there twice');
    seen.add(address);
  }
}

function isCanonical6(address: string): boolean {
  if (!isIPv6(address) || address.includes('%')) return false;
  return new SocketAddress({ address, family: 'ipv6' }).address === address;
}

function isUnicast(family: 4 | 6, address: string): boolean {
  const [first = 0, ...rest] = addressWords(address);
  if (family === 4) return first !== 0 && first !== -1 && first >>> 28 !== MULTICAST4;
  const isUnspecified = first === 0 && rest.every((word) => word === 0);
  return !isUnspecified && first >>> 24 !== MULTICAST6 && first >>> 22 !== LINK_LOCAL6;
}

function exists(service: ServiceKey, address: string, how: string): DirectorError {
  const message = `service ${serviceId(service)}: local address ${address} ${how}`;
  return new DirectorError('ERR_LOCAL_ADDRESS_EXISTS', message);
}

/** An address out of its service's list, from which connections may still come. */
interface Retired extends LocalAddress {
  readonly serviceSlot: number;
}

export class LocalAddressKeeper {
  readonly #table: LocalAddressTable;
  #retired: Retired[] = [];

  constructor(tables: Tables) {
    this.#table = tables.localAddresses;
  }

  /** Are there addresses to be forgotten? */
  get hasRetired(): boolean {
    return this.#retired.length > 0;
  }

  /** Appends an address, or throws a DirectorError and changes nothing. */
  add(service: VirtualService, address: string): void {
    checkLocalAddress(service.key, address);
    if (service.localAddresses.some((known) => known.address === address)) {
      throw exists(service.key, address, 'exists already');
    }
    const known = this.#retired.find(
      (one) => one.serviceSlot === service.slot && one.address === address,
    );
    const slot = known?.slot ?? this.#table.create(service.slot, addressWords(address));
    if (slot === 0) {
      const id = serviceId(service.key);
      const message = `service ${id}: local address ${address}: no slot is free`;
      throw new DirectorError('ERR_TABLE_FULL', message);
    }
    try {
      this.#locked(service, () => this.#table.list(slot));
    } catch (error) {
      if (known === undefined) this.#table.free(slot);
      throw error;
    }
    this.#retired = this.#retired.filter((one) => one !== known);
    service.localAddresses.push({ slot, address });
  }

  /** Connections that come from it live on. */
  remove(service: VirtualService, address: string): void {
    const at = service.localAddresses.findIndex((known) => known.address === address);
    const found = service.localAddresses[at];
    if (found === undefined) {
      const message = `service ${serviceId(service.key)} has no local address ${address}`;
      throw new DirectorError('ERR_LOCAL_ADDRESS_UNKNOWN', message);
    }
    this.#locked(service, () => this.#table.unlist(found.slot));
    service.localAddresses.splice(at, 1);
    this.#retired.push({ ...found, serviceSlot: service.slot });
  }

  /**
   * Of a service that goes, and that no worker finds any more. Should its list stay locked, then by
   * a worker that has died: nobody is in its way.
   */
  removeAll(service: VirtualService): void {
    const table = this.#table;
    const isLocked = table.lock(service.slot, CONTROL_OWNER);
    for (const { slot } of service.localAddresses) table.unlist(slot);
    if (isLocked) table.unlock(service.slot, CONTROL_OWNER);
    const gone = this.#retired.filter(({ serviceSlot }) => serviceSlot === service.slot);
    for (const { slot } of [...service.localAddresses.splice(0), ...gone]) table.free(slot);
    this.#retired = this.#retired.filter((one) => !gone.includes(one));
  }

  /** Forgets those from which no connection comes any more. */
  forget(): void {
    this.#retired = this.#retired.filter(({ slot }) => {
      if (this.#table.connections(slot) > 0) return true;
      this.#table.free(slot);
      return false;
    });
  }

  #locked(service: VirtualService, change: () => void): void {
    const table = this.#table;
    if (!table.lock(service.slot, CONTROL_OWNER)) {
      const id = serviceId(service.key);
      const message = `service ${id}: its local addresses are locked by a worker`;
      throw new DirectorError('ERR_BUSY', message);
    }
    try {
      change();
    } finally {
      table.unlock(service.slot, CONTROL_OWNER);
    }
  }
}

/** As tools are shown them. */
export function listLocalAddresses(tables: Tables, service: VirtualService): LocalAddressListing[] {
  const table = tables.localAddresses;
  return service.localAddresses.map(({ slot, address }) => ({
    address,
    conflicts: table.conflicts(slot),
    connections: table.connections(slot),
  }));
}
