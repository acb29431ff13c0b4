/**
 * What the control plane does about connections once a second (IPVS's defense work, spec 3.12),
 * and after servers were removed: it decides when drop_entry, drop_packet and secure_tcp hold,
 * ends entries that drop_entry picks at random or whose server is gone (expire_nodest_conn), and
 * keeps the list of NAT real servers for nat_icmp_send.
 *
 * IPVS compares amemthresh with free pages of memory. Here the table is taken at start, and what
 * gets scarce is its entries: those that are free are compared.
 *
 * An entry is ended by its time: `expiresAt` becomes the past, so that no worker finds it any more,
 * and its owner is asked by mail to look; entries, counts and indexes stay the owner's to change.
 */
import {
  CONNECTION,
  CONNECTION_SERVER_BITS,
  CONNECTION_TEMPLATE,
  type ConnectionTable,
  IN_PACKETS_MAX,
  IN_PACKETS_SHIFT,
  kindProtocol,
  TEMPLATE_ASSURED,
  TEMPLATE_REFERENCES,
} from '../table/connection';
import type { Tables } from '../table/memory';
import { TICKS_PER_SECOND } from '../table/setting';
import { ESTABLISHED, SYN_RECV, SYNACK } from '../table/state';
import { SCTP_ESTABLISHED, SCTP_INIT, SCTP_INIT1 } from '../table/stateSctp';
import type { Director } from './director';
import { natEndpoints } from './endpoints';
import type { DefenseName } from './sysctl';

const AT = CONNECTION.at;
const TCP = 6;
const SCTP = 132;
/** drop_entry looks at one entry in so many each second. */
const SHARE = 32;
/** Entries side by side that are looked at together: as many as a memory page holds. */
const BLOCK = 64;
/** Entries looked at in one go: a few milliseconds. */
const GO_ENTRIES = 1 << 16;
/** Without a packet for so long, an entry may be dropped. */
const IDLE_TICKS = 60 * TICKS_PER_SECOND;
/** Workers read the clock once a burst: theirs may be behind. */
const PAST_TICKS = 2 * TICKS_PER_SECOND;

export class Defense {
  readonly #director: Director;
  readonly #tables: Tables;
  readonly #connections: ConnectionTable;
  readonly #entries: Int32Array;
  readonly #random: () => number;
  #dropsEntries = false;
  /** Hits until an entry with so many packets from its client is dropped. */
  readonly #untilDrop = new Int32Array(IN_PACKETS_MAX + 1);
  /** Blocks that drop_entry still looks at in this second. */
  #blocksLeft = 0;
  /** Where the walk for removed servers goes on; 0: there is none under way. */
  #next = 0;
  #stalled = false;
  #seenRemovals: number;
  #seenChanges = -1;

