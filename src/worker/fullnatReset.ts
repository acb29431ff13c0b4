/**
 * Resets to both ends of a FULLNAT connection over TCP whose time is over (sysctl
 * `conn_expire_tcp_rst`), so that neither goes on with one that the director does not know any
 * more. An end takes a reset only with the sequence number that it expects next (RFC 5961 3.2):
 * the one that it acknowledged last. Sent by the connection's owner, a bounded number each tick.
 */

import { pseudoSum } from '../forward/fullnat';
import { fold, sumBytes } from '../net/checksum';
import { ETHERNET_BYTES, setEthernetType, TYPE_IPV4, TYPE_IPV6 } from '../net/ethernet';
import { FLAG_DONT_FRAGMENT, IPV4_BYTES_MIN, PROTOCOL_TCP, writeIpv4 } from '../net/ipv4';
import {
  IPV6_BYTES,
  IPV6_DESTINATION,
  IPV6_SOURCE,
  writeIpv6Address,
  writeIpv6Header,
} from '../net/ipv6';
import { setTcpChecksum, TCP_BYTES_MIN, TCP_RST } from '../net/tcp';
import type { Umem } from '../port/umem';
import { CONNECTION, EXTENSION, kindFamily, kindProtocol } from '../table/connection';
import { COUNTER, FORWARDED } from '../table/counter';
import type { Tables } from '../table/memory';
import type { NextHopTable } from '../table/nextHop';
import type { Settings } from '../table/setting';
import { CLOSE_WAIT, ESTABLISHED, FIN_WAIT, LAST_ACK } from '../table/state';
import type { Egress } from './egress';

const AT = CONNECTION.at;
const AT6 = EXTENSION.at;
const TTL = 64;
const NO_ID = 0;
/** Connections that are reset in a tick of 100 ms. */
const RESETS_MAX = 100;
/** Chunks that are left to frames that come. */
const CHUNKS_LEFT = 128;
const OFFSET_FLAGS_RST = (TCP_BYTES_MIN << 10) | TCP_RST;

export class FullnatReset {
  private readonly entries: Int32Array;
  private readonly extension: Int32Array;
  private readonly umem: Umem;
  private readonly egress: Egress;
  private readonly hops: NextHopTable;
  private readonly settings: Settings;
  private readonly counters: Float64Array;
  private tick = 0;
  private left = RESETS_MAX;

  constructor(tables: Tables, worker: number, umem: Umem, egress: Egress) {
    this.entries = tables.connections.entries;
    this.extension = tables.connections.extension;
    this.umem = umem;
    this.egress = egress;
    this.hops = tables.nextHops;
    this.settings = tables.settings;
    this.counters = tables.counters[worker]!;
  }

  /** `state`: the connection's last. Its words must still be there. */
  send(entry: number, state: number, tick: number): void {
    if (this.settings.connExpireTcpRst === 0 || !isOpen(state)) return;
    const base = entry << 4;
    const kind = this.entries[base + AT.identity]! & 0xff;
    if (kindProtocol(kind) !== PROTOCOL_TCP || !this.mayReset(tick)) return;
    const isIpv4 = kindFamily(kind) === 4;
    this.sendOne(base, isIpv4, true, tick);
    this.sendOne(base, isIpv4, false, tick);
  }

  private mayReset(tick: number): boolean {
    if (tick !== this.tick) {
      this.tick = tick;
      this.left = RESETS_MAX;
    }
    if (this.left === 0 || this.umem.freeCount < CHUNKS_LEFT) return false;
    this.left--;
    return true;
  }

