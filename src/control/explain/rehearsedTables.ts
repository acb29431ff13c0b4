/**
 * The other tables of a rehearsal. What packets change is copied, what they only read is the live
 * one; each says what the pipeline asks of it and what it answers. The worker's own code runs on
 * these objects as on its own: they are of the same classes.
 */
import type { FragmentTable as LiveFragments } from '../../table/fragment';
import {
  FATE_FROM_CLIENT,
  FATE_FROM_SERVER,
  FATE_UNKNOWN,
  FragmentTable,
} from '../../table/fragment';
import { LocalAddressTable } from '../../table/localAddress';
import { LocalityTable } from '../../table/locality';
import { type LocalPortBuffers, LocalPortTable } from '../../table/localPort';
import { MarkTable } from '../../table/mark';
import { REAL_SERVERS_MAX, RealServerTable } from '../../table/realServer';
import { SCHEDULER_STATE, ServiceTable } from '../../table/service';
import { protocolName } from './frameText';
import type { Journal } from './journal';
import { addressText, addressText6, endText, type Names } from './names';
import type { RehearsedConnections } from './rehearsedConnections';

const BLOCK_BYTES = 1 << 16;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** A copy that takes memory only where the original does. */
export function copyUsed(
  from: SharedArrayBuffer,
  to: SharedArrayBuffer,
  bytes = from.byteLength,
): void {
  const target = new Uint8Array(to);
  for (let at = 0; at < bytes; at += BLOCK_BYTES) {
    const block = Buffer.from(from, at, Math.min(BLOCK_BYTES, bytes - at));
    if (!block.equals(ZEROS.subarray(0, block.length))) target.set(block, at);
  }
}

function copyOf(from: SharedArrayBuffer, bytes = from.byteLength): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(bytes);
  copyUsed(from, copy, bytes);
  return copy;
}

/** Nobody else takes a lock here; a live worker may have held one when it was copied. */
export class RehearsedServices extends ServiceTable {
  readonly #names: Names;
  readonly #journal: Journal;

  constructor(live: SharedArrayBuffer, names: Names, journal: Journal) {
    super(copyOf(live));
    this.#names = names;
    this.#journal = journal;
  }

  override find4(protocol: number, address: number, port: number): number {
    const slot = super.find4(protocol, address, port);
    this.#report(protocol, addressText(4, [address]), port, slot);
    return slot;
  }

  override find6(protocol: number, view: DataView, addressAt: number, port: number): number {
    const slot = super.find6(protocol, view, addressAt, port);
    this.#report(protocol, addressText6(view, addressAt), port, slot);
    return slot;
  }

  override findMark(family: number, mark: number): number {
    const slot = super.findMark(family, mark);
    const found = slot === 0 ? 'none' : this.#names.service(slot);
    this.#journal.say('service', `of mark ${mark >>> 0}: ${found}`);
    return slot;
  }

  #report(protocol: number, address: string, port: number, slot: number): void {
    const asked = `${protocolName(protocol)} ${endText(address, port)}`;
    const found = slot === 0 ? 'none' : `there is one, scheduler ${this.#names.scheduler(slot)}`;
    this.#journal.say('service', `${asked}: ${found}`);
  }

  override lock(_slot: number, _owner: number): boolean {
    return true;
  }
  override unlock(_slot: number, _owner: number): void {}
}

/** Ends behind the last slot in use: the table has room for a quarter of a million. */
export class RehearsedServers extends RealServerTable {
  readonly #names: Names;
  readonly #journal: Journal;
  #hasNewTemplate = false;

  constructor(live: SharedArrayBuffer, names: Names, journal: Journal) {
    super(copyOf(live, (live.byteLength / REAL_SERVERS_MAX) * names.serversEnd));
    this.#names = names;
    this.#journal = journal;
  }

  override bind(slot: number, active: boolean): void {
    const service = this.service(slot);
    const isKnown = this.#names.isPersistent(service) && !this.#hasNewTemplate;
    const how = isKnown ? 'its persistence template' : this.#names.scheduler(service);
    const server = this.#names.serverInFull(slot, this);
    this.#journal.say('scheduler', `new connection, chosen by ${how}: ${server}`);
    super.bind(slot, active);
  }

  override countPersistent(slot: number, change: number): void {
    if (change > 0) {
      this.#hasNewTemplate = true;
      this.#journal.say('template', `a new one, to ${this.#names.server(slot)}`);
    }
    super.countPersistent(slot, change);
  }
}

/** What lblc and lblcr remember of an address comes here when it is asked for. */
export class RehearsedLocalities extends LocalityTable {
  readonly #live: LocalityTable;
  readonly #services: ServiceTable;
  readonly #servers: RealServerTable;
  readonly #asked = new Set<string>();

  constructor(live: LocalityTable, services: ServiceTable, servers: RealServerTable) {
    super(LocalityTable.buffer(), services, servers);
    this.#live = live;
    this.#services = services;
    this.#servers = servers;
  }

  override find(
    service: number,
    chain: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): number {
    const asked = [service, word0, word1, word2, word3].join();
    if (!this.#asked.has(asked)) {
      this.#asked.add(asked);
      this.#adopt(service, chain, word0, word1, word2, word3);
    }
    return super.find(service, chain, word0, word1, word2, word3);
  }

