/**
 * Firewall mark rules in shared memory. With AF_XDP a service's packets never meet netfilter, so
 * a worker that finds no connection works out the packet's mark itself, as the mangle table's
 * PREROUTING chain would: rules in order, none ends the walk, each that matches makes of the mark
 * (mark & ~mask) ^ value. Source: man iptables-extensions (MARK, multiport, mark, tcp).
 *
 * Who writes: the control plane writes the half that is not in use and flips it by adding one to
 * the generation; workers read plainly, and once more when the generation has moved meanwhile.
 * The XDP program gets the same records (native/xsk-napi/bpf/maps.h, struct mark_rule).
 * Words are host byte order, addresses four of them, IPv4 in the first and the rest 0; a port range
 * is first << 16 | last.
 */
import { words } from '../layout/record';

export const MARK_RULES_MAX = 256;
/** As iptables' multiport: 15 ports, a range takes two of them. */
export const PORT_LIST_MAX = 15;
/** A worker's tries to read the rules while they change; more changes than that are not made. */
const ATTEMPTS_MAX = 4;

const RULE = words('mark rule', 48, {
  flags: 1,
  /** 0 = any. */
  protocol: 1,
  /** Bit i: interface slot i; all bits: any interface. */
  interfaces: 1,
  source: 4,
  sourceMask: 4,
  destination: 4,
  destinationMask: 4,
  /** What the mark has to be before: (mark & matchMask) == matchValue. */
  matchValue: 1,
  matchMask: 1,
  value: 1,
  mask: 1,
  sourcePorts: 1,
  destinationPorts: 1,
  /** Ranges in portList, side << 8; 0 = no list. */
  portListHead: 1,
  portList: PORT_LIST_MAX,
  reserved: 7,
});
export const MARK_RULE_WORDS = RULE.size;
const {
  flags: FLAGS,
  protocol: PROTOCOL,
  interfaces: INTERFACES,
  source: SOURCE,
  sourceMask: SOURCE_MASK,
  destination: DESTINATION,
  destinationMask: DESTINATION_MASK,
  matchValue: MATCH_VALUE,
  matchMask: MATCH_MASK,
  value: VALUE,
  mask: MASK,
  sourcePorts: SOURCE_PORTS,
  destinationPorts: DESTINATION_PORTS,
  portListHead: PORT_LIST_HEAD,
  portList: PORT_LIST,
} = RULE.at;
const WORDS = RULE.size;
/** Words from an address to its mask. */
const ADDRESS_WORDS = 4;

const FAMILY_IPV6 = 1;
const NOT_SOURCE = 2;
const NOT_DESTINATION = 4;
const NOT_PROTOCOL = 8;
const NOT_SOURCE_PORTS = 16;
const NOT_DESTINATION_PORTS = 32;
const NOT_PORT_LIST = 64;
const NOT_MARK = 128;
/** For the XDP program alone: the rule gives no mark, see removedMarkRule. */
const REMOVED = 256;

/** Which port a port list looks at. */
export const SIDE_SOURCE = 1;
export const SIDE_DESTINATION = 2;
export const SIDE_EITHER = 3;
/** Port ranges and interfaces of a rule that asks for none. */
export const ANY_PORT = 0xffff;
export const ANY_INTERFACE = -1;

const GENERATION = 0;
const COUNTS = 1;
const HEAD_WORDS = 16;
const HALF_WORDS = MARK_RULES_MAX * WORDS;

/** A match that the rule may turn round. */
export interface Negatable<Value> {
  readonly is: Value;
  readonly inverted: boolean;
}
/** A rule as it is written into memory; whatever matches everything says so by its values. */
export interface MarkRecord {
  readonly family: 4 | 6;
  readonly protocol: Negatable<number>;
  readonly interfaces: number;
  readonly source: Negatable<{ readonly address: readonly number[]; readonly mask: number[] }>;
  readonly destination: Negatable<{ readonly address: readonly number[]; readonly mask: number[] }>;
  /** Port ranges. */
  readonly sourcePorts: Negatable<number>;
  readonly destinationPorts: Negatable<number>;
  /** Empty = none. */
  readonly portList: Negatable<readonly number[]>;
  readonly portListSide: number;
  readonly match: Negatable<{ readonly value: number; readonly mask: number }>;
  readonly value: number;
  readonly mask: number;
}

