/**
 * Matches and target of one iptables rule, option by option; what contradicts what is said at the
 * end, so that the order of options does not matter. Source: man iptables-extensions.
 */
import { PORT_LIST_MAX } from '../../table/mark';
import type { AddressMatch, MarkRule, PortListMatch, PortSide } from './rule';
import {
  MarkError,
  type MaskedAddress,
  type PortNames,
  parseAddress,
  parseMark,
  parsePlainMark,
  parsePortRange,
  parseProtocol,
  protocolName,
} from './values';

const TCP = 6;
const UDP = 17;
const SCTP = 132;
const COMMENT_MAX = 255;
const INTERFACE_MAX = 15;
const ADDRESSES_MAX = 64;

type Kind =
  | 'source'
  | 'destination'
  | 'protocol'
  | 'interface'
  | 'sourcePorts'
  | 'destinationPorts'
  | 'portList'
  | 'match'
  | 'mark'
  | 'comment'
  | 'jump'
  | 'set';

/** Option to what it says; the first name of a kind is the one in messages. */
const OPTIONS: Readonly<Record<string, Kind>> = {
  '-s': 'source',
  '--source': 'source',
  '--src': 'source',
  '-d': 'destination',
  '--destination': 'destination',
  '--dst': 'destination',
  '-p': 'protocol',
  '--protocol': 'protocol',
  '--proto': 'protocol',
  '-i': 'interface',
  '--in-interface': 'interface',
  '--sport': 'sourcePorts',
  '--source-port': 'sourcePorts',
  '--dport': 'destinationPorts',
  '--destination-port': 'destinationPorts',
  '--sports': 'portList',
  '--source-ports': 'portList',
  '--dports': 'portList',
  '--destination-ports': 'portList',
  '--ports': 'portList',
  '-m': 'match',
  '--match': 'match',
  '--mark': 'mark',
  '--comment': 'comment',
  '-j': 'jump',
  '--jump': 'jump',
  '--set-mark': 'set',
  '--set-xmark': 'set',
  '--or-mark': 'set',
  '--and-mark': 'set',
  '--xor-mark': 'set',
};
const INVERTIBLE: ReadonlySet<Kind> = new Set<Kind>([
  'source',
  'destination',
  'protocol',
  'interface',
  'sourcePorts',
  'destinationPorts',
  'portList',
  'mark',
]);
const MATCHES = ['tcp', 'udp', 'sctp', 'multiport', 'mark', 'comment'];

interface Given {
  readonly option: string;
  readonly value: string;
  readonly inverted: boolean;
}

export class RuleReader {
  readonly #names: PortNames;
  readonly #given = new Map<Kind, Given>();
  readonly #matches = new Set<string>();

  constructor(names: PortNames) {
    this.#names = names;
  }