  /** None to an end that has not acknowledged anything. */
  private sendOne(base: number, isIpv4: boolean, toServer: boolean, tick: number): void {
    const entries = this.entries;
    const sequence = this.extension[base + (toServer ? AT6.serverAck : AT6.clientAck)]!;
    if (sequence === 0) return;
    const at = this.umem.take();
    if (at < 0) return;
    const ip = at + ETHERNET_BYTES;
    const tcp = ip + (isIpv4 ? IPV4_BYTES_MIN : IPV6_BYTES);
    const pair = entries[base + (toServer ? AT.replyPorts : AT.clientPorts)]!;
    if (isIpv4) this.write4(at, base, toServer);
    else this.write6(at, base, toServer);
    const view = this.umem.view;
    view.setInt32(tcp, (pair << 16) | (pair >>> 16));
    view.setInt32(tcp + 4, sequence);
    view.setInt32(tcp + 8, 0);
    view.setInt32(tcp + 12, OFFSET_FLAGS_RST << 16);
    view.setInt32(tcp + 16, 0);
    const pseudo = pseudoSum(view, ip, isIpv4, PROTOCOL_TCP, TCP_BYTES_MIN);
    setTcpChecksum(view, tcp, ~fold(pseudo + sumBytes(view, tcp, TCP_BYTES_MIN)) & 0xffff);
    const length = tcp + TCP_BYTES_MIN - at;
    const sent = isIpv4
      ? this.leave4(at, length, base, toServer, tick)
      : this.leave6(at, length, base, toServer, tick);
    if (sent === FORWARDED) this.counters[COUNTER.resets_sent]! += 1;
    else this.umem.release(at);
  }

  private write4(at: number, base: number, toServer: boolean): void {
    const entries = this.entries;
    setEthernetType(this.umem.view, at, TYPE_IPV4);
    writeIpv4(
      this.umem.view,
      at + ETHERNET_BYTES,
      0,
      IPV4_BYTES_MIN + TCP_BYTES_MIN,
      NO_ID,
      PROTOCOL_TCP,
      TTL,
      entries[base + (toServer ? AT.reply : AT.virtual)]!,
      entries[base + (toServer ? AT.real : AT.client)]!,
      FLAG_DONT_FRAGMENT,
    );
  }

  private write6(at: number, base: number, toServer: boolean): void {
    const view = this.umem.view;
    const entries = this.entries;
    const ip = at + ETHERNET_BYTES;
    setEthernetType(view, at, TYPE_IPV6);
    writeIpv6Header(view, ip, 0, TCP_BYTES_MIN, PROTOCOL_TCP, TTL);
    const source = entries[base + (toServer ? AT.reply : AT.virtual)]!;
    const destination = entries[base + (toServer ? AT.real : AT.client)]!;
    this.writeAddress(ip + IPV6_SOURCE, base + (toServer ? AT6.reply : AT6.virtual), source);
    this.writeAddress(
      ip + IPV6_DESTINATION,
      base + (toServer ? AT6.real : AT6.client),
      destination,
    );
  }

  private writeAddress(at: number, first: number, last: number): void {
    const extension = this.extension;
    const word1 = extension[first + 1]!;
    writeIpv6Address(this.umem.view, at, extension[first]!, word1, extension[first + 2]!, last);
  }

  private leave4(
    at: number,
    length: number,
    base: number,
    toServer: boolean,
    tick: number,
  ): number {
    const address = this.entries[base + (toServer ? AT.real : AT.client)]!;
    return this.egress.send(at, length, 0, this.hops.resolve(address), address, tick);
  }

  private leave6(
    at: number,
    length: number,
    base: number,
    toServer: boolean,
    tick: number,
  ): number {
    const extension = this.extension;
    const first = base + (toServer ? AT6.real : AT6.client);
    const word0 = extension[first]!;
    const word1 = extension[first + 1]!;
    const word2 = extension[first + 2]!;
    const word3 = this.entries[base + (toServer ? AT.real : AT.client)]!;
    const hop = this.hops.resolve6(word0, word1, word2, word3);
    return this.egress.send6(at, length, 0, hop, word0, word1, word2, word3, tick);
  }
}

/** May an end still hold the connection open? */
function isOpen(state: number): boolean {
  return state === ESTABLISHED || state === FIN_WAIT || state === CLOSE_WAIT || state === LAST_ACK;
}
