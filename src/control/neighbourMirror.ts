/**
 * The kernel's neighbours in the NeighbourTable, and the workers' wishes the other way: a neighbour
 * they miss is resolved by the kernel (NTF_USE), one they use is kept fresh by it
 * (NTF_EXT_MANAGED, Linux 5.16; older kernels ignore that attribute and are asked again and again).
 *
 * The kernel does not see xvs's frames, so without this an entry in use would grow stale and go.
 * Entries made managed here carry our own protocol number: after a crash the next daemon knows
 * them and lets go of those that nobody uses any more. The director itself never sends ARP or
 * neighbour solicitations (IPv6).
 */

import type { HostAddress } from '../table/address6';
import { NEIGHBOUR_FAILED, NEIGHBOUR_RESOLVED, NEIGHBOUR_UNRESOLVED } from '../table/neighbour';
import type { NextHopTable } from '../table/nextHop';
import type { EventName, Log } from './log/events';
import {
  AF_INET,
  AF_INET6,
  addressText,
  hostAddress,
  hostBytes,
  macHigh,
  macLow,
  type NeighbourMessage,
  NTF_EXT_LEARNED,
  NTF_EXT_MANAGED,
  NTF_PROXY,
  NUD_DELAY,
  NUD_FAILED,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  RTN_UNICAST,
} from './netlink';
import { errorCode, type NetlinkSocket } from './netlinkSocket';

/** Marks neighbour entries as managed by xvs; unassigned in the kernel's rtnetlink.h. */
export const NEIGHBOUR_PROTOCOL = 120;

/** All times in ticks of 100 ms. */
const IN_USE_TICKS = 100;
const ASK_AGAIN_TICKS = 10;
const REFRESH_TICKS = 30;
/** An unresolved neighbour that nobody wants any longer loses its slot. */
const UNWANTED_TICKS = 300;

const NUD_FIXED = NUD_PERMANENT | NUD_NOARP;
const NUD_SENDABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_FIXED;

/** CLOCK_MONOTONIC in ticks of 100 ms modulo 2^32, as the workers' clock counts. */
export function monotonicTick(): number {
  return Number(BigInt.asIntN(32, process.hrtime.bigint() / 100_000_000n));
}

/** What the mirror must know of interfaces. */
export interface InterfaceSlots {
  slotOf(interfaceIndex: number): number;
  /** 0 = not there now. */
  interfaceIndexOf(slot: number): number;
}

interface Entry {
  readonly interfaceSlot: number;
  readonly address: HostAddress;
  /** NUD_*; 0 = the kernel does not know it. */
  state: number;
  flags: number;
  managed: boolean;
  /** We made it managed, now or before a restart. */
  ours: boolean;
  /** When the kernel was last asked to use it. */
  askedTick: number;
  wantedTick: number;
}

export class NeighbourMirror {
  private readonly table: NextHopTable;
  private readonly socket: NetlinkSocket;
  private readonly slots: InterfaceSlots;
  private readonly log: Log;
  private readonly onResolved: () => void;
  private readonly entries = new Map<string, Entry>();
  private readonly said = new Set<string>();

  constructor(
    table: NextHopTable,
    socket: NetlinkSocket,
    slots: InterfaceSlots,
    log: Log,
    onResolved: () => void,
  ) {
    this.table = table;
    this.socket = socket;
    this.slots = slots;
    this.log = log;
    this.onResolved = onResolved;
  }

  /** One notification or dumped entry. */
  apply(message: NeighbourMessage): void {
    const interfaceSlot = this.slots.slotOf(message.index);
    const address = mirroredAddress(message);
    if (interfaceSlot < 0 || address === null) {
      return;
    }
    if (message.deleted) {
      this.remove(interfaceSlot, address);
      return;
    }
    const now = monotonicTick();
    const entry = this.entryOf(interfaceSlot, address, now);
    entry.state = message.state;
    entry.flags = message.flags;
    entry.managed = (message.flagsExtended & NTF_EXT_MANAGED) !== 0;
    entry.ours = entry.managed && message.protocol === NEIGHBOUR_PROTOCOL;
    if ((message.state & NUD_SENDABLE) !== 0 && message.mac.length === 6) {
      this.putResolved(entry, message.mac, now);
    } else if (this.table.neighbours.findHost(interfaceSlot, address) !== 0) {
      const failed = (message.state & NUD_FAILED) !== 0;
      const state = failed ? NEIGHBOUR_FAILED : NEIGHBOUR_UNRESOLVED;
      this.table.putUnresolved(interfaceSlot, address, state, now);
    }
  }

  /** A whole dump: what it does not contain is gone. */
  replace(messages: readonly NeighbourMessage[]): void {
    const dumped = new Set<string>();
    for (const message of messages) {
      const interfaceSlot = this.slots.slotOf(message.index);
      const address = mirroredAddress(message);
      if (interfaceSlot >= 0 && address !== null) {
        dumped.add(keyOf(interfaceSlot, address));
        this.apply(message);
      }
    }
    for (const [key, { interfaceSlot, address, state }] of this.entries) {
      if (!dumped.has(key) && state !== 0) {
        this.remove(interfaceSlot, address);
      }
    }
  }

  /** The interface is gone, or another one has taken its slot. */
  removeInterface(slot: number): void {
    for (const { interfaceSlot, address } of [...this.entries.values()]) {
      if (interfaceSlot === slot) {
        this.remove(interfaceSlot, address);
      }
    }
  }

