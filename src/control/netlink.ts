/**
 * rtnetlink messages: what xvs asks the kernel for and what the kernel says about links,
 * addresses, routes, policy rules and neighbours. Pure functions on bytes; the socket is in
 * netlinkSocket.ts.
 *
 * Source: the kernel's uapi headers linux/{netlink,rtnetlink,if_link,if_addr,neighbour,fib_rules}.h
 * and Documentation/userspace-api/netlink/intro.rst. Headers and numbers are in host byte order,
 * addresses and MACs as on the wire. Every message and attribute starts at a multiple of 4.
 */

import { SocketAddress } from 'node:net';
import { endianness } from 'node:os';
import { record } from '../layout/record';
import { type Address6, type HostAddress, NO_ADDRESS6 } from '../table/address6';

export const NETLINK_ROUTE = 0;
/** All families at once. */
export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** Multicast groups (RTNLGRP_*). */
export const GROUP_LINK = 1;
export const GROUP_NEIGHBOUR = 3;
export const GROUP_IPV4_ADDRESS = 5;
export const GROUP_IPV4_ROUTE = 7;
export const GROUP_IPV4_RULE = 8;
export const GROUP_IPV6_ADDRESS = 9;
export const GROUP_IPV6_ROUTE = 11;
export const GROUP_IPV6_RULE = 19;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
const NLM_F_DUMP = 0x300;
const NLM_F_CREATE = 0x400;

/** Interface flags. */
export const IFF_UP = 0x1;
export const IFF_RUNNING = 0x40;

/** Flags of an own address. Temporary (IPv6 privacy) and secondary (IPv4) are one bit. */
export const IFA_F_SECONDARY = 0x01;
export const IFA_F_DADFAILED = 0x08;
export const IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40;

/** Route types. */
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTN_BROADCAST = 3;
export const RTN_ANYCAST = 4;
export const RTN_MULTICAST = 5;
export const RTN_BLACKHOLE = 6;
export const RTN_UNREACHABLE = 7;
export const RTN_PROHIBIT = 8;
export const RTN_THROW = 9;
export const RTM_F_CLONED = 0x200;
export const RTNH_F_DEAD = 1;

/** Routing tables of the three default policy rules. */
export const TABLE_DEFAULT = 253;
export const TABLE_MAIN = 254;
export const TABLE_LOCAL = 255;

/** Neighbour states and flags. */
export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_DELAY = 0x08;
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;
export const NTF_USE = 0x01;
export const NTF_PROXY = 0x08;
export const NTF_EXT_LEARNED = 0x10;
export const NTF_EXT_MANAGED = 0x01;

export const LITTLE_ENDIAN = endianness() === 'LE';
export const HEADER_LAYOUT = record('nlmsghdr', 16, {
  length: 'u32',
  type: 'u16',
  flags: 'u16',
  sequence: 'u32',
  port: 'u32',
});
export const LINK_LAYOUT = record('ifinfomsg', 16, {
  family: 'u8',
  pad: 'u8',
  type: 'u16',
  index: 'i32',
  flags: 'u32',
  change: 'u32',
});
export const ADDRESS_LAYOUT = record('ifaddrmsg', 8, {
  family: 'u8',
  prefixLength: 'u8',
  flags: 'u8',
  scope: 'u8',
  index: 'u32',
});
/** fib_rule_hdr has the same shape; its action stands where the route's type does. */
export const ROUTE_LAYOUT = record('rtmsg', 12, {
  family: 'u8',
  destinationLength: 'u8',
  sourceLength: 'u8',
  tos: 'u8',
  table: 'u8',
  protocol: 'u8',
  scope: 'u8',
  type: 'u8',
  flags: 'u32',
});
export const NEXT_HOP_LAYOUT = record('rtnexthop', 8, {
  length: 'u16',
  flags: 'u8',
  hops: 'u8',
  index: 'i32',
});
export const NEIGHBOUR_LAYOUT = record('ndmsg', 12, {
  family: 'u8',
  pad1: 'u8',
  pad2: 'u16',
  index: 'i32',
  state: 'u16',
  flags: 'u8',
  type: 'u8',
});
export const ATTRIBUTE_LAYOUT = record('rtattr', 4, { length: 'u16', type: 'u16' });
/** Nested and network-byte-order marks in an attribute's type. */
export const ATTRIBUTE_TYPE_MASK = 0x3fff;

export const NDA = { destination: 1, mac: 2, protocol: 12, flagsExtended: 15 } as const;