  knows(option: string): boolean {
    return Object.hasOwn(OPTIONS, option);
  }
  get options(): readonly string[] {
    return Object.keys(OPTIONS);
  }
  get invertible(): readonly string[] {
    return this.options.filter((option) => INVERTIBLE.has(OPTIONS[option]!));
  }
  /** Options read so far. */
  get given(): readonly string[] {
    return [...[...this.#given.values()].map(({ option }) => option), ...this.#matches];
  }

  read(option: string, value: string, inverted: boolean): void {
    const kind = OPTIONS[option]!;
    if (inverted && !INVERTIBLE.has(kind)) {
      throw new MarkError(`! ${option}: allowed before ${this.invertible.join(', ')}`);
    }
    if (kind === 'match') {
      if (!MATCHES.includes(value)) {
        throw new MarkError(`${option} ${value}: allowed are ${MATCHES.join(', ')}`);
      }
      this.#matches.add(value);
      return;
    }
    const earlier = this.#given.get(kind);
    if (earlier !== undefined) {
      throw new MarkError(`${option} ${value}: there is a ${earlier.option} before it`);
    }
    this.#given.set(kind, { option, value, inverted });
  }

  /** One rule for each pair of addresses. `family`: said by -4 or -6. */
  finish(family: 4 | 6 | null): { readonly family: 4 | 6; readonly rules: readonly MarkRule[] } {
    const sources = this.#addresses('source');
    const destinations = this.#addresses('destination');
    const settled = this.#family(family, [...sources, ...destinations]);
    const protocol = this.#protocol();
    const rest = {
      family: settled,
      interface: this.#interface(),
      protocol,
      sourcePorts: this.#ports('sourcePorts', protocol?.number ?? 0),
      destinationPorts: this.#ports('destinationPorts', protocol?.number ?? 0),
      portList: this.#portList(protocol?.number ?? 0),
      mark: this.#mark(),
      comment: this.#comment(),
      ...this.#target(),
    };
    this.#checkMatches(protocol?.number ?? 0);
    const count = Math.max(1, sources.length) * Math.max(1, destinations.length);
    if (count > ADDRESSES_MAX) {
      throw new MarkError(`-s and -d make ${count} rules: at most ${ADDRESSES_MAX} are allowed`);
    }
    const either = (kind: 'source' | 'destination', found: readonly MaskedAddress[]) =>
      found.length === 0 ? [null] : found.map((one) => this.#addressMatch(kind, one));
    const rules = either('source', sources).flatMap((source) =>
      either('destination', destinations).map((destination) => ({ ...rest, source, destination })),
    );
    return { family: settled, rules };
  }

  #addresses(kind: 'source' | 'destination'): readonly MaskedAddress[] {
    const given = this.#given.get(kind);
    if (given === undefined) return [];
    const texts = given.value.split(',');
    if (given.inverted && texts.length > 1) {
      throw new MarkError(`! ${given.option} ${given.value}: one address is allowed after !`);
    }
    return texts.map((text) => parseAddress(given.option, text));
  }

  /** null: every address, said or not said. */
  #addressMatch(
    kind: 'source' | 'destination',
    { address, mask }: MaskedAddress,
  ): AddressMatch | null {
    const { option, value, inverted } = this.#given.get(kind)!;
    if (mask.some((word) => word !== 0)) return { address, mask, inverted };
    if (inverted) throw new MarkError(`! ${option} ${value}: no packet would match`);
    return null;
  }

  #family(said: 4 | 6 | null, addresses: readonly MaskedAddress[]): 4 | 6 {
    const family = said ?? addresses[0]?.family ?? 4;
    if (addresses.some((one) => one.family !== family)) {
      const texts = [this.#given.get('source')?.value, this.#given.get('destination')?.value];
      const shown = texts.filter((text) => text !== undefined).join(', ');
      throw new MarkError(`${shown}: only IPv${family} addresses are allowed in this rule`);
    }
    return family;
  }

  #protocol(): MarkRule['protocol'] {
    const given = this.#given.get('protocol');
    if (given === undefined) return null;
    const number = parseProtocol(given.value);
    if (number !== 0) return { number, inverted: given.inverted };
    if (given.inverted) {
      throw new MarkError(`! ${given.option} ${given.value}: no packet would match`);
    }
    return null;
  }

