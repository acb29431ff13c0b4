/**
 * Settings that workers read: one word each, written by the control plane only, read plainly.
 * A changed timeout applies to a connection at its next packet, as in IPVS.
 */
import { words } from '../layout/record';
import { STATE_COUNT } from './state';

/** Ticks of the coarse clock in a second. */
export const TICKS_PER_SECOND = 10;
const DAY_TICKS = 86_400 * TICKS_PER_SECOND;

export const SETTING = words('setting', 64, {
  /** How many services there are; 0: everything goes to the host, as IPVS then does. */
  serviceCount: 1,
  hashSeed: 1,
  /** Ticks a connection in each state lives after its last packet. */
  timeouts: STATE_COUNT,
  /** Services for any port of an address (port 0), and those on port 21 (FTP). */
  anyPortServices: 1,
  ftpServices: 1,
  // IPVS's sysctls that workers heed.
  connReuseMode: 1,
  expireNodestConn: 1,
  expireQuiescentTemplate: 1,
  sloppyTcp: 1,
  natIcmpSend: 1,
  cacheBypass: 1,
  /** 1: the transition table of secure_tcp holds. */
  secureTcp: 1,
  /** Every how many schedulable packets one is dropped; 0 = none (drop_packet). */
  dropRate: 1,
  /** Ticks after which lblc and lblcr forget what is not used; lblcr: after which a set shrinks. */
  lblcExpiration: 1,
  lblcrExpiration: 1,
  /** 1: a tunnel copies DF, and packets that are too long for it are refused with an error. */
  pmtuDisc: 1,
  /** FULLNAT: 1 tells real servers the client's address in a TCP option. */
  toa: 1,
  /** FULLNAT: 1 resets both ends of a TCP connection that expires. */
  connExpireTcpRst: 1,
  /** 1: any SCTP packet but an abort may begin a connection. */
  sloppySctp: 1,
  /** 1: an ICMP error about an unknown connection begins it. */
  scheduleIcmp: 1,
  reserved: 64 - 2 - STATE_COUNT - 17,
});
const AT = SETTING.at;
const { serviceCount: SERVICE_COUNT, hashSeed: HASH_SEED, timeouts: TIMEOUTS } = AT;
// Bound here: the layout object itself is slow to look into.
const {
  anyPortServices: ANY_PORT_SERVICES,
  ftpServices: FTP_SERVICES,
  connReuseMode: CONN_REUSE_MODE,
  expireNodestConn: EXPIRE_NODEST_CONN,
  expireQuiescentTemplate: EXPIRE_QUIESCENT_TEMPLATE,
  sloppyTcp: SLOPPY_TCP,
  sloppySctp: SLOPPY_SCTP,
  natIcmpSend: NAT_ICMP_SEND,
  cacheBypass: CACHE_BYPASS,
  scheduleIcmp: SCHEDULE_ICMP,
  secureTcp: SECURE_TCP,
  dropRate: DROP_RATE,
  lblcExpiration: LBLC_EXPIRATION,
  lblcrExpiration: LBLCR_EXPIRATION,
  pmtuDisc: PMTU_DISC,
  toa: TOA,
  connExpireTcpRst: CONN_EXPIRE_TCP_RST,
} = AT;

/** Settings by name, as the control plane writes them. */
export type SettingName =
  | 'serviceCount'
  | 'anyPortServices'
  | 'ftpServices'
  | 'connReuseMode'
  | 'expireNodestConn'
  | 'expireQuiescentTemplate'
  | 'sloppyTcp'
  | 'sloppySctp'
  | 'natIcmpSend'
  | 'cacheBypass'
  | 'scheduleIcmp'
  | 'secureTcp'
  | 'dropRate'
  | 'lblcExpiration'
  | 'lblcrExpiration'
  | 'pmtuDisc'
  | 'toa'
  | 'connExpireTcpRst';

export class Settings {
  readonly words: Int32Array;
  /** Ticks by state; a live view. */
  readonly timeouts: Int32Array;
  readonly hashSeed: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.timeouts = this.words.subarray(TIMEOUTS, TIMEOUTS + STATE_COUNT);
    this.hashSeed = this.words[HASH_SEED]!;
  }

  static buffer(hashSeed: number, timeoutSeconds: readonly number[]): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(SETTING.size * 4);
    const values = new Int32Array(buffer);
    values[HASH_SEED] = hashSeed;
    values[AT.connReuseMode] = 1;
    values[AT.lblcExpiration] = DAY_TICKS;
    values[AT.lblcrExpiration] = DAY_TICKS;
    values[AT.pmtuDisc] = 1;
    values[AT.toa] = 1;
    for (let state = 0; state < STATE_COUNT; state++) {
      values[TIMEOUTS + state] = timeoutSeconds[state]! * TICKS_PER_SECOND;
    }
    return buffer;
  }

  set(name: SettingName, value: number): void {
    this.words[AT[name]] = value;
  }

  get serviceCount(): number {
    return this.words[SERVICE_COUNT]!;
  }
  set serviceCount(count: number) {
    this.words[SERVICE_COUNT] = count;
  }
  get anyPortServices(): number {
    return this.words[ANY_PORT_SERVICES]!;
  }
  get ftpServices(): number {
    return this.words[FTP_SERVICES]!;
  }
  get connReuseMode(): number {
    return this.words[CONN_REUSE_MODE]!;
  }
  get expireNodestConn(): number {
    return this.words[EXPIRE_NODEST_CONN]!;
  }
  get expireQuiescentTemplate(): number {
    return this.words[EXPIRE_QUIESCENT_TEMPLATE]!;
  }
  get sloppyTcp(): number {
    return this.words[SLOPPY_TCP]!;
  }
  get sloppySctp(): number {
    return this.words[SLOPPY_SCTP]!;
  }
  get natIcmpSend(): number {
    return this.words[NAT_ICMP_SEND]!;
  }
  get cacheBypass(): number {
    return this.words[CACHE_BYPASS]!;
  }
  get scheduleIcmp(): number {
    return this.words[SCHEDULE_ICMP]!;
  }
  get secureTcp(): number {
    return this.words[SECURE_TCP]!;
  }
  get dropRate(): number {
    return this.words[DROP_RATE]!;
  }
  get lblcExpiration(): number {
    return this.words[LBLC_EXPIRATION]!;
  }
  get lblcrExpiration(): number {
    return this.words[LBLCR_EXPIRATION]!;
  }
  get pmtuDisc(): number {
    return this.words[PMTU_DISC]!;
  }
  get toa(): number {
    return this.words[TOA]!;
  }
  get connExpireTcpRst(): number {
    return this.words[CONN_EXPIRE_TCP_RST]!;
  }
}
