/**
 * A firewall mark rule as the mangle table's PREROUTING chain holds it, and what of it workers and
 * the XDP program read. Addresses and masks are four words in host order, IPv4 in the first.
 */
import {
  ANY_INTERFACE,
  ANY_PORT,
  encodeMarkRule,
  SIDE_DESTINATION,
  SIDE_EITHER,
  SIDE_SOURCE,
} from '../../table/mark';

export interface AddressMatch {
  /** Masked. */
  readonly address: readonly number[];
  readonly mask: readonly number[];
  readonly inverted: boolean;
}
export interface PortRange {
  readonly first: number;
  readonly last: number;
}
export interface PortMatch {
  readonly range: PortRange;
  readonly inverted: boolean;
}
export type PortSide = 'source' | 'destination' | 'either';
/** iptables' multiport. */
export interface PortListMatch {
  readonly side: PortSide;
  readonly ranges: readonly PortRange[];
  readonly inverted: boolean;
}

export interface MarkRule {
  readonly family: 4 | 6;
  readonly source: AddressMatch | null;
  readonly destination: AddressMatch | null;
  /** A "+" at the end of the name stands for anything. */
  readonly interface: { readonly name: string; readonly inverted: boolean } | null;
  readonly protocol: { readonly number: number; readonly inverted: boolean } | null;
  readonly sourcePorts: PortMatch | null;
  readonly destinationPorts: PortMatch | null;
  readonly portList: PortListMatch | null;
  /** The mark before this rule. */
  readonly mark: {
    readonly value: number;
    readonly mask: number;
    readonly inverted: boolean;
  } | null;
  readonly comment: string | null;
  /** The mark becomes (mark & ~mask) ^ value; both unsigned. */
  readonly value: number;
  readonly mask: number;
}

const SIDES: Readonly<Record<PortSide, number>> = {
  source: SIDE_SOURCE,
  destination: SIDE_DESTINATION,
  either: SIDE_EITHER,
};
const EVERY_ADDRESS = { address: [0, 0, 0, 0], mask: [0, 0, 0, 0] };

/** `interfaces`: names of the interfaces xvs serves, in slot order. */
export function compileRule(rule: MarkRule, interfaces: readonly string[]): Int32Array {
  return encodeMarkRule({
    family: rule.family,
    protocol: {
      is: rule.protocol?.number ?? 0,
      inverted: rule.protocol?.inverted ?? false,
    },
    interfaces: interfaceBits(rule, interfaces),
    source: addressOf(rule.source),
    destination: addressOf(rule.destination),
    sourcePorts: portsOf(rule.sourcePorts),
    destinationPorts: portsOf(rule.destinationPorts),
    portList: {
      is: (rule.portList?.ranges ?? []).map(rangeWord),
      inverted: rule.portList?.inverted ?? false,
    },
    portListSide: SIDES[rule.portList?.side ?? 'either'],
    match: {
      is: { value: rule.mark?.value ?? 0, mask: rule.mark?.mask ?? 0 },
      inverted: rule.mark?.inverted ?? false,
    },
    value: rule.value,
    mask: rule.mask,
  });
}

function addressOf(match: AddressMatch | null) {
  const { address, mask } = match ?? EVERY_ADDRESS;
  return { is: { address: [...address], mask: [...mask] }, inverted: match?.inverted ?? false };
}

function portsOf(match: PortMatch | null) {
  const is = match === null ? ANY_PORT : rangeWord(match.range);
  return { is, inverted: match?.inverted ?? false };
}

function rangeWord({ first, last }: PortRange): number {
  return (first << 16) | last;
}

/** One bit for each interface slot that the rule is for. */
function interfaceBits(rule: MarkRule, interfaces: readonly string[]): number {
  if (rule.interface === null) return ANY_INTERFACE;
  const { name, inverted } = rule.interface;
  let bits = 0;
  for (const [slot, known] of interfaces.entries()) {
    const matches = name.endsWith('+') ? known.startsWith(name.slice(0, -1)) : known === name;
    if (matches) bits |= 1 << slot;
  }
  return inverted ? ~bits : bits;
}
