/**
 * What a packet does to its connection: state, timer, counts; and whether it begins a new one in
 * its place. Another worker may do the same at this moment: a transition is one compare-exchange,
 * everything else a plain store of what holds just now.
 */

import { PROTOCOL_TCP } from '../net/ipv4';
import { PROTOCOL_SCTP } from '../net/sctp';
import { TCP_SYN } from '../net/tcp';
import {
  CONNECTION,
  CONNECTION_ACTIVE,
  CONNECTION_METHOD_SHIFT,
  CONNECTION_SERVER_BITS,
  FROM_CLIENT,
  IN_PACKETS_MAX,
  IN_PACKETS_SHIFT,
  TEMPLATE_ASSURED,
} from '../table/connection';
import {
  realServerTraffic,
  serviceTraffic,
  TRAFFIC_IN_BYTES,
  TRAFFIC_IN_PACKETS,
} from '../table/counter';
import type { Tables } from '../table/memory';
import { METHOD_FULLNAT, METHOD_NAT, type RealServerTable } from '../table/realServer';
import type { Settings } from '../table/setting';
import {
  CLOSE,
  DIRECTION_IN,
  DIRECTION_IN_ONLY,
  DIRECTION_OUT,
  ESTABLISHED,
  FIN_WAIT,
  isActiveState,
  nextTcpState,
  TIME_WAIT,
} from '../table/state';
import { nextSctpState, SCTP_CLOSED, SCTP_ESTABLISHED } from '../table/stateSctp';
import type { Expiry } from './expire';

const {
  state: STATE,
  realServer: REAL_SERVER,
  expiresAt: EXPIRES_AT,
  timerAt: TIMER_AT,
  control: CONTROL,
} = CONNECTION.at;
// The engine folds a module's own constants, not those it imports (docs/bench.md).
const TCP = PROTOCOL_TCP;
const SYN = TCP_SYN;
const NAT = METHOD_NAT;
const FULLNAT = METHOD_FULLNAT;
const [FIN_WAIT_STATE, TIME_WAIT_STATE] = [FIN_WAIT, TIME_WAIT];
const [CLOSED_STATE, SCTP_CLOSED_STATE] = [CLOSE, SCTP_CLOSED];
const METHOD_SHIFT = CONNECTION_METHOD_SHIFT;
const SERVER_BITS = CONNECTION_SERVER_BITS;
const [ESTABLISHED_STATE, ESTABLISHED_SCTP] = [ESTABLISHED, SCTP_ESTABLISHED];
const SCTP = PROTOCOL_SCTP;
const IN_MAX = IN_PACKETS_MAX;
/** Byte of the count in its word, little-endian. */
const IN_BYTE = IN_PACKETS_SHIFT >>> 3;
/** To which a direction is added. */
const PACKETS = TRAFFIC_IN_PACKETS - FROM_CLIENT;
const BYTES = TRAFFIC_IN_BYTES - FROM_CLIENT;
const [INWARD, OUTWARD, INWARD_ONLY] = [DIRECTION_IN, DIRECTION_OUT, DIRECTION_IN_ONLY];

export class Tracker {
  private readonly entries: Int32Array;
  private readonly entryBytes: Uint8Array;
  private readonly realServers: RealServerTable;
  private readonly settings: Settings;
  private readonly timeouts: Int32Array;
  private readonly counters: Float64Array;
  private readonly expiry: Expiry;