/** The words of a rule, for `publish` and for the XDP program's map. */
export function encodeMarkRule(rule: MarkRecord): Int32Array {
  const encoded = new Int32Array(WORDS);
  encoded[FLAGS] =
    (rule.family === 6 ? FAMILY_IPV6 : 0) |
    (rule.source.inverted ? NOT_SOURCE : 0) |
    (rule.destination.inverted ? NOT_DESTINATION : 0) |
    (rule.protocol.inverted ? NOT_PROTOCOL : 0) |
    (rule.sourcePorts.inverted ? NOT_SOURCE_PORTS : 0) |
    (rule.destinationPorts.inverted ? NOT_DESTINATION_PORTS : 0) |
    (rule.portList.inverted ? NOT_PORT_LIST : 0) |
    (rule.match.inverted ? NOT_MARK : 0);
  encoded[PROTOCOL] = rule.protocol.is;
  encoded[INTERFACES] = rule.interfaces;
  encoded.set(rule.source.is.address, SOURCE);
  encoded.set(rule.source.is.mask, SOURCE_MASK);
  encoded.set(rule.destination.is.address, DESTINATION);
  encoded.set(rule.destination.is.mask, DESTINATION_MASK);
  encoded[MATCH_VALUE] = rule.match.is.value;
  encoded[MATCH_MASK] = rule.match.is.mask;
  encoded[VALUE] = rule.value;
  encoded[MASK] = rule.mask;
  encoded[SOURCE_PORTS] = rule.sourcePorts.is;
  encoded[DESTINATION_PORTS] = rule.destinationPorts.is;
  const list = rule.portList.is;
  if (list.length > PORT_LIST_MAX) {
    throw new RangeError(`${list.length} port ranges: at most ${PORT_LIST_MAX} are allowed`);
  }
  if (list.length > 0) encoded[PORT_LIST_HEAD] = list.length | (rule.portListSide << 8);
  encoded.set(list, PORT_LIST);
  return encoded;
}

/** A rule that is in force no more, for the XDP program: any mark before it matches. */
export function removedMarkRule(rule: Int32Array): Int32Array {
  const removed = rule.slice();
  removed[FLAGS] = (rule[FLAGS]! & ~NOT_MARK) | REMOVED;
  for (const at of [MATCH_VALUE, MATCH_MASK, VALUE, MASK]) removed[at] = 0;
  return removed;
}

/** A removed rule that matches every packet of the family. */
export function removedMarkRuleOfAll(family: 4 | 6): Int32Array {
  const rule = new Int32Array(WORDS);
  rule[FLAGS] = (family === 6 ? FAMILY_IPV6 : 0) | REMOVED;
  rule[INTERFACES] = ANY_INTERFACE;
  rule[SOURCE_PORTS] = ANY_PORT;
  rule[DESTINATION_PORTS] = ANY_PORT;
  return rule;
}

export class MarkTable {
  readonly words: Int32Array;
  /** Source and destination of the packet in question: this thread's alone. */
  private readonly source = new Int32Array(4);
  private readonly destination = new Int32Array(4);

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  static buffer(): SharedArrayBuffer {
    return new SharedArrayBuffer((HEAD_WORDS + 2 * HALF_WORDS) * 4);
  }

  /** How many rules there are; 0: no packet has a mark. */
  get count(): number {
    return this.words[COUNTS + (this.words[GENERATION]! & 1)]!;
  }

  /**
   * Mark of an IPv4 packet, 0 = none. `ports`: source << 16 | destination; `interfaceSlot`: the
   * port's slot in the link table. For packets that have no connection.
   */
  mark4(
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    this.source.fill(0);
    this.destination.fill(0);
    this.source[0] = source;
    this.destination[0] = destination;
    return this.mark(0, protocol, ports, interfaceSlot);
  }

  /** As mark4; the addresses' four words in host order, the first bytes in the first. */
  mark6(
    protocol: number,
    source0: number,
    source1: number,
    source2: number,
    source3: number,
    destination0: number,
    destination1: number,
    destination2: number,
    destination3: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    const source = this.source;
    source[0] = source0;
    source[1] = source1;
    source[2] = source2;
    source[3] = source3;
    const destination = this.destination;
    destination[0] = destination0;
    destination[1] = destination1;
    destination[2] = destination2;
    destination[3] = destination3;
    return this.mark(FAMILY_IPV6, protocol, ports, interfaceSlot);
  }

