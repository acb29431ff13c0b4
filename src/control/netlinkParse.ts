/**
 * Reads rtnetlink messages out of a datagram: see netlink.ts for sources and byte order. A length
 * that cannot be ends the reading; nothing is read past the end. What is returned is copied out of
 * the buffer, which the socket uses again.
 */

import {
  ADDRESS_LAYOUT,
  type AddressMessage,
  ATTRIBUTE_LAYOUT,
  ATTRIBUTE_TYPE_MASK,
  HEADER_LAYOUT,
  LINK_LAYOUT,
  LITTLE_ENDIAN,
  type LinkMessage,
  NDA,
  NEIGHBOUR_LAYOUT,
  NEXT_HOP_LAYOUT,
  type NeighbourMessage,
  type NetlinkBody,
  type NetlinkMessage,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  ROUTE_LAYOUT,
  type RouteMessage,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_DELNEIGH,
  RTM_DELROUTE,
  RTM_DELRULE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWROUTE,
  RTM_NEWRULE,
  RTNH_F_DEAD,
  type RuleMessage,
} from './netlink';

const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  linkInfo: 18,
  linkNamespace: 37,
  infoKind: 1,
} as const;
const IFA = { address: 1, local: 2, flags: 8 } as const;
const RTA = {
  destination: 1,
  index: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  multipath: 9,
  table: 15,
  via: 18,
  encapsulationType: 21,
  nextHopId: 30,
  metricMtu: 2,
} as const;
const FRA = { priority: 6, table: 15 } as const;
/** Destination, source, interfaces, mark, tunnel, L3 master, user, protocol, ports. */
const FRA_SELECTORS = [1, 2, 3, 10, 12, 17, 19, 20, 22, 23, 24];

/** Attributes of a message by type; later ones win. Stops at a length that cannot be. */
function attributesOf(view: DataView, from: number, to: number): Map<number, DataView> {
  const attributes = new Map<number, DataView>();
  let at = from;
  while (at + ATTRIBUTE_LAYOUT.size <= to) {
    const length = view.getUint16(at + ATTRIBUTE_LAYOUT.at.length, LITTLE_ENDIAN);
    if (length < ATTRIBUTE_LAYOUT.size || at + length > to) {
      break;
    }
    const type = view.getUint16(at + ATTRIBUTE_LAYOUT.at.type, LITTLE_ENDIAN) & ATTRIBUTE_TYPE_MASK;
    const start = view.byteOffset + at + ATTRIBUTE_LAYOUT.size;
    attributes.set(type, new DataView(view.buffer, start, length - ATTRIBUTE_LAYOUT.size));
    at += (length + 3) & ~3;
  }
  return attributes;
}

function nested(attribute: DataView | undefined): Map<number, DataView> {
  return attribute === undefined ? new Map() : attributesOf(attribute, 0, attribute.byteLength);
}

function word(attribute: DataView | undefined, otherwise = 0): number {
  return attribute !== undefined && attribute.byteLength >= 4
    ? attribute.getUint32(0, LITTLE_ENDIAN)
    : otherwise;
}

function text(attribute: DataView | undefined): string {
  const bytes = bytesOf(attribute);
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
}

/** A copy: the receive buffer is used again. */
function bytesOf(attribute: DataView | undefined): Uint8Array {
  return attribute === undefined
    ? new Uint8Array(0)
    : new Uint8Array(attribute.buffer, attribute.byteOffset, attribute.byteLength).slice();
}

function parseLink(view: DataView, at: number, end: number, deleted: boolean): LinkMessage {
  const attributes = attributesOf(view, at + LINK_LAYOUT.size, end);
  return {
    kind: 'link',
    deleted,
    family: view.getUint8(at + LINK_LAYOUT.at.family),
    index: view.getInt32(at + LINK_LAYOUT.at.index, LITTLE_ENDIAN),
    flags: view.getUint32(at + LINK_LAYOUT.at.flags, LITTLE_ENDIAN),
    name: text(attributes.get(IFLA.name)),
    mtu: word(attributes.get(IFLA.mtu)),
    mac: bytesOf(attributes.get(IFLA.address)),
    master: word(attributes.get(IFLA.master)),
    parent: attributes.has(IFLA.linkNamespace) ? 0 : word(attributes.get(IFLA.link)),
    linkKind: text(nested(attributes.get(IFLA.linkInfo)).get(IFLA.infoKind)),
  };
}

