/**
 * The way back to the host's stack: a TAP device. The addon addresses the copy it writes to the
 * TAP's own MAC, so that the host takes the frame for its own; it arrives there instead of on the
 * NIC (rp_filter and `-i` rules see that).
 */
import type { Tap } from './addon';
import type { HostPort } from './port';

export class TapHost implements HostPort {
  /** Bound, as in xdpPort.ts. */
  private readonly write: Tap['write'];

  constructor(tap: Pick<Tap, 'write'>) {
    this.write = tap.write.bind(tap);
  }

  deliver(offset: number, lengthBytes: number, checksum: number): boolean {
    return this.write(offset, lengthBytes, checksum);
  }
}
