/**
 * The host's own addresses: which is an interface's primary one, and which of several on one
 * interface the host would put into its packets towards a gateway or a neighbour. Pure functions
 * on a dump of addresses.
 *
 * As the kernel chooses. IPv4 (inet_select_addr): the first address whose network contains the
 * gateway, else the first; secondary ones never. IPv6 (RFC 6724, as far as one route serves many
 * destinations): global before link-local, current before deprecated, lasting before temporary,
 * then the longest network in common; not one that is still being checked for duplicates. One
 * difference: an IPv6 address of 128 bits, mostly a VIP, comes after those with a network.
 */

import { type Address6, compare6, isLinkLocal6, NO_ADDRESS6, samePrefix6 } from '../table/address6';
import { prefixMask } from '../table/route';
import {
  type AddressMessage,
  AF_INET,
  AF_INET6,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_SECONDARY,
  IFA_F_TENTATIVE,
  ipv4Word,
  ipv6Words,
} from './netlink';

const SCOPE_GLOBAL = 0;
const HOST_BITS6 = 128;

interface Own<Address> {
  readonly address: Address;
  readonly prefixLength: number;
  /** The smaller the better. */
  readonly rank: number;
}

export class OwnAddresses {
  private readonly own4 = new Map<number, Own<number>[]>();
  private readonly own6 = new Map<number, Own<Address6>[]>();
  /** Every address of the host once, ascending. */
  readonly all4: readonly number[];
  readonly all6: readonly Address6[];

  constructor(messages: readonly AddressMessage[]) {
    const all4 = new Set<number>();
    const all6 = new Map<string, Address6>();
    for (const message of messages) {
      if (message.family === AF_INET) {
        all4.add(ipv4Word(message.address));
        this.take4(message);
      } else if (message.family === AF_INET6) {
        const address = ipv6Words(message.address);
        all6.set(address.join(), address);
        this.take6(message, address);
      }
    }
    this.all4 = [...all4].sort((a, b) => (a >>> 0) - (b >>> 0));
    this.all6 = [...all6.values()].sort(compare6);
  }

  /** Primary IPv4 address of an interface, 0 = none. */
  primary4(interfaceIndex: number): number {
    return this.own4.get(interfaceIndex)?.[0]?.address ?? 0;
  }

  /** Primary IPv6 address of an interface, :: = none. */
  primary6(interfaceIndex: number): Address6 {
    return this.own6.get(interfaceIndex)?.[0]?.address ?? NO_ADDRESS6;
  }

  /** Source for a route by this interface over a gateway; 0 = the primary address will do. */
  source4(interfaceIndex: number, gateway: number): number {
    const own = this.own4.get(interfaceIndex);
    if (own === undefined || own.length < 2 || gateway === 0) {
      return 0;
    }
    const near = own.find(
      ({ address, prefixLength }) => ((address ^ gateway) & prefixMask(prefixLength)) === 0,
    );
    return near === undefined || near === own[0] ? 0 : near.address;
  }

  /**
   * As source4; `towards`: the gateway, or the destination when there is none (`onLink`). What is
   * sent to a link-local destination comes from a link-local address.
   */
  source6(interfaceIndex: number, towards: Address6, onLink: boolean): Address6 {
    const own = this.own6.get(interfaceIndex);
    if (own === undefined || own.length < 2) {
      return NO_ADDRESS6;
    }
    const local = onLink && isLinkLocal6(towards);
    const near = own.find(
      ({ address, prefixLength, rank }) =>
        (local || rank === own[0]!.rank) && samePrefix6(address, towards, prefixLength),
    );
    return near === undefined || near === own[0] ? NO_ADDRESS6 : near.address;
  }

  private take4({ index, address, prefixLength, flags }: AddressMessage): void {
    if ((flags & IFA_F_SECONDARY) === 0) {
      append(this.own4, index, { address: ipv4Word(address), prefixLength, rank: 0 });
    }
  }

  private take6({ index, prefixLength, flags, scope }: AddressMessage, address: Address6): void {
    if ((flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) !== 0) {
      return;
    }
    const rank =
      (scope === SCOPE_GLOBAL ? 0 : 8) +
      ((flags & IFA_F_DEPRECATED) === 0 ? 0 : 4) +
      ((flags & IFA_F_SECONDARY) === 0 ? 0 : 2) +
      // A VIP goes to another director one day, and packets of this one would be its.
      (prefixLength === HOST_BITS6 ? 1 : 0);
    append(this.own6, index, { address, prefixLength, rank });
  }
}

/** Keeps the order of the dump among those of one rank. */
function append<Address>(
  own: Map<number, Own<Address>[]>,
  interfaceIndex: number,
  added: Own<Address>,
): void {
  const known = own.get(interfaceIndex);
  if (known === undefined) {
    own.set(interfaceIndex, [added]);
    return;
  }
  const worse = known.findIndex(({ rank }) => rank > added.rank);
  known.splice(worse < 0 ? known.length : worse, 0, added);
}