function parseAddress(view: DataView, at: number, end: number, deleted: boolean): AddressMessage {
  const attributes = attributesOf(view, at + ADDRESS_LAYOUT.size, end);
  return {
    kind: 'address',
    deleted,
    family: view.getUint8(at + ADDRESS_LAYOUT.at.family),
    index: view.getUint32(at + ADDRESS_LAYOUT.at.index, LITTLE_ENDIAN),
    prefixLength: view.getUint8(at + ADDRESS_LAYOUT.at.prefixLength),
    flags: word(attributes.get(IFA.flags), view.getUint8(at + ADDRESS_LAYOUT.at.flags)),
    scope: view.getUint8(at + ADDRESS_LAYOUT.at.scope),
    // On a point-to-point link IFA_ADDRESS is the peer's.
    address: bytesOf(attributes.get(IFA.local) ?? attributes.get(IFA.address)),
  };
}

interface RouteHop {
  readonly index: number;
  readonly flags: number;
  readonly hops: number;
  readonly attributes: Map<number, DataView>;
}

/** The first usable hop of a multipath route, and how many it has. */
function firstHop(multipath: DataView): RouteHop | null {
  let first: RouteHop | null = null;
  let hops = 0;
  let at = 0;
  while (at + NEXT_HOP_LAYOUT.size <= multipath.byteLength) {
    const length = multipath.getUint16(at + NEXT_HOP_LAYOUT.at.length, LITTLE_ENDIAN);
    if (length < NEXT_HOP_LAYOUT.size || at + length > multipath.byteLength) {
      break;
    }
    const flags = multipath.getUint8(at + NEXT_HOP_LAYOUT.at.flags);
    const usable = (flags & RTNH_F_DEAD) === 0;
    if (first === null || (usable && (first.flags & RTNH_F_DEAD) !== 0)) {
      const index = multipath.getInt32(at + NEXT_HOP_LAYOUT.at.index, LITTLE_ENDIAN);
      const attributes = attributesOf(multipath, at + NEXT_HOP_LAYOUT.size, at + length);
      first = { index, flags, hops: 0, attributes };
    }
    hops++;
    at += (length + 3) & ~3;
  }
  return first === null ? null : { ...first, hops };
}

function parseRoute(view: DataView, at: number, end: number, deleted: boolean): RouteMessage {
  const attributes = attributesOf(view, at + ROUTE_LAYOUT.size, end);
  const multipath = attributes.get(RTA.multipath);
  const hop = multipath === undefined ? null : firstHop(multipath);
  const hopAttributes = hop?.attributes ?? attributes;
  const beyond = [
    hopAttributes.has(RTA.via) ? 'a gateway of another address family' : '',
    hopAttributes.has(RTA.encapsulationType) ? 'an encapsulation' : '',
    attributes.has(RTA.nextHopId) && !attributes.has(RTA.index) && hop === null
      ? 'a next-hop object that the kernel does not spell out (net.ipv4.nexthop_compat_mode=0)'
      : '',
  ];
  return {
    kind: 'route',
    deleted,
    family: view.getUint8(at + ROUTE_LAYOUT.at.family),
    table: word(attributes.get(RTA.table), view.getUint8(at + ROUTE_LAYOUT.at.table)),
    type: view.getUint8(at + ROUTE_LAYOUT.at.type),
    flags: view.getUint32(at + ROUTE_LAYOUT.at.flags, LITTLE_ENDIAN) | (hop?.flags ?? 0),
    tos: view.getUint8(at + ROUTE_LAYOUT.at.tos),
    destination: bytesOf(attributes.get(RTA.destination)),
    prefixLength: view.getUint8(at + ROUTE_LAYOUT.at.destinationLength),
    sourcePrefixLength: view.getUint8(at + ROUTE_LAYOUT.at.sourceLength),
    priority: word(attributes.get(RTA.priority)),
    index: hop?.index ?? word(attributes.get(RTA.index)),
    gateway: bytesOf(hopAttributes.get(RTA.gateway)),
    preferredSource: bytesOf(attributes.get(RTA.preferredSource)),
    mtu: word(nested(attributes.get(RTA.metrics)).get(RTA.metricMtu)),
    hops: hop?.hops ?? 1,
    beyond: beyond.filter((reason) => reason !== '').join(', '),
  };
}

