/**
 * Real servers in shared memory. A service's servers form a list, newest first, as IPVS walks it.
 *
 * Who writes: the control plane everything but the connection counts and the overload flag, which
 * workers change atomically on new, changed and ended connections only. List links change under
 * the service's lock. Slot 0 is "none". A slot stays while connections refer to it, also after the
 * server was removed (flag AVAILABLE gone), and is found again when it is added anew.
 */
import { words } from '../layout/record';

/** A power of two; four for each service, were there as many services as there can be. */
export const REAL_SERVERS_MAX = 1 << 18;

const REAL_SERVER = words('realServer', 32, {
  flags: 1,
  service: 1,
  address: 4, // IPv4 in the first
  port: 1,
  method: 1,
  weight: 1,
  next: 1,
  upperThreshold: 1,
  lowerThreshold: 1,
  active: 1,
  inactive: 1,
  persistent: 1,
  lastWeight: 1,
  family: 1,
  tunnelType: 1,
  tunnelPort: 1,
  tunnelChecksum: 1,
  /** Members of lblc's and lblcr's sets that are this server; under the service's lock. */
  localities: 1,
  /** Largest packet that reaches a tunnelled server, as an ICMP error told; 0: none did. */
  pathMtu: 1,
  /** Tick from which on it is forgotten. */
  pathMtuTick: 1,
  /** Goes up with every change of address, family or tunnel: what workers keep of them is old. */
  revision: 1,
  reserved: 8,
});
const WORDS = REAL_SERVER.size;
const AT = REAL_SERVER.at;
const {
  flags: FLAGS,
  service: SERVICE,
  address: ADDRESS,
  port: PORT,
  method: METHOD,
  weight: WEIGHT,
  next: NEXT,
  upperThreshold: UPPER,
  lowerThreshold: LOWER,
  active: ACTIVE,
  inactive: INACTIVE,
  localities: LOCALITIES,
  family: FAMILY,
  pathMtu: PATH_MTU,
  pathMtuTick: PATH_MTU_TICK,
  revision: REVISION,
  tunnelType: TUNNEL_TYPE,
  tunnelPort: TUNNEL_PORT,
  tunnelChecksum: TUNNEL_CHECKSUM_MODE,
} = AT;

export const FLAG_AVAILABLE = 1;
export const FLAG_OVERLOAD = 2;
const FLAG_IN_USE = 4;
/** The engine folds what is not exported. */
const AVAILABLE = FLAG_AVAILABLE;
const SHIFT = 5; // 32 words

/** Forwarding methods, numbered as IPVS's connection flags do. */
export const METHOD_NAT = 0;
export const METHOD_LOCAL = 1;
export const METHOD_TUNNEL = 2;
export const METHOD_DR = 3;
export const METHOD_BYPASS = 4;
export const METHOD_FULLNAT = 5;

/** As tunnelType and tunnelChecksum say it. */
export const TUNNEL_IPIP = 0;
export const TUNNEL_GUE = 1;
export const TUNNEL_GRE = 2;
export const TUNNEL_WITHOUT_CHECKSUM = 0;
export const TUNNEL_CHECKSUM = 1;
export const TUNNEL_REMOTE_CHECKSUM = 2;

/** How long a learned path MTU holds, and how small it may be: as Linux (ip-sysctl.rst). */
const PATH_MTU_TICKS = 600 * 10;
const PATH_MTU_MIN_IPV4 = 552;
const PATH_MTU_MIN_IPV6 = 1280;
const IPV6 = 6;

export interface RealServerRecord {
  readonly family: number;
  readonly address: Int32Array; // 4 words, IPv4 in the first
  readonly port: number;
}
export interface RealServerSettings {
  readonly method: number;
  readonly weight: number;
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  readonly tunnelType: number;
  readonly tunnelPort: number;
  readonly tunnelChecksum: number;
}