  #adopt(
    service: number,
    chain: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): void {
    const live = this.#live;
    const entry = live.find(service, chain, word0, word1, word2, word3);
    if (entry === 0) return;
    // Members are walked newest first: the oldest joins first.
    const members: number[] = [];
    let member = live.firstMember(entry);
    for (; member !== 0; member = live.nextMember(member)) members.unshift(live.server(member));
    const [first, ...others] = members;
    if (first === undefined) return;
    const changed = live.lastChange(entry);
    const count = this.count(service);
    this.create(service, chain, word0, word1, word2, word3, first, changed, 1);
    const own = super.find(service, chain, word0, word1, word2, word3);
    for (const server of others) this.join(own, server, changed, 1);
    this.setLastUse(own, live.lastUse(entry));
    // They are counted already, in the copies.
    this.#services.setSchedulerState(service, SCHEDULER_STATE.localities, count);
    for (const server of members) this.#servers.countLocality(server, -1);
  }
}

export class RehearsedLocalAddresses extends LocalAddressTable {
  readonly #journal: Journal;

  constructor(
    live: { readonly lists: SharedArrayBuffer; readonly records: SharedArrayBuffer },
    owners: readonly number[],
    journal: Journal,
  ) {
    super({ lists: copyOf(live.lists), records: copyOf(live.records) });
    this.#journal = journal;
    for (const owner of owners) this.breakLocks(owner);
  }

  override pick(service: number, owner: number, spreads: boolean): number {
    const slot = super.pick(service, owner, spreads);
    const { words } = this;
    const at = this.addressAt(slot);
    const isIpv4 = words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === 0;
    const text = slot === 0 ? 'the service has none' : addressText(isIpv4 ? 4 : 6, words, at);
    this.#journal.say('local address', text);
    return slot;
  }
}

/** Copied at its first use: most packets take no local port. */
export class RehearsedLocalPorts extends LocalPortTable {
  readonly #live: LocalPortTable;
  readonly #from: LocalPortBuffers;
  readonly #own: LocalPortBuffers;
  readonly #owners: readonly number[];
  readonly #journal: Journal;
  #isCopied = false;

  constructor(
    from: LocalPortBuffers,
    seed: number,
    owners: readonly number[],
    journal: Journal,
    own: LocalPortBuffers = LocalPortTable.buffers(from.maps),
  ) {
    super(own, seed);
    this.#live = new LocalPortTable(from, seed);
    this.#from = from;
    this.#own = own;
    this.#owners = owners;
    this.#journal = journal;
  }

  override allocate(owner: number): number {
    this.#copy();
    const port = super.allocate(owner);
    this.#journal.say('local port', port === 0 ? 'none is free' : `${port}`);
    return port;
  }

  override release(port: number): boolean {
    this.#copy();
    return super.release(port);
  }

  /** Maps that were never made have nothing to be copied. */
  #copy(): void {
    if (this.#isCopied) return;
    this.#isCopied = true;
    const mapBytes = this.#from.pool.byteLength / (this.#from.maps + 1);
    copyUsed(this.#from.index, this.#own.index);
    copyUsed(this.#from.pool, this.#own.pool, (this.#live.mapsMade + 1) * mapBytes);
    for (const owner of this.#owners) this.breakLocks(owner);
  }
}

/** What is noted of a datagram comes here when it is asked for, with its connection. */
export class RehearsedFragments extends FragmentTable {
  readonly #live: LiveFragments;
  readonly #connections: RehearsedConnections;
  readonly #journal: Journal;
  #isAsked = false;

  constructor(
    live: LiveFragments,
    seed: number,
    connections: RehearsedConnections,
    journal: Journal,
  ) {
    super(FragmentTable.buffer(), seed);
    this.#live = live;
    this.#connections = connections;
    this.#journal = journal;
  }

  override select(
    kind: number,
    id: number,
    view: DataView,
    addressesAt: number,
    addressWords: number,
  ): number {
    this.#live.select(kind, id, view, addressesAt, addressWords);
    return super.select(kind, id, view, addressesAt, addressWords);
  }

  override find(tick: number): number {
    if (!this.#isAsked) this.#adopt(tick);
    const fate = super.find(tick);
    this.#journal.say('fragment', FATES[fate]!);
    return fate;
  }

  #adopt(tick: number): void {
    this.#isAsked = true;
    const fate = this.#live.find(tick);
    if (fate === FATE_UNKNOWN) return;
    const { entry, identity } = this.#live;
    const follows = fate === FATE_FROM_CLIENT || fate === FATE_FROM_SERVER;
    const own = follows && entry !== 0 ? this.#connections.adopt(entry, tick) : 0;
    this.note(fate, own, identity, 0, tick, 1);
  }
}

/** By FATE_*. */
const FATES = [
  'of a datagram whose first fragment was not seen',
  "of a client's packet: it follows the first fragment to the real server",
  "of a real server's packet: it follows the first fragment to the client",
  'of a datagram that the host was given',
  'of a datagram that was dropped',
];

export class RehearsedMarks extends MarkTable {
  readonly #journal: Journal;

  constructor(live: SharedArrayBuffer, journal: Journal) {
    super(live);
    this.#journal = journal;
  }

  override mark4(
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    return this.#report(super.mark4(protocol, source, destination, ports, interfaceSlot));
  }

  override mark6(...asked: Parameters<MarkTable['mark6']>): number {
    return this.#report(super.mark6(...asked));
  }

  #report(mark: number): number {
    this.#journal.say('mark', mark === 0 ? 'the rules give none' : `the rules give ${mark >>> 0}`);
    return mark;
  }
}