  /** Takes the workers' requests for neighbours without a slot and asks the kernel for them. */
  takeRequests(): void {
    const now = monotonicTick();
    this.table.requests.drain((interfaceSlot, address) => {
      const known = this.table.neighbours.findHost(interfaceSlot, address);
      if (known !== 0) {
        // It came while the worker asked: let the worker look again.
        this.table.announceResolution();
        this.onResolved();
        return true;
      }
      if (this.slots.interfaceIndexOf(interfaceSlot) === 0) {
        return true;
      }
      if (this.table.putUnresolved(interfaceSlot, address, NEIGHBOUR_UNRESOLVED, now) === 0) {
        this.sayFull();
        return false;
      }
      const entry = this.entryOf(interfaceSlot, address, now);
      entry.wantedTick = now;
      this.ask(entry, false, now);
      return true;
    });
  }

  /** Once a second: asks again for what is wanted, keeps fresh what is used. */
  tick(): void {
    const now = monotonicTick();
    this.table.requests.reclaim();
    this.takeRequests();
    for (const entry of this.entries.values()) {
      const slot = this.table.neighbours.findHost(entry.interfaceSlot, entry.address);
      if (slot === 0) {
        continue;
      }
      if (this.table.neighbours.state(slot) === NEIGHBOUR_RESOLVED) {
        this.keepFresh(entry, slot, now);
      } else {
        this.askAgain(entry, slot, now);
      }
    }
  }

  /** Lets go of all entries that the kernel manages for us. */
  async release(): Promise<void> {
    const ours = [...this.entries.values()].filter((entry) => entry.ours);
    await Promise.allSettled(ours.map((entry) => this.use(entry, false)));
  }

  get count(): number {
    return this.entries.size;
  }

  private putResolved(entry: Entry, mac: Uint8Array, now: number): void {
    const { interfaceSlot, address } = entry;
    const before = this.table.resolutions;
    const slot = this.table.putResolved(interfaceSlot, address, macHigh(mac), macLow(mac), now);
    if (slot === 0) {
      this.sayFull();
    }
    if (this.table.resolutions !== before) {
      this.onResolved();
    }
  }

  private keepFresh(entry: Entry, slot: number, now: number): void {
    if ((entry.state & NUD_FIXED) !== 0) {
      return; // NTF_USE would take the PERMANENT from it
    }
    const last = this.table.neighbours.lastUsedTick(slot);
    const inUse = last !== 0 && Math.abs((now - last) | 0) < IN_USE_TICKS;
    const asked = (now - entry.askedTick) | 0;
    if (inUse && !entry.managed && asked >= REFRESH_TICKS) {
      this.ask(entry, true, now);
    } else if (!inUse && entry.ours && asked >= REFRESH_TICKS) {
      this.ask(entry, false, now);
    }
  }

  private askAgain(entry: Entry, slot: number, now: number): void {
    if (this.table.neighbours.takeRequest(slot)) {
      entry.wantedTick = now;
      if (((now - entry.askedTick) | 0) >= ASK_AGAIN_TICKS) {
        this.ask(entry, false, now);
      }
    } else if (entry.state === 0 && ((now - entry.wantedTick) | 0) >= UNWANTED_TICKS) {
      this.remove(entry.interfaceSlot, entry.address);
    }
  }

  private ask(entry: Entry, managed: boolean, now: number): void {
    entry.askedTick = now;
    this.use(entry, managed).catch((error: unknown) => {
      const why = errorCode(error);
      const where = `${addressText(entry.address)} on interface slot ${entry.interfaceSlot}`;
      this.sayOnce(
        why,
        'neighbour_unresolved',
        `the kernel does not resolve neighbour ${where}: ${error}`,
      );
    });
  }

  private use(entry: Entry, managed: boolean): Promise<void> {
    return this.socket.useNeighbour({
      index: this.slots.interfaceIndexOf(entry.interfaceSlot),
      address: hostBytes(entry.address),
      flags: entry.flags & NTF_EXT_LEARNED,
      managed,
      protocol: managed ? NEIGHBOUR_PROTOCOL : 0,
    });
  }

  private remove(interfaceSlot: number, address: HostAddress): void {
    this.entries.delete(keyOf(interfaceSlot, address));
    const slot = this.table.neighbours.findHost(interfaceSlot, address);
    if (slot !== 0) {
      this.table.removeSlot(slot, monotonicTick());
    }
  }

  private entryOf(interfaceSlot: number, address: HostAddress, now: number): Entry {
    const key = keyOf(interfaceSlot, address);
    const known = this.entries.get(key);
    if (known !== undefined) {
      return known;
    }
    const entry = {
      interfaceSlot,
      address,
      state: 0,
      flags: 0,
      managed: false,
      ours: false,
      askedTick: (now - REFRESH_TICKS) | 0,
      wantedTick: now,
    };
    this.entries.set(key, entry);
    return entry;
  }

  private sayFull(): void {
    const { slotsMax } = this.table.neighbours;
    this.sayOnce(
      'full',
      'neighbours_full',
      `the neighbour table is full: allowed are ${slotsMax} neighbours`,
    );
  }

  private sayOnce(key: string, event: EventName, message: string): void {
    if (!this.said.has(key)) {
      this.said.add(key);
      this.log('warn', event, message);
    }
  }
}

/** The address of a neighbour that is mirrored, else null. */
function mirroredAddress(message: NeighbourMessage): HostAddress | null {
  const { family, type, flags } = message;
  const known = family === AF_INET || family === AF_INET6;
  if (!known || type !== RTN_UNICAST || (flags & NTF_PROXY) !== 0) {
    return null;
  }
  return hostAddress(message.address);
}

function keyOf(interfaceSlot: number, address: HostAddress): string {
  return `${interfaceSlot} ${address}`;
}