  #interface(): MarkRule['interface'] {
    const given = this.#given.get('interface');
    if (given === undefined) return null;
    const { value: name, inverted, option } = given;
    if (!/^[^\s/]+$/.test(name) || Buffer.byteLength(name) > INTERFACE_MAX) {
      const allowed = `a name of 1 to ${INTERFACE_MAX} characters is allowed, "+" at its end`;
      throw new MarkError(`${option} ${name}: ${allowed} for any`);
    }
    return name === '+' && !inverted ? null : { name, inverted };
  }

  /** Ports can only be asked for where the protocol is known. */
  #portProtocol({ option, value }: Given, number: number): string {
    const inverted = this.#given.get('protocol')?.inverted ?? false;
    if (!inverted && (number === TCP || number === UDP || number === SCTP)) {
      return protocolName(number);
    }
    throw new MarkError(`${option} ${value}: -p tcp, -p udp or -p sctp is needed with it`);
  }

  #ports(kind: 'sourcePorts' | 'destinationPorts', number: number): MarkRule['sourcePorts'] {
    const given = this.#given.get(kind);
    if (given === undefined) return null;
    const protocol = this.#portProtocol(given, number);
    const range = parsePortRange(given.option, given.value, protocol, this.#names);
    if (given.inverted && range.first === 0 && range.last === 65535) {
      throw new MarkError(`! ${given.option} ${given.value}: no packet would match`);
    }
    return { range, inverted: given.inverted };
  }

  #portList(number: number): PortListMatch | null {
    const given = this.#given.get('portList');
    if (given === undefined) {
      if (!this.#matches.has('multiport')) return null;
      throw new MarkError('-m multiport: --sports, --dports or --ports is needed with it');
    }
    const { option, value, inverted } = given;
    this.#needMatch('multiport', given);
    const protocol = this.#portProtocol(given, number);
    const ranges = value
      .split(',')
      .map((text) => parsePortRange(option, text, protocol, this.#names));
    const places = value.split(/[,:]/).length;
    if (places > PORT_LIST_MAX) {
      const allowed = `at most ${PORT_LIST_MAX} ports are allowed, a range counts as two`;
      throw new MarkError(`${option} ${value}: ${allowed}`);
    }
    return { side: sideOf(option), ranges, inverted };
  }

  #needMatch(name: string, { option, value }: Given): void {
    if (!this.#matches.has(name)) {
      throw new MarkError(`${option} ${value}: -m ${name} is needed before it`);
    }
  }

  #mark(): MarkRule['mark'] {
    const given = this.#given.get('mark');
    if (given === undefined) {
      if (!this.#matches.has('mark')) return null;
      throw new MarkError('-m mark: --mark is needed with it');
    }
    this.#needMatch('mark', given);
    return { ...parseMark(given.option, given.value), inverted: given.inverted };
  }

  #comment(): string | null {
    const given = this.#given.get('comment');
    if (given === undefined) {
      if (!this.#matches.has('comment')) return null;
      throw new MarkError('-m comment: --comment is needed with it');
    }
    this.#needMatch('comment', given);
    const { option, value } = given;
    if (Buffer.byteLength(value) > COMMENT_MAX || /[\n\0]/.test(value)) {
      throw new MarkError(`${option}: one line of at most ${COMMENT_MAX} bytes is allowed`);
    }
    return value;
  }

  #checkMatches(number: number): void {
    const inverted = this.#given.get('protocol')?.inverted ?? false;
    for (const name of ['tcp', 'udp', 'sctp']) {
      if (!this.#matches.has(name)) continue;
      if (inverted || protocolName(number) !== name) {
        throw new MarkError(`-m ${name}: -p ${name} is needed with it`);
      }
    }
  }

  #target(): { readonly value: number; readonly mask: number } {
    const jump = this.#given.get('jump');
    const set = this.#given.get('set');
    const allowed = '--set-mark, --set-xmark, --or-mark, --and-mark, --xor-mark';
    if (jump === undefined) throw new MarkError('-j MARK is missing');
    if (jump.value !== 'MARK') throw new MarkError(`-j ${jump.value}: only MARK is allowed`);
    if (set === undefined) throw new MarkError(`-j MARK: one of ${allowed} is needed`);
    return newMark(set.option, set.value);
  }
}

function sideOf(option: string): PortSide {
  if (option === '--ports') return 'either';
  return option.startsWith('--s') ? 'source' : 'destination';
}

/** All five as --set-xmark: the mark becomes (mark & ~mask) ^ value. */
function newMark(option: string, text: string): { value: number; mask: number } {
  if (option === '--set-xmark') return parseMark(option, text);
  if (option === '--set-mark') {
    const { value, mask } = parseMark(option, text);
    return { value, mask: (value | mask) >>> 0 };
  }
  const bits = parsePlainMark(option, text);
  if (option === '--or-mark') return { value: bits, mask: bits };
  if (option === '--and-mark') return { value: 0, mask: ~bits >>> 0 };
  return { value: bits, mask: 0 };
}
