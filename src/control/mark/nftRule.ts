/**
 * One nftables rule in iptables' words. A rule that names several addresses, protocols or more
 * ports than multiport takes becomes several: they exclude each other, so that a packet is still
 * marked by one of them at most. Source: libnftables-json(5).
 */
import { formatIpv4, parseIpv4 } from '../../net/address';
import { PORT_LIST_MAX } from '../../table/mark';
import { MarkError } from './values';

type Json = Readonly<Record<string, unknown>>;
type Part = 'source' | 'destination' | 'protocol' | 'interface' | 'sourcePorts' | 'ports' | 'mark';

interface Choice {
  readonly values: readonly string[];
  readonly inverted: boolean;
}

const IGNORED = ['counter', 'log'];
const LINES_MAX = 256;
const PART_OF_META: Readonly<Record<string, Part>> = {
  l4proto: 'protocol',
  iifname: 'interface',
  iif: 'interface',
};
const PART_OF_IP: Readonly<Record<string, Part>> = {
  saddr: 'source',
  daddr: 'destination',
  protocol: 'protocol',
  nexthdr: 'protocol',
};

function show(value: unknown): string {
  return JSON.stringify(value);
}

/** What the bit operations of a "meta mark set" make of the mark: (mark & kept) ^ flipped. */
function markFunction(value: unknown): { kept: number; flipped: number } {
  if (typeof value === 'number') return { kept: 0, flipped: value };
  const [operator, operands] = Object.entries((value ?? {}) as Json)[0] ?? [];
  if (operator === 'meta' && (operands as Json)['key'] === 'mark') return { kept: -1, flipped: 0 };
  const [inner, constant] = Array.isArray(operands) ? operands : [];
  if (typeof constant === 'number' && (operator === '&' || operator === '|' || operator === '^')) {
    const { kept, flipped } = markFunction(inner);
    if (operator === '&') return { kept: kept & constant, flipped: flipped & constant };
    if (operator === '^') return { kept, flipped: flipped ^ constant };
    return { kept: kept & ~constant, flipped: (flipped & ~constant) | constant };
  }
  throw new MarkError(
    `mark set to ${show(value)}: a number, or "mark and/or/xor NUMBER" is allowed`,
  );
}

/** Prefixes that cover the IPv4 addresses from `first` to `last`, and no others. */
function prefixes(first: number, last: number): string[] {
  const found: string[] = [];
  let at = first;
  while (at <= last) {
    let bits = 0;
    while (bits < 32 && at % 2 ** (bits + 1) === 0 && at + 2 ** (bits + 1) - 1 <= last) bits++;
    found.push(`${formatIpv4(at | 0)}/${32 - bits}`);
    at += 2 ** bits;
  }
  return found;
}

function addressRange(from: unknown, to: unknown): string[] {
  if (typeof from !== 'string' || from.includes(':')) {
    throw new MarkError(
      `addresses ${show(from)} to ${show(to)}: only prefixes are allowed of IPv6`,
    );
  }
  return prefixes(parseIpv4(from) >>> 0, parseIpv4(String(to)) >>> 0);
}

/** Ports in runs that one multiport takes. */
function chunks(ports: readonly string[]): string[][] {
  const found: string[][] = [[]];
  let places = 0;
  for (const port of ports) {
    const wanted = port.includes(':') ? 2 : 1;
    if (places + wanted > PORT_LIST_MAX) {
      found.push([]);
      places = 0;
    }
    found.at(-1)!.push(port);
    places += wanted;
  }
  return found;
}

export class NftRule {
  #families: readonly (4 | 6)[];
  readonly #sets: ReadonlyMap<string, readonly unknown[]>;
  readonly #comment: string | undefined;
  readonly #parts = new Map<Part, Choice>();
  #target: string | null = null;

  constructor(
    families: readonly (4 | 6)[],
    sets: ReadonlyMap<string, readonly unknown[]>,
    comment: string | undefined,
  ) {
    this.#families = families;
    this.#sets = sets;
    this.#comment = comment;
  }

