/**
 * A filter as a tree of comparisons of fields, and the tests that tcpdump's words stand for
 * (pcap-filter(7)). Offsets count from the frame's first byte, or from what lies behind the IPv4
 * header; values are unsigned, in network byte order.
 */

import { TYPE_IPV4, TYPE_IPV6 } from '../../net/ethernet';
import { PROTOCOL_AH, PROTOCOL_ESP } from '../../net/ipsec';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../net/ipv4';
import { PROTOCOL_FRAGMENT, PROTOCOL_ICMP6 } from '../../net/ipv6';
import { PROTOCOL_SCTP } from '../../net/sctp';

export type Base = 'frame' | 'transport4' | 'length';
export type Comparison = '=' | '!=' | '>' | '<=' | '>=' | '<';

export interface Test {
  readonly kind: 'test';
  readonly base: Base;
  readonly offset: number;
  /** Of the field: 1, 2 or 4; of 'length' without meaning. */
  readonly bytes: number;
  readonly mask: number;
  readonly comparison: Comparison;
  readonly value: number;
}
export type Tree =
  | Test
  | { readonly kind: 'and' | 'or'; readonly left: Tree; readonly right: Tree }
  | { readonly kind: 'not'; readonly of: Tree };

export type Side = 'source' | 'destination' | 'either' | 'both';

export const PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  sctp: PROTOCOL_SCTP,
  icmp: PROTOCOL_ICMP,
  icmp6: PROTOCOL_ICMP6,
  ah: PROTOCOL_AH,
  esp: PROTOCOL_ESP,
};
const WITH_PORTS = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];

const WHOLE: Readonly<Record<number, number>> = { 1: 0xff, 2: 0xffff, 4: 0xffffffff };
const [ETHERNET_TYPE_AT, IP_AT, TRANSPORT6_AT] = [12, 14, 54];
const [FRAGMENT4_AT, PROTOCOL4_AT, NEXT_HEADER_AT] = [20, 23, 20];
const FRAGMENT_OFFSET = 0x1fff;
const [SOURCE4_AT, DESTINATION4_AT, SOURCE6_AT, DESTINATION6_AT] = [26, 30, 22, 38];

export function and(...trees: readonly Tree[]): Tree {
  return trees.reduce((left, right) => ({ kind: 'and', left, right }));
}
export function or(...trees: readonly Tree[]): Tree {
  return trees.reduce((left, right) => ({ kind: 'or', left, right }));
}
export function not(of: Tree): Tree {
  return { kind: 'not', of };
}

/** A field of `bytes` is compared; without a mask all of it. */
export function test(
  base: Base,
  offset: number,
  bytes: number,
  comparison: Comparison,
  value: number,
  mask = WHOLE[bytes]!,
): Test {
  return { kind: 'test', base, offset, bytes, mask: mask >>> 0, comparison, value: value >>> 0 };
}

function equals(offset: number, bytes: number, value: number, mask?: number): Test {
  return test('frame', offset, bytes, '=', value, mask);
}

/** By its number in the Ethernet header. */
export function ethernetType(type: number): Tree {
  return equals(ETHERNET_TYPE_AT, 2, type);
}
export const IPV4: Tree = ethernetType(TYPE_IPV4);
export const IPV6: Tree = ethernetType(TYPE_IPV6);

export function protocol4(protocol: number): Tree {
  return and(IPV4, equals(PROTOCOL4_AT, 1, protocol));
}
/** Right behind the header, or behind a fragment header, as tcpdump looks at it. */
export function protocol6(protocol: number): Tree {
  const next = equals(NEXT_HEADER_AT, 1, protocol);
  const behindFragment = and(
    equals(NEXT_HEADER_AT, 1, PROTOCOL_FRAGMENT),
    equals(TRANSPORT6_AT, 1, protocol),
  );
  return and(IPV6, or(next, behindFragment));
}
/** tcp, udp ... alone: of either family, but for ICMP, which is of one. */
export function protocol(number: number): Tree {
  if (number === PROTOCOL_ICMP) return protocol4(number);
  if (number === PROTOCOL_ICMP6) return protocol6(number);
  return or(protocol4(number), protocol6(number));
}

