/**
 * The way back to the host's stack: a TAP device. The frame is addressed to the TAP's own MAC, so
 * that the host takes it for its own, and arrives there instead of on the NIC (rp_filter and `-i`
 * rules see that). Group frames keep their address.
 */
import type { Tap } from './addon';
import type { HostPort } from './port';
import type { Umem } from './umem';

export class TapHost implements HostPort {
  readonly #tap: Tap;
  readonly #view: DataView;
  readonly #macHigh: number;
  readonly #macLow: number;

  /** `mac`: the TAP's, "02:00:00:00:00:01". */
  constructor(tap: Tap, umem: Umem, mac: string) {
    this.#tap = tap;
    this.#view = umem.view;
    const bytes = mac.split(':').map((part) => Number.parseInt(part, 16));
    this.#macHigh = (bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!;
    this.#macLow = (bytes[4]! << 8) | bytes[5]!;
  }

  deliver(offset: number, lengthBytes: number, checksum: number): boolean {
    if ((this.#view.getUint8(offset) & 1) === 0) {
      this.#view.setInt32(offset, this.#macHigh);
      this.#view.setInt16(offset + 4, this.#macLow);
    }
    return this.#tap.write(offset, lengthBytes, checksum);
  }
}