  /** One statement of the rule. Throws a MarkError for what iptables' words cannot say. */
  read(statement: Json): void {
    const [kind = '', body] = Object.entries(statement)[0] ?? [];
    if (IGNORED.includes(kind)) return;
    if (this.#target !== null) {
      throw new MarkError(`${show(statement)}: nothing is allowed after the mark is set`);
    }
    if (kind === 'match') this.#match(body as Json);
    else if (kind === 'mangle') this.#mangle(body as Json);
    else throw new MarkError(`${show(statement)}: only matches and "meta mark set" are allowed`);
  }

  #mangle({ key, value }: Json): void {
    if (show(key) !== '{"meta":{"key":"mark"}}') {
      throw new MarkError(`${show(key)} set: only the mark is allowed`);
    }
    const { kept, flipped } = markFunction(value);
    this.#target = `${flipped >>> 0}/${~kept >>> 0}`;
  }

  #match(match: Json): void {
    const { op, left, right } = match;
    if (op !== '==' && op !== '!=' && op !== 'in') {
      throw new MarkError(`${show(match)}: only == and != are allowed`);
    }
    const inverted = op === '!=';
    const { meta, payload, '&': masked } = left as Json;
    if (meta !== undefined) this.#matchMeta((meta as Json)['key'], right, inverted);
    else if (payload !== undefined) this.#matchPayload(payload as Json, right, inverted);
    else if (show((masked as unknown[])?.[0]) === '{"meta":{"key":"mark"}}') {
      const mask = (masked as unknown[])[1];
      this.#put('mark', [`${this.#values(right).join()}/${String(mask)}`], inverted);
    } else throw new MarkError(`${show(left)}: this match is not allowed`);
  }

  #matchMeta(key: unknown, right: unknown, inverted: boolean): void {
    const values = this.#values(right);
    if (key === 'nfproto') {
      const wanted = values.map((value) => (value === 'ipv6' ? 6 : 4));
      this.#families = this.#families.filter((one) => wanted.includes(one) !== inverted);
    } else if (key === 'mark') this.#put('mark', values, inverted);
    else if (typeof key === 'string' && Object.hasOwn(PART_OF_META, key)) {
      const part = PART_OF_META[key]!;
      const names = part === 'interface' ? values.map((name) => name.replace(/\*$/, '+')) : values;
      this.#put(part, names, inverted);
    } else {
      throw new MarkError(
        `meta ${show(key)}: only iifname, iif, l4proto, nfproto, mark are allowed`,
      );
    }
  }

  #matchPayload({ protocol, field }: Json, right: unknown, inverted: boolean): void {
    const values = this.#values(right);
    const name = String(field);
    if ((protocol === 'ip' || protocol === 'ip6') && Object.hasOwn(PART_OF_IP, name)) {
      const family = protocol === 'ip' ? 4 : 6;
      this.#families = this.#families.filter((one) => one === family);
      this.#put(PART_OF_IP[name]!, values, inverted);
      return;
    }
    if (!['tcp', 'udp', 'sctp', 'th'].includes(String(protocol)) || !/^[sd]port$/.test(name)) {
      throw new MarkError(`${show(protocol)} ${name}: addresses and ports only are allowed`);
    }
    if (protocol !== 'th') this.#needProtocol(String(protocol));
    this.#put(name === 'sport' ? 'sourcePorts' : 'ports', values, inverted);
  }

  /** "tcp dport" means TCP, which may have been said already. */
  #needProtocol(protocol: string): void {
    const known = this.#parts.get('protocol');
    if (known !== undefined && (known.inverted || !known.values.includes(protocol))) {
      throw new MarkError(`protocol ${protocol}: contradicts an earlier match`);
    }
    this.#parts.set('protocol', { values: [protocol], inverted: false });
  }

  #put(part: Part, values: readonly string[], inverted: boolean): void {
    if (this.#parts.has(part)) throw new MarkError(`two matches of ${part}: one is allowed`);
    const many = part !== 'ports' && part !== 'sourcePorts' && values.length > 1;
    if (many && (inverted || part === 'mark')) {
      throw new MarkError(`${part} != ${values.join(', ')}: one value is allowed here`);
    }
    this.#parts.set(part, { values, inverted });
  }

  /** The right side of a match as iptables writes values. */
  #values(right: unknown): string[] {
    if (typeof right === 'number') return [String(right)];
    if (typeof right === 'string') {
      if (!right.startsWith('@')) return [right];
      const elements = this.#sets.get(right.slice(1));
      if (elements === undefined) throw new MarkError(`${right}: there is no such set`);
      return elements.flatMap((element) => this.#values(element));
    }
    const { set, prefix, range, elem } = right as Json;
    if (Array.isArray(set)) return set.flatMap((element) => this.#values(element));
    if (elem !== undefined) return this.#values((elem as Json)['val']);
    if (prefix !== undefined) {
      const { addr, len } = prefix as Json;
      return [`${String(addr)}/${String(len)}`];
    }
    if (!Array.isArray(range)) throw new MarkError(`${show(right)}: this value is not allowed`);
    const [from, to] = range;
    return typeof from === 'number' ? [`${from}:${String(to)}`] : addressRange(from, to);
  }

  /** The words of iptables command lines that together do what the rule does. */
  lines(): string[][] {
    if (this.#target === null) throw new MarkError('the rule sets no mark');
    let lines: string[][] = this.#families.map((one) => [
      one === 6 ? '-6' : '-4',
      '-A',
      'PREROUTING',
    ]);
    const options = { source: '-s', destination: '-d', protocol: '-p', interface: '-i' } as const;
    for (const part of Object.keys(options) as (keyof typeof options)[]) {
      const choice = this.#parts.get(part);
      if (choice === undefined) continue;
      const not = choice.inverted ? ['!'] : [];
      lines = lines.flatMap((line) =>
        choice.values.map((value) => [...line, ...not, options[part], value]),
      );
    }
    lines = this.#withPorts(lines);
    const mark = this.#parts.get('mark');
    const rest = mark === undefined ? [] : ['-m', 'mark', ...(mark.inverted ? ['!'] : [])];
    if (mark !== undefined) rest.push('--mark', mark.values[0]!);
    if (this.#comment !== undefined) rest.push('-m', 'comment', '--comment', this.#comment);
    rest.push('-j', 'MARK', '--set-xmark', this.#target);
    if (lines.length > LINES_MAX) {
      throw new MarkError(`${lines.length} rules of one: at most ${LINES_MAX} are allowed`);
    }
    return lines.map((line) => [...line, ...rest]);
  }

  #withPorts(lines: string[][]): string[][] {
    const source = this.#parts.get('sourcePorts');
    const destination = this.#parts.get('ports');
    if ((source?.values.length ?? 0) > 1 && (destination?.values.length ?? 0) > 1) {
      throw new MarkError('lists of source and of destination ports: one list is allowed');
    }
    return withList(withList(lines, source, 's'), destination, 'd');
  }
}

function withList(lines: string[][], ports: Choice | undefined, side: 's' | 'd'): string[][] {
  if (ports === undefined) return lines;
  const not = ports.inverted ? ['!'] : [];
  const [single] = ports.values;
  if (ports.values.length === 1) {
    return lines.map((line) => [...line, ...not, `--${side}port`, single!]);
  }
  const runs = chunks(ports.values);
  if (ports.inverted && runs.length > 1) {
    const allowed = `at most ${PORT_LIST_MAX} are allowed, a range counts as two`;
    throw new MarkError(`ports != ${ports.values.join(', ')}: ${allowed}`);
  }
  return lines.flatMap((line) =>
    runs.map((run) => [...line, '-m', 'multiport', ...not, `--${side}ports`, run.join(',')]),
  );
}