function parseNeighbour(
  view: DataView,
  at: number,
  end: number,
  deleted: boolean,
): NeighbourMessage {
  const attributes = attributesOf(view, at + NEIGHBOUR_LAYOUT.size, end);
  const protocol = attributes.get(NDA.protocol);
  return {
    kind: 'neighbour',
    deleted,
    family: view.getUint8(at + NEIGHBOUR_LAYOUT.at.family),
    index: view.getInt32(at + NEIGHBOUR_LAYOUT.at.index, LITTLE_ENDIAN),
    state: view.getUint16(at + NEIGHBOUR_LAYOUT.at.state, LITTLE_ENDIAN),
    flags: view.getUint8(at + NEIGHBOUR_LAYOUT.at.flags),
    flagsExtended: word(attributes.get(NDA.flagsExtended)),
    type: view.getUint8(at + NEIGHBOUR_LAYOUT.at.type),
    protocol: protocol !== undefined && protocol.byteLength >= 1 ? protocol.getUint8(0) : 0,
    address: bytesOf(attributes.get(NDA.destination)),
    mac: bytesOf(attributes.get(NDA.mac)),
  };
}

function parseRule(view: DataView, at: number, end: number, deleted: boolean): RuleMessage {
  const attributes = attributesOf(view, at + ROUTE_LAYOUT.size, end);
  return {
    kind: 'rule',
    deleted,
    family: view.getUint8(at + ROUTE_LAYOUT.at.family),
    priority: word(attributes.get(FRA.priority)),
    table: word(attributes.get(FRA.table), view.getUint8(at + ROUTE_LAYOUT.at.table)),
    matchesAll:
      view.getUint8(at + ROUTE_LAYOUT.at.tos) === 0 &&
      !FRA_SELECTORS.some((selector) => attributes.has(selector)),
  };
}

/** Bytes of the fixed part behind the header, so that a short message is not read past its end. */
const FIXED_BYTES: Readonly<Record<number, number>> = {
  [NLMSG_ERROR]: 4,
  [RTM_NEWLINK]: LINK_LAYOUT.size,
  [RTM_DELLINK]: LINK_LAYOUT.size,
  [RTM_NEWADDR]: ADDRESS_LAYOUT.size,
  [RTM_DELADDR]: ADDRESS_LAYOUT.size,
  [RTM_NEWROUTE]: ROUTE_LAYOUT.size,
  [RTM_DELROUTE]: ROUTE_LAYOUT.size,
  [RTM_NEWNEIGH]: NEIGHBOUR_LAYOUT.size,
  [RTM_DELNEIGH]: NEIGHBOUR_LAYOUT.size,
  [RTM_NEWRULE]: ROUTE_LAYOUT.size,
  [RTM_DELRULE]: ROUTE_LAYOUT.size,
};

function parseBody(view: DataView, type: number, at: number, end: number): NetlinkBody {
  if (at + (FIXED_BYTES[type] ?? 0) > end) {
    return { kind: 'other', type };
  }
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return parseLink(view, at, end, type === RTM_DELLINK);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return parseAddress(view, at, end, type === RTM_DELADDR);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return parseRoute(view, at, end, type === RTM_DELROUTE);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return parseNeighbour(view, at, end, type === RTM_DELNEIGH);
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return parseRule(view, at, end, type === RTM_DELRULE);
    case NLMSG_DONE:
      return { kind: 'done' };
    case NLMSG_ERROR:
      return { kind: 'error', errno: 0 - view.getInt32(at, LITTLE_ENDIAN) };
    default:
      return { kind: 'other', type };
  }
}

/** All messages of one datagram. Anything after a length that cannot be is left out. */
export function parseMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + HEADER_LAYOUT.size <= bytes.length) {
    const length = view.getUint32(at + HEADER_LAYOUT.at.length, LITTLE_ENDIAN);
    if (length < HEADER_LAYOUT.size || at + length > bytes.length) {
      break;
    }
    const type = view.getUint16(at + HEADER_LAYOUT.at.type, LITTLE_ENDIAN);
    const flags = view.getUint16(at + HEADER_LAYOUT.at.flags, LITTLE_ENDIAN);
    messages.push({
      ...parseBody(view, type, at + HEADER_LAYOUT.size, at + length),
      sequence: view.getUint32(at + HEADER_LAYOUT.at.sequence, LITTLE_ENDIAN),
      interrupted: (flags & NLM_F_DUMP_INTR) !== 0,
    });
    at += (length + 3) & ~3;
  }
  return messages;
}