  /** `random`: a number from 0 to just below 1. */
  constructor(director: Director, random: () => number = Math.random) {
    this.#director = director;
    this.#tables = director.tables;
    this.#connections = director.tables.connections;
    this.#entries = director.tables.connections.entries;
    this.#random = random;
    this.#seenRemovals = director.removals;
    director.sysctls.watch(() => this.#update());
  }

  /** To be called every second; afterwards `walk`, until it says that it is done. */
  second(): void {
    this.#update();
    const blocks = Math.ceil(this.#connections.usedEnd / BLOCK);
    this.#blocksLeft = this.#dropsEntries ? Math.ceil(blocks / SHARE) : 0;
    if (this.#director.removals === this.#seenRemovals) return;
    this.#seenRemovals = this.#director.removals;
    if (this.#director.sysctls.value('expire_nodest_conn') !== 0) this.#next = 1;
  }

  /** Does a piece of what there is to do; see `isStalled`. True: there is more. */
  walk(tick: number): boolean {
    this.#stalled = false;
    this.#dropAtRandom(tick);
    if (!this.#stalled) this.#endOrphans(tick);
    return this.#blocksLeft > 0 || this.#next > 0;
  }

  /** A worker's mailbox was full: the rest of the walk is for a little later. */
  get isStalled(): boolean {
    return this.#stalled;
  }

  /** What holds from now on: modes 1 and 2 by how many entries are free, 0 never, 3 always. */
  #update(): void {
    const { sysctls } = this.#director;
    const { settings } = this.#tables;
    const threshold = sysctls.value('amemthresh');
    const free = this.#connections.freeCount;
    const scarce = free < threshold;
    this.#dropsEntries = this.#holds('drop_entry', scarce);
    settings.set('secureTcp', this.#holds('secure_tcp', scarce) ? 1 : 0);
    const drops = this.#holds('drop_packet', scarce);
    const always = sysctls.value('drop_packet') === 3;
    const rate = always ? sysctls.value('am_droprate') : Math.floor(threshold / (threshold - free));
    settings.set('dropRate', drops ? rate : 0);
    if (settings.natIcmpSend === 0 || this.#director.changes === this.#seenChanges) return;
    this.#seenChanges = this.#director.changes;
    this.#tables.endpoints.replace(natEndpoints(this.#director));
  }

  #holds(name: DefenseName, scarce: boolean): boolean {
    const mode = this.#director.sysctls.value(name);
    if (mode === 0 || mode === 3) return mode === 3;
    this.#director.sysctls.noteMode(name, scarce ? 2 : 1);
    return scarce;
  }

  #dropAtRandom(tick: number): void {
    const used = this.#connections.usedEnd;
    const blocks = Math.ceil(used / BLOCK);
    for (let i = 0; i < GO_ENTRIES / BLOCK && this.#blocksLeft > 0; i++) {
      const first = Math.floor(this.#random() * blocks) * BLOCK;
      for (let entry = Math.max(first, 1); entry < Math.min(first + BLOCK, used); entry++) {
        if (this.#isToBeDropped(entry, tick)) this.#drop(entry, tick);
        if (this.#stalled) return;
      }
      this.#blocksLeft--;
    }
  }

  #endOrphans(tick: number): void {
    const end = this.#connections.usedEnd;
    const stop = Math.min(this.#next + GO_ENTRIES, end);
    for (; this.#next > 0 && this.#next < stop; this.#next++) {
      if (this.#isOrphan(this.#next)) this.#expire(this.#next, tick);
      if (this.#stalled) return;
    }
    if (this.#next >= end) this.#next = 0;
  }

  #isToBeDropped(entry: number, tick: number): boolean {
    const entries = this.#entries;
    const at = entry << 4;
    const kind = entries[at + AT.identity]! & 0xff;
    if (kind === 0 || ((entries[at + AT.expiresAt]! - tick) | 0) <= 0) return false;
    const word = entries[at + AT.state]!;
    if ((word & CONNECTION_TEMPLATE) !== 0) {
      return (word & TEMPLATE_ASSURED) === 0 && entries[at + TEMPLATE_REFERENCES]! === 0;
    }
    const state = word & 0xff;
    const protocol = kindProtocol(kind);
    if (protocol === TCP && state !== ESTABLISHED) return state === SYN_RECV || state === SYNACK;
    if (protocol === SCTP && state !== SCTP_ESTABLISHED) {
      return state === SCTP_INIT1 || state === SCTP_INIT;
    }
    return this.#isIdle(at, state, tick);
  }

  /** Of old entries with few packets every one, every second, ... every eighth. */
  #isIdle(at: number, state: number, tick: number): boolean {
    const left = (this.#entries[at + AT.expiresAt]! - tick) | 0;
    if (this.#tables.settings.timeouts[state]! - left < IDLE_TICKS) return false;
    const packets = this.#entries[at + AT.realServer]! >>> IN_PACKETS_SHIFT;
    if (packets === 0 || packets > IN_PACKETS_MAX) return false;
    this.#untilDrop[packets]! -= 1;
    if (this.#untilDrop[packets]! > 0) return false;
    this.#untilDrop[packets] = packets;
    return true;
  }

  /** With the last connection through it a template goes that was of no use. */
  #drop(entry: number, tick: number): void {
    const entries = this.#entries;
    const template = entries[(entry << 4) + AT.control]!;
    const isTemplate = (entries[(entry << 4) + AT.state]! & CONNECTION_TEMPLATE) !== 0;
    if (!isTemplate && template !== 0) {
      const at = template << 4;
      const unassured = (entries[at + AT.state]! & TEMPLATE_ASSURED) === 0;
      // Asked before the connection: what is asked for last is looked at first.
      if (unassured && entries[at + TEMPLATE_REFERENCES] === 1) this.#expire(template, tick);
    }
    this.#expire(entry, tick);
  }

  /** Is its server gone, and nobody in need of it? */
  #isOrphan(entry: number): boolean {
    const entries = this.#entries;
    const at = entry << 4;
    if ((entries[at + AT.identity]! & 0xff) === 0) return false;
    const word = entries[at + AT.state]!;
    if ((word & CONNECTION_TEMPLATE) !== 0 && entries[at + TEMPLATE_REFERENCES]! > 0) return false;
    const server = entries[at + AT.realServer]! & CONNECTION_SERVER_BITS;
    return server !== 0 && !this.#tables.realServers.isAvailable(server);
  }

  /** An entry that is another's meanwhile is left alone. A full mailbox of its owner stalls. */
  #expire(entry: number, tick: number): void {
    const entries = this.#entries;
    const at = entry << 4;
    const before = entries[at + AT.expiresAt]!;
    const identity = entries[at + AT.identity]!;
    const wheel = this.#tables.wheels[((identity >>> 8) & 0xff) - 1];
    if ((identity & 0xff) === 0 || wheel === undefined) return;
    if (((before - tick) | 0) <= 0) return;
    const past = (tick - PAST_TICKS) | 0;
    if (Atomics.compareExchange(entries, at + AT.expiresAt, before, past) !== before) return;
    if (wheel.post(entry)) return;
    Atomics.compareExchange(entries, at + AT.expiresAt, past, before);
    this.#stalled = true;
  }
}
