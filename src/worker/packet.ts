/**
 * The packet in hand, for every room behind the hot path: one object per worker, filled by the
 * parser, so that rooms pass one argument and nothing is allocated. All numbers are int32 (small
 * integers for the engine); offsets are bytes in the worker's UMEM. A room that moves the packet
 * (a header in front of it, bytes put in or taken out) writes `at`, `ip`, `transport`, `total`,
 * `sourceAt`, `destinationAt`.
 */
import { ETHERNET_BYTES } from '../net/ethernet';
import type { Port } from '../port/port';
import { VACANCY_UNKNOWN } from '../table/connection';

export const FAMILY_IPV4 = 4;
export const FAMILY_IPV6 = 6;

/** Not a fragment. */
export const FRAGMENT_NONE = 0;
/** Offset 0 and more to come: it has the transport header. */
export const FRAGMENT_FIRST = 1;
/** A later one: no transport header; `ports` is 0 until its first one is known. */
export const FRAGMENT_LATER = 2;

export class Packet {
  /** Where it came from. */
  port: Port;
  /** Its frame: Ethernet header. */
  at = 0;
  /** Bytes of the IP packet, its header included: what lies behind it in the frame is padding. */
  total = 0;
  family = FAMILY_IPV4;
  /** IP header. */
  ip = 0;
  /** The two addresses in the IP header. */
  sourceAt = 0;
  destinationAt = 0;
  /** TCP, UDP, SCTP, ICMP header, or a later fragment's data: behind all extension headers. */
  transport = 0;
  /** Of what `transport` points at. */
  protocol = 0;
  /** What its connection's identity says (table/connectionEntry.ts); AH and ESP follow UDP's. */
  kind = 0;
  /** source << 16 | destination; 0 where the protocol has none; of AH and ESP those of ISAKMP. */
  ports = 0;
  /** TCP's; SCTP's event (table/state.ts); 0 for others. */
  flags = 0;
  /** Of addresses and ports, as connectionHash and connectionHash6 give it. */
  hash = 0;
  /** What the search for its connection left: see ConnectionTable.isVacant. */
  vacancy = VACANCY_UNKNOWN;
  fragment = FRAGMENT_NONE;
  /** IPv4: the id; IPv6: the fragment header's identification; 0 when it is no fragment. */
  fragmentId = 0;
  /** Offset of IPv6's fragment header, 0 = none. */
  fragmentHeader = 0;
  tick = 0;
  /**
   * Of its connection, read before it was found to match: a room compares the entry's identity
   * again before it rewrites, for the connection may have ended and the entry be another's.
   */
  identity = 0;

  constructor(port: Port) {
    this.port = port;
  }

  /** Bytes of the transport header and payload. */
  get transportBytes(): number {
    return this.total - (this.transport - this.ip);
  }

  /** Bytes of the frame, without padding. */
  get frameBytes(): number {
    return ETHERNET_BYTES + this.total;
  }
}