function sides(side: Side, source: Tree, destination: Tree): Tree {
  switch (side) {
    case 'source':
      return source;
    case 'destination':
      return destination;
    case 'either':
      return or(source, destination);
    case 'both':
      return and(source, destination);
  }
}

/** Address and mask: one word of IPv4. */
export function network4(side: Side, address: number, mask: number): Tree {
  const source = equals(SOURCE4_AT, 4, address & mask, mask);
  return and(IPV4, sides(side, source, equals(DESTINATION4_AT, 4, address & mask, mask)));
}

/** The words that `prefixLength` covers. */
export function network6(side: Side, words: Int32Array, prefixLength: number): Tree {
  const at = (first: number): Tree => {
    const tests: Tree[] = [];
    for (let word = 0; word < 4; word++) {
      const bits = Math.min(32, Math.max(0, prefixLength - word * 32));
      const mask = bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
      if (mask === 0 && word > 0) break;
      tests.push(equals(first + word * 4, 4, words[word]! & mask, mask));
    }
    return and(...tests);
  };
  return and(IPV6, sides(side, at(SOURCE6_AT), at(DESTINATION6_AT)));
}

/** Ports from `first` to `last`; `of`: protocol numbers, all that have ports unless said. */
export function portRange(
  side: Side,
  first: number,
  last: number,
  of: readonly number[] = WITH_PORTS,
): Tree {
  const among = (base: Base, offset: number): Tree =>
    first === last
      ? test(base, offset, 2, '=', first)
      : and(test(base, offset, 2, '>=', first), test(base, offset, 2, '<=', last));
  const within = (base: Base, at: number) => sides(side, among(base, at), among(base, at + 2));
  return or(
    and(IPV4, protocolAmong(PROTOCOL4_AT, of), isNoLaterFragment(), within('transport4', 0)),
    and(IPV6, protocolAmong(NEXT_HEADER_AT, of), within('frame', TRANSPORT6_AT)),
  );
}

function protocolAmong(offset: number, of: readonly number[]): Tree {
  return or(...of.map((number) => equals(offset, 1, number)));
}

function isNoLaterFragment(): Tree {
  return equals(FRAGMENT4_AT, 2, 0, FRAGMENT_OFFSET);
}

/** Both halves of a MAC address at `at`. */
function macAt(at: number, mac: readonly number[]): Tree {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac;
  const high = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  return and(equals(at, 4, high), equals(at + 4, 2, (e << 8) | f));
}
export function macAddress(side: Side, mac: readonly number[]): Tree {
  return sides(side, macAt(6, mac), macAt(0, mac));
}

/** `NAME[offset:bytes] & mask COMPARISON value`: what lies at `offset` behind NAME's header. */
export function fieldOf(
  name: string,
  field: Pick<Test, 'offset' | 'bytes' | 'comparison' | 'value' | 'mask'>,
): Tree {
  const { offset, bytes, comparison, value, mask } = field;
  const at = (base: Base, from: number) =>
    test(base, from + offset, bytes, comparison, value, mask);
  if (name === 'ether') return at('frame', 0);
  if (name === 'ip') return and(IPV4, at('frame', IP_AT));
  if (name === 'ip6') return and(IPV6, at('frame', IP_AT));
  const number = PROTOCOLS[name]!;
  const behind4 = and(protocol4(number), isNoLaterFragment(), at('transport4', 0));
  const behind6 = and(IPV6, equals(NEXT_HEADER_AT, 1, number), at('frame', TRANSPORT6_AT));
  if (name === 'icmp') return behind4;
  return name === 'icmp6' ? behind6 : or(behind4, behind6);
}