export interface LinkMessage {
  readonly kind: 'link';
  readonly deleted: boolean;
  readonly family: number;
  readonly index: number;
  readonly name: string;
  readonly flags: number;
  readonly mtu: number;
  /** Empty for an interface without one. */
  readonly mac: Uint8Array;
  /** ifindex of the bridge, bond or VRF it belongs to; 0 = none. */
  readonly master: number;
  /** ifindex of the interface it stands on (macvlan), if that is in this namespace; 0 = none. */
  readonly parent: number;
  /** "veth", "vrf", ...; '' for hardware. */
  readonly linkKind: string;
}
export interface AddressMessage {
  readonly kind: 'address';
  readonly deleted: boolean;
  readonly family: number;
  readonly index: number;
  readonly prefixLength: number;
  /** IFA_F_* */
  readonly flags: number;
  /** RT_SCOPE_*: 0 = global, 253 = link, 254 = host. */
  readonly scope: number;
  /** The host's own address: 4 or 16 bytes. */
  readonly address: Uint8Array;
}
export interface RouteMessage {
  readonly kind: 'route';
  readonly deleted: boolean;
  readonly family: number;
  readonly table: number;
  readonly type: number;
  readonly flags: number;
  readonly tos: number;
  /** 4 or 16 bytes; empty for the default route. */
  readonly destination: Uint8Array;
  readonly prefixLength: number;
  /** Not 0: for packets from that many bits of source address only (IPv6). */
  readonly sourcePrefixLength: number;
  readonly priority: number;
  /** ifindex it leaves by (a multipath route: of its first hop); 0 = none. */
  readonly index: number;
  /** Empty = on link. */
  readonly gateway: Uint8Array;
  readonly preferredSource: Uint8Array;
  readonly mtu: number;
  /** Hops of a multipath route, else 1. */
  readonly hops: number;
  /** What is not expressed here: a gateway of another family, an encapsulation; '' = nothing. */
  readonly beyond: string;
}
export interface NeighbourMessage {
  readonly kind: 'neighbour';
  readonly deleted: boolean;
  readonly family: number;
  readonly index: number;
  readonly state: number;
  readonly flags: number;
  readonly flagsExtended: number;
  readonly type: number;
  /** Who made or manages the entry (rtm_protocol numbers); 0 = not said. */
  readonly protocol: number;
  readonly address: Uint8Array;
  readonly mac: Uint8Array;
}
export interface RuleMessage {
  readonly kind: 'rule';
  readonly deleted: boolean;
  readonly family: number;
  readonly priority: number;
  readonly table: number;
  /** It matches every packet: no source, destination, mark or interface is named. */
  readonly matchesAll: boolean;
}
export interface OtherMessage {
  readonly kind: 'other';
  readonly type: number;
}
export interface DoneMessage {
  readonly kind: 'done';
}
/** `errno` 0 is an acknowledgement. */
export interface ErrorMessage {
  readonly kind: 'error';
  readonly errno: number;
}
export type NetlinkBody =
  | LinkMessage
  | AddressMessage
  | RouteMessage
  | NeighbourMessage
  | RuleMessage
  | OtherMessage
  | DoneMessage
  | ErrorMessage;
export type NetlinkMessage = NetlinkBody & {
  readonly sequence: number;
  readonly interrupted: boolean;
};

/** IPv4 address of 4 bytes as signed int32; 0 when there are fewer. */
export function ipv4Word(bytes: Uint8Array): number {
  return bytes.length < 4
    ? 0
    : (bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!;
}

/** IPv6 address of 16 bytes as words; :: when there are fewer. */
export function ipv6Words(bytes: Uint8Array): Address6 {
  if (bytes.length < 16) {
    return NO_ADDRESS6;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12)];
}

/** Address of either family as words; null for anything that is neither 4 nor 16 bytes. */
export function hostAddress(bytes: Uint8Array): HostAddress | null {
  if (bytes.length === 16) {
    return ipv6Words(bytes);
  }
  return bytes.length === 4 ? ipv4Word(bytes) : null;
}

/** The bytes of an address as on the wire: 4 or 16. */
export function hostBytes(address: HostAddress): Uint8Array {
  const words = typeof address === 'number' ? [address] : address;
  const view = new DataView(new ArrayBuffer(words.length * 4));
  for (const [index, word] of words.entries()) {
    view.setInt32(index * 4, word);
  }
  return new Uint8Array(view.buffer);
}

