/**
 * Settings that workers read: one word each, written by the control plane only, read plainly.
 * A changed timeout applies to a connection at its next packet, as in IPVS.
 */
import { words } from '../layout/record';
import { STATE_COUNT } from './state';

/** Ticks of the coarse clock in a second. */
export const TICKS_PER_SECOND = 10;

const SETTING = words('setting', 32, {
  /** How many services there are; 0: everything goes to the host, as IPVS then does. */
  serviceCount: 1,
  hashSeed: 1,
  /** Ticks a connection in each state lives after its last packet. */
  timeouts: STATE_COUNT,
  reserved: 32 - 2 - STATE_COUNT,
});
const { serviceCount: SERVICE_COUNT, hashSeed: HASH_SEED, timeouts: TIMEOUTS } = SETTING.at;

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
    for (let state = 0; state < STATE_COUNT; state++) {
      values[TIMEOUTS + state] = timeoutSeconds[state]! * TICKS_PER_SECOND;
    }
    return buffer;
  }

  get serviceCount(): number {
    return this.words[SERVICE_COUNT]!;
  }
  set serviceCount(count: number) {
    this.words[SERVICE_COUNT] = count;
  }
}
