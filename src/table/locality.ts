/**
 * What lblc and lblcr remember: for each service the destination addresses it has seen, and with
 * each the set of servers that serve it (one for lblc). Shared memory.
 *
 * A service's entries hang in 1024 chains by hash of the address and are read and changed under
 * the service's lock. Entries and set members come from two stocks that all services share; those
 * have a lock of their own, held for a few words. Members count as references of their server, so
 * that a removed one stays in the trash until its sets have forgotten it.
 */
import { words } from '../layout/record';
import { acquire, breakLock, release } from './lock';
import type { RealServerTable } from './realServer';
import { SCHEDULER_STATE, SERVICES_MAX, type ServiceTable } from './service';

export const CHAINS = 1024;
/** Entries and members of all services together. */
const ENTRIES_MAX = 1 << 18;
const MEMBERS_MAX = 1 << 18;

const CONTROL = words('locality control', 16, {
  lock: 1,
  freeEntry: 1,
  usedEntries: 1,
  freeMember: 1,
  usedMembers: 1,
  reserved: 11,
});
const ENTRY = words('locality entry', 12, {
  address: 4, // host order, IPv4 in the first
  next: 1,
  lastUse: 1, // tick
  firstMember: 1,
  memberCount: 1,
  lastChange: 1, // tick at which the set changed
  reserved: 3,
});
const MEMBER = words('locality member', 2, { server: 1, next: 1 });

const { lock: LOCK, freeEntry: FREE_ENTRY, freeMember: FREE_MEMBER } = CONTROL.at;
const { usedEntries: USED_ENTRIES, usedMembers: USED_MEMBERS } = CONTROL.at;
const AT = ENTRY.at;
const { localities: COUNT } = SCHEDULER_STATE;

const HEADS = CONTROL.size;
const ENTRIES = HEADS + SERVICES_MAX * CHAINS;
const MEMBERS = ENTRIES + ENTRIES_MAX * ENTRY.size;
const TOTAL = MEMBERS + MEMBERS_MAX * MEMBER.size;

export class LocalityTable {
  private readonly words: Int32Array;
  private readonly services: ServiceTable;
  private readonly realServers: RealServerTable;

  constructor(buffer: SharedArrayBuffer, services: ServiceTable, realServers: RealServerTable) {
    this.words = new Int32Array(buffer);
    this.services = services;
    this.realServers = realServers;
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(TOTAL * 4);
  }

  /** Entries of a service. */
  count(service: number): number {
    return this.services.schedulerState(service, COUNT);
  }

  /** The entry of an address in its chain, 0 when there is none. */
  find(
    service: number,
    chain: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): number {
    const table = this.words;
    let entry = table[head(service, chain)]!;
    while (entry !== 0) {
      const at = entryAt(entry);
      if (
        table[at] === word0 &&
        table[at + 1] === word1 &&
        table[at + 2] === word2 &&
        table[at + 3] === word3
      ) {
        return entry;
      }
      entry = table[at + AT.next]!;
    }
    return 0;
  }

  /** A new entry, with a first member. False: a stock is empty or its lock was not to be had. */
  create(
    service: number,
    chain: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    server: number,
    tick: number,
    owner: number,
  ): boolean {
    const table = this.words;
    const entry = this.take(FREE_ENTRY, USED_ENTRIES, ENTRIES_MAX, owner);
    if (entry === 0) return false;
    const at = entryAt(entry);
    table[at] = word0;
    table[at + 1] = word1;
    table[at + 2] = word2;
    table[at + 3] = word3;
    table[at + AT.firstMember] = 0;
    table[at + AT.memberCount] = 0;
    table[at + AT.lastUse] = tick;
    if (!this.join(entry, server, tick, owner)) {
      this.give(FREE_ENTRY, entry, at + AT.next, owner);
      return false;
    }
    table[at + AT.next] = table[head(service, chain)]!;
    table[head(service, chain)] = entry;
    this.services.setSchedulerState(service, COUNT, this.count(service) + 1);
    return true;
  }

  lastUse(entry: number): number {
    return this.words[entryAt(entry) + AT.lastUse]!;
  }
  setLastUse(entry: number, tick: number): void {
    this.words[entryAt(entry) + AT.lastUse] = tick;
  }
  lastChange(entry: number): number {
    return this.words[entryAt(entry) + AT.lastChange]!;
  }
  memberCount(entry: number): number {
    return this.words[entryAt(entry) + AT.memberCount]!;
  }
  /** Members are walked newest first; 0 ends. */
  firstMember(entry: number): number {
    return this.words[entryAt(entry) + AT.firstMember]!;
  }
  nextMember(member: number): number {
    return this.words[memberAt(member) + MEMBER.at.next]!;
  }
  server(member: number): number {
    return this.words[memberAt(member) + MEMBER.at.server]!;
  }