  constructor(tables: Tables, worker: number, expiry: Expiry) {
    const { entries } = tables.connections;
    this.entries = entries;
    this.entryBytes = new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength);
    this.realServers = tables.realServers;
    this.settings = tables.settings;
    this.timeouts = tables.settings.timeouts;
    this.counters = tables.counters[worker]!;
    this.expiry = expiry;
  }

  /**
   * State and timer of a connection after one more packet. `flags`: TCP's, SCTP's event.
   */
  advance(
    entry: number,
    base: number,
    protocol: number,
    inbound: boolean,
    method: number,
    flags: number,
    tick: number,
  ): void {
    const entries = this.entries;
    const word = entries[base + STATE]!;
    // A connection that has just ended: what it held is given back already.
    if (word === 0) return;
    let state = word & 0xff;
    if (protocol === TCP) {
      const direction = directionOf(inbound, method);
      const next = nextTcpState(direction, flags, state, this.settings.secureTcp) & 0xff;
      if (next !== state) {
        this.transit(base, word, next);
        state = next;
      }
    } else if (protocol === SCTP) {
      const direction = directionOf(inbound, method);
      const next = nextSctpState(direction, flags, state) & 0xff;
      if (next !== state) this.transit(base, word, next);
      state = next;
    } else if (!inbound && entries[base + CONTROL] !== 0) this.assure(entries[base + CONTROL]!);
    if (inbound) this.countIn(base);
    const expiresAt = (tick + this.timeouts[state]!) | 0;
    if (entries[base + EXPIRES_AT] === expiresAt) return;
    entries[base + EXPIRES_AT] = expiresAt;
    if (((expiresAt - entries[base + TIMER_AT]!) | 0) < 0) this.expiry.sooner(entry, tick);
  }

  /** Another worker may do the same at this moment: then its transition holds. */
  private transit(base: number, word: number, next: number): void {
    const wasActive = (word & CONNECTION_ACTIVE) !== 0;
    const active = isActiveState(next);
    const changed = (word & ~(0xff | CONNECTION_ACTIVE)) | next | (active ? CONNECTION_ACTIVE : 0);
    if (Atomics.compareExchange(this.entries, base + STATE, word, changed) !== word) return;
    if (active !== wasActive) {
      const server = this.entries[base + REAL_SERVER]! & SERVER_BITS;
      if (server !== 0) this.realServers.move(server, active);
    }
    const template = this.entries[base + CONTROL]!;
    const isEstablished = next === ESTABLISHED_STATE || next === ESTABLISHED_SCTP;
    if (isEstablished && template !== 0) this.assure(template);
  }

  /** A persistence template has proved to be of use. */
  private assure(template: number): void {
    const at = (template << 4) + STATE;
    if ((this.entries[at]! & TEMPLATE_ASSURED) === 0) {
      Atomics.or(this.entries, at, TEMPLATE_ASSURED);
    }
  }

  /**
   * The first packets from the client are counted, for drop_entry: in the top byte of the server's
   * word, by a byte's store, which cannot put an old server into an entry that is another's by now.
   */
  private countIn(base: number): void {
    const at = ((base + REAL_SERVER) << 2) + IN_BYTE;
    const count = this.entryBytes[at]!;
    if (count <= IN_MAX) this.entryBytes[at] = count + 1;
  }

  /** Could a packet with these flags begin a connection anew? Asked before `isReplaced`. */
  mayBeReplaced(flags: number): boolean {
    return (flags & SYN) !== 0 || this.settings.expireNodestConn !== 0;
  }

  /**
   * Does this packet from the client begin a new connection in place of the one that is there?
   * A SYN does, on one that is over (conn_reuse_mode) or whose server is quiesced
   * (expire_nodest_conn); so does any packet of one whose server is gone (expire_nodest_conn).
   */
  isReplaced(entry: number, flags: number, tick: number): boolean {
    const base = entry << 4;
    const settings = this.settings;
    const server = this.entries[base + REAL_SERVER]! & SERVER_BITS;
    if ((flags & SYN) !== 0) {
      const isQuiesced = server !== 0 && this.realServers.weight(server) === 0;
      if (settings.expireNodestConn !== 0 && isQuiesced) {
        return this.expireNow(entry, tick);
      }
      if (this.isReuseExpected(base)) return this.expireNow(entry, tick);
    }
    if (settings.expireNodestConn === 0 || server === 0) return false;
    if (this.realServers.isAvailable(server)) return false;
    return this.expireNow(entry, tick);
  }

  /** Controlled connections (persistence) are never reused. */
  private isReuseExpected(base: number): boolean {
    const mode = this.settings.connReuseMode;
    const word = this.entries[base + STATE]!;
    // Reckoned before the rare branches: compiled code would not know what is in them alone.
    const isOneWay = directionOf(true, (word >>> METHOD_SHIFT) & 0xf) !== INWARD;
    const isFinEnough = (mode & 2) !== 0;
    if (mode === 0 || this.entries[base + CONTROL] !== 0) return false;
    const state = word & 0xff;
    if (state === TIME_WAIT_STATE || state === CLOSED_STATE || state === SCTP_CLOSED_STATE)
      return true;
    return state === FIN_WAIT_STATE && isFinEnough && isOneWay;
  }

  private expireNow(entry: number, tick: number): boolean {
    this.entries[(entry << 4) + EXPIRES_AT] = tick;
    this.expiry.sooner(entry, tick);
    return true;
  }

  /** Counts a packet for its server and service. `direction`: FROM_CLIENT or FROM_SERVER. */
  count(server: number, direction: number, lengthBytes: number): void {
    if (this.realServers.isAvailable(server)) this.countFor(server, direction, lengthBytes);
  }

  /** The same for a server that is there. */
  countFor(server: number, direction: number, lengthBytes: number): void {
    const { counters, realServers } = this;
    const ofServer = realServerTraffic(server) + (direction & 3);
    const ofService = serviceTraffic(realServers.service(server)) + (direction & 3);
    counters[ofServer + PACKETS]! += 1;
    counters[ofServer + BYTES]! += lengthBytes;
    counters[ofService + PACKETS]! += 1;
    counters[ofService + BYTES]! += lengthBytes;
  }
}

/** Of a packet, as the transition tables know it. */
function directionOf(inbound: boolean, method: number): number {
  if (!inbound) return OUTWARD;
  return method === NAT || method === FULLNAT ? INWARD : INWARD_ONLY;
}