export class RealServerTable {
  readonly words: Int32Array;
  /** Free slots, the next one last; listed at the first need, by the control plane only. */
  private unused: number[] | null = null;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(REAL_SERVERS_MAX * WORDS * 4);
  }

  // What workers read, per packet or per new connection.
  isAvailable(slot: number): boolean {
    return (this.words[(slot << SHIFT) + FLAGS]! & AVAILABLE) !== 0;
  }
  /** May a scheduler choose it: not overloaded, weight above 0. */
  isEligible(slot: number): boolean {
    const at = slot * WORDS;
    return (this.words[at + FLAGS]! & FLAG_OVERLOAD) === 0 && this.words[at + WEIGHT]! > 0;
  }
  /** As `isEligible`, for tables that may name a server which is being removed. */
  isChoosable(slot: number): boolean {
    return this.isAvailable(slot) && this.isEligible(slot);
  }
  service(slot: number): number {
    return this.words[(slot << SHIFT) + SERVICE]!;
  }
  next(slot: number): number {
    return this.words[slot * WORDS + NEXT]!;
  }
  address4(slot: number): number {
    return this.words[slot * WORDS + ADDRESS]!;
  }
  /** Word 0 to 3 of the address. */
  addressWord(slot: number, word: number): number {
    return this.words[(slot << SHIFT) + ADDRESS + word]!;
  }
  /** 4 or 6. */
  family(slot: number): number {
    return this.words[(slot << SHIFT) + FAMILY]!;
  }
  port(slot: number): number {
    return this.words[slot * WORDS + PORT]!;
  }
  /** TUNNEL_IPIP, TUNNEL_GUE, TUNNEL_GRE. */
  tunnelType(slot: number): number {
    return this.words[(slot << SHIFT) + TUNNEL_TYPE]!;
  }
  tunnelPort(slot: number): number {
    return this.words[(slot << SHIFT) + TUNNEL_PORT]!;
  }
  /** TUNNEL_WITHOUT_CHECKSUM, TUNNEL_CHECKSUM, TUNNEL_REMOTE_CHECKSUM. */
  tunnelChecksum(slot: number): number {
    return this.words[(slot << SHIFT) + TUNNEL_CHECKSUM_MODE]!;
  }
  /** See the record. */
  revision(slot: number): number {
    return this.words[(slot << SHIFT) + REVISION]!;
  }
  /** Largest packet, outer header included, known to reach the server; 0: nothing is known. */
  pathMtu(slot: number, tick: number): number {
    const at = slot << SHIFT;
    const mtu = this.words[at + PATH_MTU]!;
    if (mtu === 0) return 0;
    return ((this.words[at + PATH_MTU_TICK]! - tick) | 0) > 0 ? mtu : 0;
  }
  /** Was anything learnt of the way to the server, be it forgotten by now? */
  hasPathMtu(slot: number): boolean {
    return this.words[(slot << SHIFT) + PATH_MTU] !== 0;
  }
  method(slot: number): number {
    return this.words[slot * WORDS + METHOD]!;
  }
  weight(slot: number): number {
    return this.words[slot * WORDS + WEIGHT]!;
  }
  active(slot: number): number {
    return this.words[slot * WORDS + ACTIVE]!;
  }
  inactive(slot: number): number {
    return this.words[slot * WORDS + INACTIVE]!;
  }
  /** What lc, wlc, twos, lblc and lblcr compare: an active connection weighs as much as 256. */
  load(slot: number): number {
    const at = slot * WORDS;
    return this.words[at + ACTIVE]! * 256 + this.words[at + INACTIVE]!;
  }
  /** The last weight above 0, or the weight it was added with. */
  lastWeight(slot: number): number {
    return this.words[slot * WORDS + AT.lastWeight]!;
  }
  persistent(slot: number): number {
    return this.words[slot * WORDS + AT.persistent]!;
  }
  isOverloaded(slot: number): boolean {
    return (this.words[slot * WORDS + FLAGS]! & FLAG_OVERLOAD) !== 0;
  }

  /** A connection begins. Sets the overload flag when the upper threshold is reached. */
  bind(slot: number, active: boolean): void {
    const at = slot * WORDS;
    Atomics.add(this.words, at + (active ? ACTIVE : INACTIVE), 1);
    const upper = this.words[at + UPPER]!;
    if (upper !== 0 && this.words[at + ACTIVE]! + this.words[at + INACTIVE]! >= upper) {
      Atomics.or(this.words, at + FLAGS, FLAG_OVERLOAD);
    }
  }

  /** A connection ends. Clears the overload flag when the lower threshold is passed. */
  unbind(slot: number, active: boolean): void {
    const at = slot * WORDS;
    Atomics.sub(this.words, at + (active ? ACTIVE : INACTIVE), 1);
    if ((this.words[at + FLAGS]! & FLAG_OVERLOAD) === 0) return;
    const total = this.words[at + ACTIVE]! + this.words[at + INACTIVE]!;
    const lower = this.words[at + LOWER]!;
    const upper = this.words[at + UPPER]!;
    const clears = lower !== 0 ? total < lower : upper === 0 || total * 4 < upper * 3;
    if (clears) Atomics.and(this.words, at + FLAGS, ~FLAG_OVERLOAD);
  }

  /** A connection becomes active, or inactive. */
  move(slot: number, toActive: boolean): void {
    const at = slot * WORDS;
    Atomics.add(this.words, at + ACTIVE, toActive ? 1 : -1);
    Atomics.sub(this.words, at + INACTIVE, toActive ? 1 : -1);
  }

  /** A persistence template begins (1) or ends (-1). */
  countPersistent(slot: number, change: number): void {
    Atomics.add(this.words, slot * WORDS + AT.persistent, change);
  }

  /** A set of lblc or lblcr gains (1) or loses (-1) this server. Under the service's lock. */
  countLocality(slot: number, change: number): void {
    const at = slot * WORDS + LOCALITIES;
    this.words[at] = this.words[at]! + change;
  }

  /**
   * A router on the way to a tunnelled server said how long a packet may be, outer header
   * included; a longer one than is known says nothing. Any worker writes it, plainly: the tick
   * first, so that no old one goes with it.
   */
  learnPathMtu(slot: number, mtu: number, tick: number): void {
    const known = this.pathMtu(slot, tick);
    if (known !== 0 && known < mtu) return;
    const at = slot << SHIFT;
    const minimum = this.words[at + FAMILY] === IPV6 ? PATH_MTU_MIN_IPV6 : PATH_MTU_MIN_IPV4;
    this.words[at + PATH_MTU_TICK] = (tick + PATH_MTU_TICKS) | 0;
    this.words[at + PATH_MTU] = Math.max(mtu, minimum);
  }

  // What the control plane does; the list under the service's lock.

  /** A fresh slot for a server of `service`, or 0 when the table is full. */
  create(service: number, record: RealServerRecord): number {
    const slot = this.freeSlots().pop() ?? 0;
    if (slot === 0) return 0;
    const at = slot * WORDS;
    const revision = this.words[at + REVISION]!;
    this.words.fill(0, at, at + WORDS);
    this.words[at + SERVICE] = service;
    this.words.set(record.address, at + ADDRESS);
    this.words[at + PORT] = record.port;
    this.words[at + AT.family] = record.family;
    this.words[at + FLAGS] = FLAG_IN_USE;
    this.words[at + REVISION] = (revision + 1) | 0;
    return slot;
  }

  private freeSlots(): number[] {
    if (this.unused === null) {
      this.unused = [];
      for (let slot = REAL_SERVERS_MAX - 1; slot > 0; slot--) {
        if ((this.words[slot * WORDS + FLAGS]! & FLAG_IN_USE) === 0) this.unused.push(slot);
      }
    }
    return this.unused;
  }

  get freeCount(): number {
    return this.freeSlots().length;
  }

  configure(slot: number, settings: RealServerSettings): void {
    const at = slot * WORDS;
    const before = this.words[at + UPPER]!;
    this.words[at + METHOD] = settings.method;
    this.words[at + WEIGHT] = settings.weight;
    if (settings.weight !== 0) this.words[at + AT.lastWeight] = settings.weight;
    this.words[at + TUNNEL_TYPE] = settings.tunnelType;
    this.words[at + TUNNEL_PORT] = settings.tunnelPort;
    this.words[at + TUNNEL_CHECKSUM_MODE] = settings.tunnelChecksum;
    this.words[at + REVISION] = (this.words[at + REVISION]! + 1) | 0;
    this.words[at + LOWER] = settings.lowerThreshold;
    this.words[at + UPPER] = settings.upperThreshold;
    if (settings.upperThreshold === 0 || settings.upperThreshold > before) {
      Atomics.and(this.words, at + FLAGS, ~FLAG_OVERLOAD);
    }
  }

  /** After `configure` of a server that is added: also a weight of 0 is its last weight then. */
  forgetLastWeight(slot: number): void {
    this.words[slot * WORDS + AT.lastWeight] = this.words[slot * WORDS + WEIGHT]!;
  }

  setAvailable(slot: number, service: number, available: boolean): void {
    const at = slot * WORDS;
    this.words[at + SERVICE] = service;
    if (available) Atomics.or(this.words, at + FLAGS, FLAG_AVAILABLE);
    else Atomics.and(this.words, at + FLAGS, ~FLAG_AVAILABLE);
  }

  setNext(slot: number, next: number): void {
    this.words[slot * WORDS + NEXT] = next;
  }

  /** Connections, templates and schedulers' sets that refer to the slot. */
  references(slot: number): number {
    const localities = this.words[slot * WORDS + LOCALITIES]!;
    return this.active(slot) + this.inactive(slot) + this.persistent(slot) + localities;
  }

  free(slot: number): void {
    this.freeSlots().push(slot);
    this.words[slot * WORDS + FLAGS] = 0;
  }
}