  /** A server joins an entry's set, unless it is in it. False: the stock is empty. */
  join(entry: number, server: number, tick: number, owner: number): boolean {
    let member = this.firstMember(entry);
    for (; member !== 0; member = this.nextMember(member)) {
      if (this.server(member) === server) return true;
    }
    member = this.take(FREE_MEMBER, USED_MEMBERS, MEMBERS_MAX, owner);
    if (member === 0) return false;
    const table = this.words;
    const at = entryAt(entry);
    table[memberAt(member)] = server;
    table[memberAt(member) + MEMBER.at.next] = table[at + AT.firstMember]!;
    table[at + AT.firstMember] = member;
    table[at + AT.memberCount] = table[at + AT.memberCount]! + 1;
    table[at + AT.lastChange] = tick;
    this.realServers.countLocality(server, 1);
    return true;
  }

  /** A server leaves an entry's set. */
  leave(entry: number, server: number, tick: number, owner: number): void {
    const table = this.words;
    const at = entryAt(entry);
    let link = at + AT.firstMember;
    while (table[link] !== 0) {
      const member = table[link]!;
      if (this.server(member) === server) {
        table[link] = this.nextMember(member);
        table[at + AT.memberCount] = table[at + AT.memberCount]! - 1;
        table[at + AT.lastChange] = tick;
        this.giveMember(member, owner);
        return;
      }
      link = memberAt(member) + MEMBER.at.next;
    }
  }

  /** Puts another server in the place of a member. */
  replace(member: number, server: number): void {
    this.realServers.countLocality(this.server(member), -1);
    this.words[memberAt(member)] = server;
    this.realServers.countLocality(server, 1);
  }

  /** Removes the entries of a chain that were not used for `idleTicks`. Returns how many. */
  sweep(service: number, chain: number, idleTicks: number, tick: number, owner: number): number {
    const table = this.words;
    let removed = 0;
    let link = head(service, chain);
    while (table[link] !== 0) {
      const entry = table[link]!;
      if (((tick - this.lastUse(entry)) | 0) < idleTicks) {
        link = entryAt(entry) + AT.next;
        continue;
      }
      table[link] = table[entryAt(entry) + AT.next]!;
      this.free(entry, owner);
      removed++;
    }
    if (removed > 0) this.services.setSchedulerState(service, COUNT, this.count(service) - removed);
    return removed;
  }

  /** Removes all entries of a service. */
  clear(service: number, owner: number): void {
    const table = this.words;
    for (let chain = 0; chain < CHAINS && this.count(service) > 0; chain++) {
      const link = head(service, chain);
      while (table[link] !== 0) {
        const entry = table[link]!;
        table[link] = table[entryAt(entry) + AT.next]!;
        this.free(entry, owner);
        this.services.setSchedulerState(service, COUNT, this.count(service) - 1);
      }
    }
  }

  private free(entry: number, owner: number): void {
    let member = this.firstMember(entry);
    while (member !== 0) {
      const next = this.nextMember(member);
      this.giveMember(member, owner);
      member = next;
    }
    this.give(FREE_ENTRY, entry, entryAt(entry) + AT.next, owner);
  }

  private giveMember(member: number, owner: number): void {
    this.realServers.countLocality(this.server(member), -1);
    this.give(FREE_MEMBER, member, memberAt(member) + MEMBER.at.next, owner);
  }

  /** Takes a record from a stock: one given back, else one never used; 0: none. */
  private take(free: number, used: number, max: number, owner: number): number {
    const table = this.words;
    if (!acquire(table, LOCK, owner)) return 0;
    let record = table[free]!;
    if (record !== 0) {
      const at = free === FREE_ENTRY ? entryAt(record) + AT.next : memberAt(record) + 1;
      table[free] = table[at]!;
    } else if (table[used]! + 1 < max) {
      record = table[used]! + 1;
      table[used] = record;
    }
    release(table, LOCK, owner);
    return record;
  }

  /** `link`: the record's word that names the next one. A record is lost when the lock is. */
  private give(free: number, record: number, link: number, owner: number): void {
    const table = this.words;
    if (!acquire(table, LOCK, owner)) return;
    table[link] = table[free]!;
    table[free] = record;
    release(table, LOCK, owner);
  }

  /** Frees the lock if a dead owner held it. */
  breakLocks(owner: number): number {
    return breakLock(this.words, LOCK, owner) ? 1 : 0;
  }
}

function head(service: number, chain: number): number {
  return HEADS + service * CHAINS + chain;
}
function entryAt(entry: number): number {
  return ENTRIES + entry * ENTRY.size;
}
function memberAt(member: number): number {
  return MEMBERS + member * MEMBER.size;
}
