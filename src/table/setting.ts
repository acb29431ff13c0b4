/**
 * Settings that workers read: one word each, written by the control plane only, read plainly.
 * A changed timeout applies to a connection at its next packet, as in IPVS.
 */
import { words } from '../layout/record';
import { STATE_COUNT } from './state';

/** Ticks of the coarse clock in a second. */
export const TICKS_PER_SECOND = 10;
const DAY_TICKS = 86_400 * TICKS_PER_SECOND;

export const SETTING = words('setting', 32, {
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
  reserved: 32 - 2 - STATE_COUNT - 12,
});
const AT = SETTING.at;
const { serviceCount: SERVICE_COUNT, hashSeed: HASH_SEED, timeouts: TIMEOUTS } = AT;

/** Settings by name, as the control plane writes them. */
export type SettingName =
  | 'serviceCount'
  | 'anyPortServices'
  | 'ftpServices'
  | 'connReuseMode'
  | 'expireNodestConn'
  | 'expireQuiescentTemplate'
  | 'sloppyTcp'
  | 'natIcmpSend'
  | 'cacheBypass'
  | 'secureTcp'
  | 'dropRate'
  | 'lblcExpiration'
  | 'lblcrExpiration';

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
    return this.words[AT.anyPortServices]!;
  }
  get ftpServices(): number {
    return this.words[AT.ftpServices]!;
  }
  get connReuseMode(): number {
    return this.words[AT.connReuseMode]!;
  }
  get expireNodestConn(): number {
    return this.words[AT.expireNodestConn]!;
  }
  get expireQuiescentTemplate(): number {
    return this.words[AT.expireQuiescentTemplate]!;
  }
  get sloppyTcp(): number {
    return this.words[AT.sloppyTcp]!;
  }
  get natIcmpSend(): number {
    return this.words[AT.natIcmpSend]!;
  }
  get cacheBypass(): number {
    return this.words[AT.cacheBypass]!;
  }
  get secureTcp(): number {
    return this.words[AT.secureTcp]!;
  }
  get dropRate(): number {
    return this.words[AT.dropRate]!;
  }
  get lblcExpiration(): number {
    return this.words[AT.lblcExpiration]!;
  }
  get lblcrExpiration(): number {
    return this.words[AT.lblcrExpiration]!;
  }
}
