/**
 * Random firewall mark rules and packets, and a slow model of what the kernel does with them
 * (man iptables-extensions), written apart from the product: from the rule as it was chosen, with
 * addresses as strings of bits, not from anything the product's parser made of it.
 */
import fc from 'fast-check';

export const INTERFACES = ['eth0', 'eth1', 'lan0'] as const;

export type Family = 4 | 6;

export interface Packet {
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly interfaceSlot: number;
}

interface Not {
  readonly not: boolean;
}
type Range = readonly [number, number];

export interface Spec {
  readonly source: (Not & { readonly address: string; readonly bits: number }) | null;
  readonly destination: (Not & { readonly address: string; readonly bits: number }) | null;
  readonly interface: (Not & { readonly name: string }) | null;
  readonly protocol: (Not & { readonly name: string }) | null;
  readonly sourcePorts: (Not & { readonly range: Range }) | null;
  readonly destinationPorts: (Not & { readonly range: Range }) | null;
  readonly list: (Not & { readonly option: string; readonly ranges: readonly Range[] }) | null;
  readonly mark: (Not & { readonly value: number; readonly mask: number }) | null;
  readonly set: { readonly option: string; readonly value: number; readonly mask: number | null };
}

const NUMBERS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, sctp: 132 };

// Few values, so that rules and packets meet often.
const place = fc.tuple(fc.nat(1), fc.nat(1), fc.nat(7));
const ADDRESSES = {
  4: place.map(([first, third, last]) => `${first === 0 ? 10 : 192}.0.${third}.${last}`),
  6: place.map(
    ([first, third, last]) => `${first === 0 ? 'fd00' : '2001'}:0:0:${third}:8:0:0:${last}`,
  ),
};
const BITS = { 4: [0, 1, 8, 23, 30, 31, 32], 6: [0, 1, 16, 63, 64, 97, 126, 127, 128] };
const port = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.constantFrom(80, 443, 65534, 65535));
const not = fc.boolean();
const range = fc
  .tuple(port, port, fc.boolean())
  .map(([a, b, single]): Range => (single ? [a, a] : [Math.min(a, b), Math.max(a, b)]));
const word = fc.oneof(
  fc.integer({ min: 0, max: 7 }),
  fc.constantFrom(0x80000000, 0xffffffff, 0xfffffff0),
);

const addressMatch = (family: Family) =>
  fc.option(
    fc
      .record({ address: ADDRESSES[family], bits: fc.constantFrom(...BITS[family]), not })
      // "Not everything" is refused, as by iptables.
      .map((match) => (match.bits === 0 ? { ...match, not: false } : match)),
  );
const portMatch = fc.option(
  fc
    .record({ range, not })
    .map((match) => (match.range.join() === '0,65535' ? { ...match, not: false } : match)),
  { freq: 2 },
);

export const packetsOf = (family: Family): fc.Arbitrary<Packet> =>
  fc.record({
    protocol: fc.constantFrom(6, 17),
    source: ADDRESSES[family],
    destination: ADDRESSES[family],
    sourcePort: port,
    destinationPort: port,
    interfaceSlot: fc.integer({ min: 0, max: INTERFACES.length - 1 }),
  });
export const packets = packetsOf(4);

export const specsOf = (family: Family): fc.Arbitrary<Spec> =>
  fc
    .record({
      source: addressMatch(family),
      destination: addressMatch(family),
      interface: fc.option(
        fc.record({ name: fc.constantFrom(...INTERFACES, 'eth+', '+', 'ppp0'), not }),
        { freq: 2 },
      ),
      protocol: fc.option(fc.record({ name: fc.constantFrom('icmp', 'tcp', 'udp', 'sctp'), not })),
      sourcePorts: portMatch,
      destinationPorts: portMatch,
      list: fc.option(
        fc.record({
          option: fc.constantFrom('--sports', '--dports', '--ports'),
          ranges: fc.array(range, { minLength: 1, maxLength: 7 }),
          not,
        }),
      ),
      mark: fc.option(fc.record({ value: word, mask: word, not }), { freq: 3 }),
      set: fc.record({
        option: fc.constantFrom(
          '--set-mark',
          '--set-xmark',
          '--or-mark',
          '--and-mark',
          '--xor-mark',
        ),
        value: word,
        mask: fc.option(word),
      }),
    })
    .map((spec) => {
      const { protocol } = spec;
      // Ports can only be asked for of a protocol that has some.
      if (protocol !== null && !protocol.not && protocol.name !== 'icmp') return spec;
      return { ...spec, sourcePorts: null, destinationPorts: null, list: null };
    });