  private mark(family: number, protocol: number, ports: number, interfaceSlot: number): number {
    let mark = 0;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const generation = this.words[GENERATION]!;
      mark = this.walk(generation & 1, family, protocol, ports, interfaceSlot);
      if (this.words[GENERATION] === generation) return mark;
    }
    return mark;
  }

  private walk(
    half: number,
    family: number,
    protocol: number,
    ports: number,
    interfaceSlot: number,
  ): number {
    const table = this.words;
    const source = this.source;
    const destination = this.destination;
    const count = table[COUNTS + half]!;
    const bit = 1 << interfaceSlot;
    let at = HEAD_WORDS + half * HALF_WORDS;
    let mark = 0;
    for (let rule = 0; rule < count; rule++, at += WORDS) {
      const flags = table[at + FLAGS]!;
      if ((flags & FAMILY_IPV6) !== family || (table[at + INTERFACES]! & bit) === 0) continue;
      const wanted = table[at + PROTOCOL]!;
      if (wanted !== 0 && (wanted === protocol) === ((flags & NOT_PROTOCOL) !== 0)) continue;
      if (
        isMasked(table, at + SOURCE, source) === ((flags & NOT_SOURCE) !== 0) ||
        isMasked(table, at + DESTINATION, destination) === ((flags & NOT_DESTINATION) !== 0) ||
        ((mark & table[at + MATCH_MASK]!) === table[at + MATCH_VALUE]) ===
          ((flags & NOT_MARK) !== 0) ||
        !portsMatch(table, at, flags, ports)
      ) {
        continue;
      }
      mark = (mark & ~table[at + MASK]!) ^ table[at + VALUE]!;
    }
    return mark;
  }

  // What the control plane does.

  /** Makes `rules` (see encodeMarkRule) the rules, all at once. */
  publish(rules: readonly Int32Array[]): void {
    if (rules.length > MARK_RULES_MAX) {
      throw new RangeError(`${rules.length} mark rules: at most ${MARK_RULES_MAX} are allowed`);
    }
    const generation = this.words[GENERATION]!;
    const half = (generation + 1) & 1;
    const start = HEAD_WORDS + half * HALF_WORDS;
    for (let rule = 0; rule < rules.length; rule++) {
      this.words.set(rules[rule]!, start + rule * WORDS);
    }
    this.words[COUNTS + half] = rules.length;
    Atomics.store(this.words, GENERATION, (generation + 1) | 0);
  }
}

/** Is `address` within the network at `at`, whose mask stands behind it? */
function isMasked(table: Int32Array, at: number, address: Int32Array): boolean {
  return (
    (address[0]! & table[at + ADDRESS_WORDS]!) === table[at] &&
    (address[1]! & table[at + ADDRESS_WORDS + 1]!) === table[at + 1] &&
    (address[2]! & table[at + ADDRESS_WORDS + 2]!) === table[at + 2] &&
    (address[3]! & table[at + ADDRESS_WORDS + 3]!) === table[at + 3]
  );
}

function portsMatch(table: Int32Array, at: number, flags: number, ports: number): boolean {
  const source = ports >>> 16;
  const destination = ports & 0xffff;
  if (
    isWithin(table[at + SOURCE_PORTS]!, source) === ((flags & NOT_SOURCE_PORTS) !== 0) ||
    isWithin(table[at + DESTINATION_PORTS]!, destination) ===
      ((flags & NOT_DESTINATION_PORTS) !== 0)
  ) {
    return false;
  }
  const head = table[at + PORT_LIST_HEAD]!;
  if (head === 0) return true;
  const count = head & 0xff;
  const side = head >>> 8;
  let found = false;
  for (let i = 0; i < count && !found; i++) {
    const range = table[at + PORT_LIST + i]!;
    found =
      ((side & SIDE_SOURCE) !== 0 && isWithin(range, source)) ||
      ((side & SIDE_DESTINATION) !== 0 && isWithin(range, destination));
  }
  return found !== ((flags & NOT_PORT_LIST) !== 0);
}

function isWithin(range: number, port: number): boolean {
  return port >= range >>> 16 && port <= (range & 0xffff);
}