/** "10.1.2.3" or "fd00::1". */
export function addressText(address: HostAddress): string {
  const bytes = hostBytes(address);
  if (bytes.length === 4) {
    return bytes.join('.');
  }
  const groups = Array.from({ length: 8 }, (_, group) =>
    ((bytes[group * 2]! << 8) | bytes[group * 2 + 1]!).toString(16),
  );
  // Node's own class writes the canonical form (RFC 5952).
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}

/** First four bytes of a MAC as one signed word, 0 when it is no Ethernet MAC. */
export function macHigh(mac: Uint8Array): number {
  return mac.length === 6 ? ipv4Word(mac) : 0;
}

/** Last two bytes of a MAC, 0..0xffff. */
export function macLow(mac: Uint8Array): number {
  return mac.length === 6 ? (mac[4]! << 8) | mac[5]! : 0;
}

function message(type: number, flags: number, sequence: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_LAYOUT.size + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(HEADER_LAYOUT.at.length, bytes.length, LITTLE_ENDIAN);
  view.setUint16(HEADER_LAYOUT.at.type, type, LITTLE_ENDIAN);
  view.setUint16(HEADER_LAYOUT.at.flags, flags, LITTLE_ENDIAN);
  view.setUint32(HEADER_LAYOUT.at.sequence, sequence, LITTLE_ENDIAN);
  bytes.set(body, HEADER_LAYOUT.size);
  return bytes;
}

const DUMPS = {
  links: [RTM_GETLINK, LINK_LAYOUT.size],
  addresses: [RTM_GETADDR, ADDRESS_LAYOUT.size],
  routes: [RTM_GETROUTE, ROUTE_LAYOUT.size],
  neighbours: [RTM_GETNEIGH, NEIGHBOUR_LAYOUT.size],
  rules: [RTM_GETRULE, ROUTE_LAYOUT.size],
} as const;
export type DumpOf = keyof typeof DUMPS;

/** Asks for everything of one sort; `family` 0 = all families. */
export function dumpRequest(what: DumpOf, family: number, sequence: number): Uint8Array {
  const [type, size] = DUMPS[what];
  const body = new Uint8Array(size);
  body[0] = family; // the family is the first byte of every fixed part
  return message(type, NLM_F_REQUEST | NLM_F_DUMP, sequence, body);
}

export interface NeighbourUse {
  readonly index: number;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** NTF_* to keep beside NTF_USE (an omitted NTF_EXT_LEARNED would be cleared). */
  readonly flags: number;
  /** The kernel shall keep it resolved by itself (Linux 5.16); false clears that. */
  readonly managed: boolean;
  /** Marks whose entry it is; 0 leaves the mark alone. */
  readonly protocol: number;
}

/**
 * "Use this neighbour": the kernel resolves or confirms it as if a packet were sent. Never for a
 * PERMANENT entry: the kernel takes that state from it.
 */
export function useNeighbourRequest(use: NeighbourUse, sequence: number): Uint8Array {
  const { address, managed, protocol } = use;
  const size = NEIGHBOUR_LAYOUT.size + ATTRIBUTE_LAYOUT.size + address.length + (managed ? 8 : 0);
  const body = new Uint8Array(size + (protocol === 0 ? 0 : 8));
  const view = new DataView(body.buffer);
  view.setUint8(NEIGHBOUR_LAYOUT.at.family, address.length === 4 ? AF_INET : AF_INET6);
  view.setInt32(NEIGHBOUR_LAYOUT.at.index, use.index, LITTLE_ENDIAN);
  view.setUint8(NEIGHBOUR_LAYOUT.at.flags, NTF_USE | use.flags);
  let at = NEIGHBOUR_LAYOUT.size;
  const attribute = (type: number, length: number): number => {
    view.setUint16(at + ATTRIBUTE_LAYOUT.at.length, ATTRIBUTE_LAYOUT.size + length, LITTLE_ENDIAN);
    view.setUint16(at + ATTRIBUTE_LAYOUT.at.type, type, LITTLE_ENDIAN);
    const value = at + ATTRIBUTE_LAYOUT.size;
    at = value + ((length + 3) & ~3);
    return value;
  };
  body.set(address, attribute(NDA.destination, address.length));
  if (managed) {
    view.setUint32(attribute(NDA.flagsExtended, 4), NTF_EXT_MANAGED, LITTLE_ENDIAN);
  }
  if (protocol !== 0) {
    view.setUint8(attribute(NDA.protocol, 1), protocol);
  }
  return message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, sequence, body);
}
