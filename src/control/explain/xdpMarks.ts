/**
 * The mark rules as the XDP program applies them (native/xsk-napi/bpf/mark.h): in order, none ends
 * the walk but a removed one that matches, which gives no mark. Rules are struct mark_rule of
 * maps.h: 48 words in the machine's order, addresses in host order.
 */
import type { MapLookup } from './xdpModel';
import type { XdpPacket } from './xdpPacket';

const MARK_RULES_SECOND = 16;
const MARK_COUNT_SHIFT = 16;
const RULE_IPV6 = 1;
const [NOT_SOURCE, NOT_DESTINATION, NOT_PROTOCOL, NOT_SOURCE_PORTS] = [2, 4, 8, 16];
const [NOT_DESTINATION_PORTS, NOT_PORT_LIST, NOT_MARK, RULE_REMOVED] = [32, 64, 128, 256];
const ANY_INTERFACE = 0xffffffff;
const [SIDE_SOURCE, SIDE_DESTINATION] = [1, 2];
const PORT_LIST_MAX = 15;
// Words of a rule.
const [FLAGS, PROTOCOL, INTERFACES] = [0, 1, 2];
const [SOURCE, SOURCE_MASK, DESTINATION, DESTINATION_MASK] = [3, 7, 11, 15];
const [MATCH_VALUE, MATCH_MASK, VALUE, MASK] = [19, 20, 21, 22];
const [SOURCE_PORTS, DESTINATION_PORTS, LIST_HEAD, LIST] = [23, 24, 25, 26];

export interface Marking {
  readonly mark: number;
  /** A removed rule matches. */
  readonly removed: boolean;
}

interface Marked {
  readonly source: Uint32Array;
  readonly destination: Uint32Array;
  readonly packet: XdpPacket;
  readonly interfaceBit: number;
}

export class XdpMarks {
  readonly #lookup: MapLookup;
  readonly #map: string;
  readonly #count: number;

  /** `flags`: the program's settings word. */
  constructor(lookup: MapLookup, flags: number) {
    this.#lookup = lookup;
    this.#map = (flags & MARK_RULES_SECOND) !== 0 ? 'mark_rules_1' : 'mark_rules_0';
    this.#count = flags >>> MARK_COUNT_SHIFT;
  }

  apply(packet: XdpPacket, interfaceBit: number): Marking {
    const source = hostWords(packet.source);
    const marked = { source, destination: hostWords(packet.destination), packet, interfaceBit };
    let mark = 0;
    for (let at = 0; at < this.#count; at++) {
      const rule = this.#rule(at);
      if (rule === null || !isMatchedBy(rule, marked)) continue;
      if ((rule[FLAGS]! & RULE_REMOVED) !== 0) return { mark, removed: true };
      const isWanted = (mark & rule[MATCH_MASK]!) >>> 0 === rule[MATCH_VALUE]!;
      if (isWanted === ((rule[FLAGS]! & NOT_MARK) !== 0)) continue;
      mark = ((mark & ~rule[MASK]!) ^ rule[VALUE]!) >>> 0;
    }
    return { mark, removed: false };
  }

  #rule(at: number): Uint32Array | null {
    const bytes = this.#lookup(this.#map, new Uint8Array(Uint32Array.of(at).buffer));
    return bytes === null ? null : new Uint32Array(bytes.slice().buffer);
  }
}

function hostWords(address: Uint8Array): Uint32Array {
  const view = new DataView(address.buffer, address.byteOffset);
  return Uint32Array.from([0, 4, 8, 12], (at) => view.getUint32(at));
}

function isWithin(range: number, port: number): boolean {
  return port >= range >>> 16 && port <= (range & 0xffff);
}

function isMasked(address: Uint32Array, rule: Uint32Array, mask: number, wanted: number): boolean {
  return address.every((word, at) => (word & rule[mask + at]!) >>> 0 === rule[wanted + at]!);
}

function isInPortList(rule: Uint32Array, { sourcePort, destinationPort }: XdpPacket): boolean {
  const count = Math.min(rule[LIST_HEAD]! & 0xff, PORT_LIST_MAX);
  const side = rule[LIST_HEAD]! >>> 8;
  return rule
    .subarray(LIST, LIST + count)
    .some(
      (range) =>
        ((side & SIDE_SOURCE) !== 0 && isWithin(range, sourcePort)) ||
        ((side & SIDE_DESTINATION) !== 0 && isWithin(range, destinationPort)),
    );
}

/** All but the mark before the rule. */
function isMatchedBy(rule: Uint32Array, marked: Marked): boolean {
  const { packet, source, destination, interfaceBit } = marked;
  const flags = rule[FLAGS]!;
  /** Does a match hold, turned round where its flag is set? */
  const holds = (matches: boolean, not: number): boolean => matches !== ((flags & not) !== 0);
  if (((flags & RULE_IPV6) !== 0) !== (packet.family === 6)) return false;
  const interfaces = rule[INTERFACES]!;
  if (interfaces !== ANY_INTERFACE && (interfaces & interfaceBit) === 0) return false;
  const protocol = rule[PROTOCOL]!;
  if (protocol !== 0 && !holds(protocol === packet.protocol, NOT_PROTOCOL)) return false;
  if (!holds(isMasked(source, rule, SOURCE_MASK, SOURCE), NOT_SOURCE)) return false;
  if (!holds(isMasked(destination, rule, DESTINATION_MASK, DESTINATION), NOT_DESTINATION)) {
    return false;
  }
  if (!holds(isWithin(rule[SOURCE_PORTS]!, packet.sourcePort), NOT_SOURCE_PORTS)) return false;
  if (!holds(isWithin(rule[DESTINATION_PORTS]!, packet.destinationPort), NOT_DESTINATION_PORTS)) {
    return false;
  }
  return rule[LIST_HEAD] === 0 || holds(isInPortList(rule, packet), NOT_PORT_LIST);
}
