/**
 * What a connection's entry holds: 16 words, one cache line, the same for both families; and 16
 * words beside it, in memory of their own, that only IPv6 and FULLNAT connections use. Words are
 * host byte order; ports pairs are source << 16 | destination as the packet has them.
 *
 * An IPv6 address's last word stands where an IPv4 address would, its first three in the extension.
 */
import { words } from '../layout/record';

export const CONNECTION = words('connection', 16, {
  client: 1,
  virtual: 1,
  clientPorts: 1, // client << 16 | virtual
  /** 0 when the real server is of the other family (tunnels): its record has the address. */
  real: 1,
  /** Where the real server sends replies: the client, or a local address (FULLNAT). */
  reply: 1,
  replyPorts: 1, // real << 16 | reply's
  identity: 1, // generation << 16 | owner << 8 | kind; 0 in the low byte: free
  state: 1, // flags << 8 | state
  realServer: 1, // packets from the client (up to 9) << 24 | slot
  expiresAt: 1, // tick
  serverHop: 1,
  clientHop: 1,
  timerNext: 1,
  timerPrevious: 1,
  timerAt: 1, // tick at which the timer looks at the entry
  control: 1, // persistence template
});

/** Which way a packet goes, as `match` answers. */
export const FROM_CLIENT = 1;
export const FROM_SERVER = 2;

/**
 * Of two numbers a packet from the client needs one, a packet from the server the other: `first +
 * step * direction`. Summed, not chosen: where packets of both directions mix, a CPU cannot guess
 * which way a branch goes.
 */
export function byDirection(fromClient: number, fromServer: number) {
  const step = fromServer - fromClient;
  return { first: fromClient - step * FROM_CLIENT, step } as const;
}

/** The words that a packet needs of its entry, by its direction. */
export const DIRECTED = {
  hop: byDirection(CONNECTION.at.serverHop, CONNECTION.at.clientHop),
  /** The address and port that NAT writes into it: destination, or source. */
  address: byDirection(CONNECTION.at.real, CONNECTION.at.virtual),
  ports: byDirection(CONNECTION.at.replyPorts, CONNECTION.at.clientPorts),
  /** Bits that the port is to be shifted right in that word. */
  portShift: byDirection(16, 0),
} as const;

/** log2 of an entry's words. */
export const ENTRY_SHIFT = 4;

export const EXTENSION = words('connection extension', 16, {
  // First three words of IPv6 addresses; in this order, for they are compared in pairs.
  client: 3,
  virtual: 3,
  real: 3,
  reply: 3,
  // FULLNAT.
  sequenceDelta: 1,
  serverSequence: 1,
  clientAck: 1,
  serverAck: 1,
});

/** Connection flags, in the state word above the state. */
export const CONNECTION_ACTIVE = 1 << 8;
export const CONNECTION_SERVER_BITS = 0xffffff;
/** Packets from the client, above the server's slot; no more than that are counted. */
export const IN_PACKETS_SHIFT = 24;
export const IN_PACKETS_MAX = 8;
export const CONNECTION_TEMPLATE = 1 << 9;
/** A template through which a connection came to be established. */
export const TEMPLATE_ASSURED = 1 << 10;
/** A connection for one packet: in no index, on no timer. */
export const CONNECTION_ONE_PACKET = 1 << 11;
/** Every connection has it: a state word of 0 is that of one that has ended. */
export const CONNECTION_LIVES = 1 << 12;
export const CONNECTION_METHOD_SHIFT = 16;

/**
 * Kinds: what an entry is, in the low byte of its identity. An IPv4 connection's is its protocol;
 * IPv6 connections and templates of either family have numbers of their own. A template of a
 * service by mark holds for all protocols; its virtual address is the mark.
 */
export const TEMPLATE_OF_MARK = 0xf0;
export const TEMPLATE_OF_MARK6 = 0xe0;
const TEMPLATE_KINDS: Readonly<Record<number, number>> = { 6: 0xf6, 17: 0xf1, 132: 0xf4 };
const TEMPLATE6_BITS = 0x10;

/** Kind of an IPv6 connection: 0x46 TCP, 0x51 UDP, 0x44 SCTP. */
export function kindOf6(protocol: number): number {
  return (protocol & 0x3f) | 0x40;
}

/** Kind of templates of an IPv4 service by address. */
export function templateKind(protocol: number): number {
  return TEMPLATE_KINDS[protocol]!;
}
export function templateKind6(protocol: number): number {
  return TEMPLATE_KINDS[protocol]! & ~TEMPLATE6_BITS;
}

/** Protocol and family of each kind; 0 where a template holds for all protocols. */
const KIND_PROTOCOLS = new Uint8Array(256);
const KIND_FAMILIES = new Uint8Array(256).fill(4);
for (const protocol of [6, 17, 132]) {
  KIND_PROTOCOLS[protocol] = protocol;
  KIND_PROTOCOLS[templateKind(protocol)] = protocol;
  for (const kind of [kindOf6(protocol), templateKind6(protocol)]) {
    KIND_PROTOCOLS[kind] = protocol;
    KIND_FAMILIES[kind] = 6;
  }
}
KIND_FAMILIES[TEMPLATE_OF_MARK6] = 6;

/** 4 or 6. */
export function kindFamily(kind: number): number {
  return KIND_FAMILIES[kind]!;
}
/** As IP numbers it; 0 for a template of a mark. */
export function kindProtocol(kind: number): number {
  return KIND_PROTOCOLS[kind]!;
}

/** Words of a template that mean something else than in a connection: see worker/persistence. */
export const TEMPLATE_TICKS = CONNECTION.at.serverHop;
export const TEMPLATE_REFERENCES = CONNECTION.at.clientHop;

/**
 * Hash of a packet's or connection's addresses and ports, as they stand in one direction.
 * `protocol`: the kind, for IPv4 the same.
 */
export function connectionHash(
  seed: number,
  protocol: number,
  source: number,
  destination: number,
  ports: number,
): number {
  let hash = Math.imul(seed ^ source, 0x9e3779b1 | 0);
  hash = Math.imul(hash ^ (hash >>> 15) ^ destination, 0x85ebca6b | 0);
  hash = Math.imul(hash ^ (hash >>> 13) ^ ports, 0xc2b2ae35 | 0);
  hash = Math.imul(hash ^ (hash >>> 16) ^ protocol, 0x27d4eb2f | 0);
  return hash ^ (hash >>> 15);
}

/**
 * The same for IPv6. `sourceAt`, `destinationAt`: byte offsets of the addresses in `view`. Every
 * word is mixed in under the seed, so that clients cannot choose addresses that collide.
 */
export function connectionHash6(
  seed: number,
  kind: number,
  view: DataView,
  sourceAt: number,
  destinationAt: number,
  ports: number,
): number {
  // Four chains that a CPU works on at once.
  const source0 = mix(mix(seed, view.getInt32(sourceAt)), view.getInt32(sourceAt + 4));
  const source1 = mix(mix(~seed, view.getInt32(sourceAt + 8)), view.getInt32(sourceAt + 12));
  const turned = rotate(seed, 16);
  const word0 = view.getInt32(destinationAt);
  const destination0 = mix(mix(turned, word0), view.getInt32(destinationAt + 4));
  const word2 = view.getInt32(destinationAt + 8);
  const destination1 = mix(mix(~turned, word2), view.getInt32(destinationAt + 12));
  const source = source0 ^ rotate(source1, 9);
  return connectionHash(seed, kind, source, destination0 ^ rotate(destination1, 9), ports);
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x85ebca6b | 0);
  return mixed ^ (mixed >>> 14);
}
