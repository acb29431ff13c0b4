/**
 * What schedulers may know of a new connection, as ints: one object per worker, filled before each
 * choice, so that nothing is allocated. Both families fill the same fields: hashes take an address
 * folded to one word, locality maps compare all four.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../net/ipv4';
import { ipv6Fold } from '../net/ipv6';
import { PROTOCOL_SCTP } from '../net/sctp';

export class ScheduleRequest {
  /** Client's address, folded: IPv4 as it is, IPv6 its four words exclusive-or'd. */
  sourceFold = 0;
  destinationFold = 0;
  /** Where the client connects to: host order, IPv4 in the first word. */
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  /** Client's port in host order, 0 for protocols without ports. */
  sourcePort = 0;
  tick = 0;
  /** Number of the caller in locks. */
  readonly owner: number;
  /** State of the random draws (xorshift, never 0). */
  private random: number;

  constructor(owner: number, seed: number) {
    this.owner = owner;
    this.random = seed | 0 || 1;
  }

  set4(
    source: number,
    destination: number,
    sourcePort: number,
    protocol: number,
    tick: number,
  ): void {
    this.sourceFold = source;
    this.destinationFold = destination;
    this.destination0 = destination;
    this.destination1 = 0;
    this.destination2 = 0;
    this.destination3 = 0;
    this.setPort(sourcePort, protocol, tick);
  }

  /** As set4; `sourceAt`, `destinationAt`: byte offsets of IPv6 addresses in `view`. */
  set6(
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    sourcePort: number,
    protocol: number,
    tick: number,
  ): void {
    this.sourceFold = ipv6Fold(view, sourceAt);
    this.destinationFold = ipv6Fold(view, destinationAt);
    this.destination0 = view.getInt32(destinationAt);
    this.destination1 = view.getInt32(destinationAt + 4);
    this.destination2 = view.getInt32(destinationAt + 8);
    this.destination3 = view.getInt32(destinationAt + 12);
    this.setPort(sourcePort, protocol, tick);
  }

  private setPort(sourcePort: number, protocol: number, tick: number): void {
    const hasPorts =
      protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
    this.sourcePort = hasPorts ? sourcePort : 0;
    this.tick = tick;
  }

  /** A random integer from 0 to `end` - 1. Marsaglia's xorshift with 13, 17, 5. */
  draw(end: number): number {
    let state = this.random;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.random = state;
    return Math.floor(((state >>> 0) / 0x100000000) * end);
  }
}