export const specs = specsOf(4);

const bang = ({ not: inverted }: Not): string => (inverted ? '! ' : '');
const rangeText = ([first, last]: Range): string =>
  first === last ? String(first) : `${first}:${last}`;

/** The words a user would write, without command and chain. */
export function ruleText(spec: Spec): string {
  const { source, destination, protocol, sourcePorts, destinationPorts, list, mark, set } = spec;
  const parts: string[] = [];
  if (source !== null) parts.push(`${bang(source)}-s ${source.address}/${source.bits}`);
  if (destination !== null) {
    parts.push(`${bang(destination)}-d ${destination.address}/${destination.bits}`);
  }
  if (spec.interface !== null) parts.push(`${bang(spec.interface)}-i ${spec.interface.name}`);
  if (protocol !== null) parts.push(`${bang(protocol)}-p ${protocol.name}`);
  if (sourcePorts !== null) {
    parts.push(`${bang(sourcePorts)}--sport ${rangeText(sourcePorts.range)}`);
  }
  if (destinationPorts !== null) {
    parts.push(`${bang(destinationPorts)}--dport ${rangeText(destinationPorts.range)}`);
  }
  if (list !== null) {
    const ports = list.ranges.map(rangeText).join(',');
    parts.push(`-m multiport ${bang(list)}${list.option} ${ports}`);
  }
  if (mark !== null) parts.push(`-m mark ${bang(mark)}--mark ${mark.value}/${mark.mask}`);
  const masked = set.option.startsWith('--set') && set.mask !== null ? `/${set.mask}` : '';
  parts.push(`-j MARK ${set.option} ${set.value}${masked}`);
  return parts.join(' ');
}

/** IPv6 addresses have all their eight groups here. */
function bitsOf(text: string): string {
  const isSix = text.includes(':');
  return text
    .split(isSix ? ':' : '.')
    .map((part) => Number.parseInt(part, isSix ? 16 : 10).toString(2))
    .map((bits) => bits.padStart(isSix ? 16 : 8, '0'))
    .join('');
}

function isInside(text: string, match: { address: string; bits: number }): boolean {
  return bitsOf(text).slice(0, match.bits) === bitsOf(match.address).slice(0, match.bits);
}

const isIn = (value: number, [first, last]: Range): boolean => value >= first && value <= last;

function isListed(list: NonNullable<Spec['list']>, packet: Packet): boolean {
  const looked =
    list.option === '--sports'
      ? [packet.sourcePort]
      : list.option === '--dports'
        ? [packet.destinationPort]
        : [packet.sourcePort, packet.destinationPort];
  return looked.some((value) => list.ranges.some((one) => isIn(value, one)));
}

function isNamed(name: string, actual: string): boolean {
  return name.endsWith('+') ? actual.startsWith(name.slice(0, -1)) : actual === name;
}

function matches(spec: Spec, packet: Packet, mark: bigint): boolean {
  const { source, destination, protocol, sourcePorts, destinationPorts, list } = spec;
  const said: [Not | null, () => boolean][] = [
    [source, () => isInside(packet.source, source!)],
    [destination, () => isInside(packet.destination, destination!)],
    [spec.interface, () => isNamed(spec.interface!.name, INTERFACES[packet.interfaceSlot]!)],
    [protocol, () => NUMBERS[protocol!.name] === packet.protocol],
    [sourcePorts, () => isIn(packet.sourcePort, sourcePorts!.range)],
    [destinationPorts, () => isIn(packet.destinationPort, destinationPorts!.range)],
    [list, () => isListed(list!, packet)],
    [spec.mark, () => (mark & BigInt(spec.mark!.mask)) === BigInt(spec.mark!.value)],
  ];
  return said.every(([match, holds]) => match === null || holds() !== match.not);
}

/** Mark of a packet after all rules, unsigned. */
export function modelMark(rules: readonly Spec[], packet: Packet): number {
  const all = 0xffffffffn;
  let mark = 0n;
  for (const rule of rules) {
    if (!matches(rule, packet, mark)) continue;
    const value = BigInt(rule.set.value);
    const zeroed = mark & (all ^ BigInt(rule.set.mask ?? 0xffffffff));
    if (rule.set.option === '--set-mark') mark = zeroed | value;
    else if (rule.set.option === '--set-xmark') mark = zeroed ^ value;
    else if (rule.set.option === '--or-mark') mark |= value;
    else if (rule.set.option === '--and-mark') mark &= value;
    else mark ^= value;
  }
  return Number(mark);
}
