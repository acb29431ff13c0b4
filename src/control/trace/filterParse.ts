/**
 * tcpdump's filter language (pcap-filter(7)), the common subset:
 *
 *   [ip|ip6] [src|dst|src or dst|src and dst] host|net VALUE
 *   [tcp|udp|sctp] [src|dst|...] port|portrange VALUE
 *   ether [src|dst] host MAC;  ip proto N, ip6 proto N, proto N
 *   ip, ip6, arp, tcp, udp, sctp, icmp, icmp6, ah, esp;  less N, greater N, len COMPARISON N
 *   PROTOCOL[OFFSET:BYTES] [& MASK] COMPARISON VALUE
 *
 * with and, or, not and parentheses; and and or bind alike, from the left, as tcpdump has it. What
 * follows one value without words of its own takes its words: "host A or B". Differs in one thing:
 * tcp[...], udp[...] and sctp[...] look at IPv6 too.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { addressWords, parseIpv4 } from '../../net/address';
import { systemPorts } from '../mark/portNames';
import { parseField } from './filterField';
import {
  and,
  ethernetType,
  fieldOf,
  IPV4,
  IPV6,
  macAddress,
  network4,
  network6,
  not,
  or,
  PROTOCOLS,
  portRange,
  protocol,
  protocol4,
  protocol6,
  type Side,
  type Tree,
  test,
} from './filterTree';
import { WordReader } from './filterWords';

const DEPTH_MAX = 100;
const PORT_MAX = 65535;
const LENGTH_MAX = 65535;
const FAMILIES = ['ip', 'ip6'];
const TRANSPORTS = ['tcp', 'udp', 'sctp'];
const FIELD_OWNERS = ['ether', ...FAMILIES, ...TRANSPORTS, 'icmp', 'icmp6'];
const TYPES = ['host', 'net', 'port', 'portrange', 'proto'];
const PRIMITIVES =
  'allowed are host, net, port, portrange, proto with or without src or dst, an address, ' +
  `ether, ip, ip6, arp, ${Object.keys(PROTOCOLS).join(', ')}, less, greater, len, ` +
  'PROTOCOL[OFFSET:BYTES], not and (';

/** What stands before a value. */
interface Qualifiers {
  readonly owner: string;
  readonly side: Side;
  readonly type: string;
}

/** The filter's tree; null: every packet. Throws a FilterError. */
export function parseFilter(text: string): Tree | null {
  const words = new WordReader(text);
  if (words.isAtEnd) return null;
  const tree = new FilterParser(words).expression(0);
  if (!words.isAtEnd) words.refuse('allowed are and, or, or the end');
  return tree;
}

class FilterParser {
  readonly #words: WordReader;
  /** Of the last value, for one that comes without. */
  #last: Qualifiers | null = null;

  constructor(words: WordReader) {
    this.#words = words;
  }

  expression(depth: number): Tree {
    let tree = this.#term(depth);
    for (;;) {
      if (this.#words.take('and', '&&')) tree = and(tree, this.#term(depth));
      else if (this.#words.take('or', '||')) tree = or(tree, this.#term(depth));
      else return tree;
    }
  }

  #term(depth: number): Tree {
    const words = this.#words;
    if (depth > DEPTH_MAX) words.refuse(`not and ( go ${DEPTH_MAX} deep at most`);
    if (words.take('not', '!')) return not(this.#term(depth + 1));
    if (!words.take('(')) return this.#primitive();
    const tree = this.expression(depth + 1);
    words.need(')');
    return tree;
  }

  #primitive(): Tree {
    const words = this.#words;
    const word = words.peek();
    if (words.take('less')) return test('length', 0, 4, '<=', this.#number(LENGTH_MAX));
    if (words.take('greater')) return test('length', 0, 4, '>=', this.#number(LENGTH_MAX));
    if (words.take('len'))
      return parseField(words, (field) => ({ ...field, kind: 'test', base: 'length' }));
    if (FIELD_OWNERS.includes(word) && words.peek(1) === '[') {
      words.next();
      return parseField(words, (field) => fieldOf(word, field));
    }
    const isOwner =
      word === 'ether' ||
      word === 'arp' ||
      FAMILIES.includes(word) ||
      Object.hasOwn(PROTOCOLS, word);
    const owner = isOwner ? words.next() : '';
    const side = this.#side();
    const type = TYPES.find((one) => words.take(one));
    if (type === undefined && side === null) {
      if (owner === 'ether') words.refuse('allowed are host, src, dst and [');
      return owner === '' ? this.#bareValue() : alone(owner);
    }
    this.#last = { owner, side: side ?? 'either', type: type ?? 'host' };
    return this.#value(this.#last);
  }

  /** null: none is said. */
  #side(): Side | null {
    const words = this.#words;
    const one = words.peek();
    if (!words.take('src', 'dst')) return null;
    const isPair = ['src', 'dst'].includes(words.peek(1)) && words.peek(1) !== one;
    if (isPair && words.take('or')) {
      words.next();
      return 'either';
    }
    if (isPair && words.take('and')) {
      words.next();
      return 'both';
    }
    return one === 'src' ? 'source' : 'destination';
  }

  /** An address, or what the last one's words make of it. */
  #bareValue(): Tree {
    if (!/^[0-9a-f]*[0-9:]/i.test(this.#words.peek())) this.#words.refuse(PRIMITIVES);
    return this.#value(this.#last ?? { owner: '', side: 'either', type: 'host' });
  }

  #value(qualifiers: Qualifiers): Tree {
    const { owner, side, type } = qualifiers;
    if (owner === 'ether') return this.#mac(qualifiers);
    switch (type) {
      case 'proto':
        return this.#protocol(qualifiers);
      case 'port':
      case 'portrange':
        return this.#ports(qualifiers);
    }
    if (owner !== '' && !FAMILIES.includes(owner)) {
      this.#words.refuseLast(`${type} goes with ip or ip6, or stands alone, not with ${owner}`);
    }
    return type === 'net' ? this.#network(owner, side) : this.#host(owner, side);
  }

  #host(owner: string, side: Side): Tree {
    const text = this.#words.next();
    if (isIPv4(text) && owner !== 'ip6') return network4(side, parseIpv4(text), -1);
    if (isIPv6(text) && owner !== 'ip') return network6(side, addressWords(text), 128);
    const family = owner === 'ip' ? 'an IPv4' : owner === 'ip6' ? 'an IPv6' : 'an IPv4 or IPv6';
    return this.#words.refuseLast(`${family} address is allowed (no name)`);
  }

  /** 10.0.0.0/8, 10.0, 10.0.0.0 mask 255.0.0.0, 2001:db8::/32. */
  #network(owner: string, side: Side): Tree {
    const words = this.#words;
    const [address = '', length] = words.next().split('/');
    const allowed = `a network is allowed, ${owner === 'ip6' ? '2001:db8::/32' : '10.0.0.0/8'}`;
    if (isIPv6(address) && owner !== 'ip') {
      const prefix = prefixLength(length, 128) ?? words.refuseLast(`${allowed}, length 0 to 128`);
      const network = addressWords(address);
      if (!isNetwork(network, prefix)) words.refuseLast(`there are bits behind /${prefix}`);
      return network6(side, network, prefix);
    }
    const parts = address.split('.');
    const whole = [...parts, '0', '0', '0'].slice(0, 4).join('.');
    if (owner === 'ip6' || parts.length > 4 || !isIPv4(whole)) words.refuseLast(allowed);
    const value = parseIpv4(whole);
    const prefix = length === undefined ? parts.length * 8 : prefixLength(length, 32);
    if (prefix === null) words.refuseLast(`${allowed}, length 0 to 32`);
    let mask = prefix === 0 ? 0 : -1 << (32 - (prefix ?? 0));
    if (length === undefined && words.take('mask')) mask = this.#mask();
    if ((value & ~mask) !== 0) words.refuseLast('there are bits behind the mask');
    return network4(side, value, mask);
  }

  #mask(): number {
    const text = this.#words.next();
    return isIPv4(text) ? parseIpv4(text) : this.#words.refuseLast('255.255.0.0 is allowed');
  }

  #ports({ owner, side, type }: Qualifiers): Tree {
    const words = this.#words;
    if (owner !== '' && !TRANSPORTS.includes(owner)) {
      words.refuseLast(`${type} goes with ${TRANSPORTS.join(', ')}, or stands alone`);
    }
    const text = words.next();
    const [from = '', to = from] = type === 'portrange' ? text.split('-') : [text];
    const first = portNumber(from, owner);
    const last = portNumber(to, owner);
    if (first === null || last === null || first > last) {
      const example = type === 'portrange' ? 'FIRST-LAST of ports' : 'a port';
      return words.refuseLast(`${example} is allowed: 0 to ${PORT_MAX}, or a name`);
    }
    return portRange(side, first, last, owner === '' ? undefined : [PROTOCOLS[owner]!]);
  }

  #protocol({ owner }: Qualifiers): Tree {
    const words = this.#words;
    if (owner !== '' && !FAMILIES.includes(owner)) words.refuseLast('proto goes with ip, ip6');
    // tcpdump wants the names that are words of its own behind a backslash.
    const name = words.peek();
    const number = Object.hasOwn(PROTOCOLS, name) ? PROTOCOLS[name]! : null;
    const value = number === null ? this.#number(255) : number;
    if (number !== null) words.next();
    if (owner === 'ip') return protocol4(value);
    return owner === 'ip6' ? protocol6(value) : or(protocol4(value), protocol6(value));
  }

  #mac({ side, type }: Qualifiers): Tree {
    const words = this.#words;
    const text = words.next();
    const isMac = /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text);
    if (type !== 'host' || !isMac) words.refuseLast('ether [src|dst] host 02:00:00:00:00:01');
    return macAddress(
      side,
      text.split(':').map((part) => Number.parseInt(part, 16)),
    );
  }

  #number(maximum: number): number {
    const text = this.#words.next();
    const value = /^([0-9]{1,9}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : -1;
    if (value >= 0 && value <= maximum) return value;
    return this.#words.refuseLast(`0 to ${maximum} are allowed`);
  }
}

function alone(owner: string): Tree {
  if (owner === 'ip') return IPV4;
  if (owner === 'ip6') return IPV6;
  return owner === 'arp' ? ethernetType(0x0806) : protocol(PROTOCOLS[owner]!);
}

function prefixLength(text: string | undefined, bits: number): number | null {
  if (text === undefined) return bits;
  const value = /^[0-9]{1,3}$/.test(text) ? Number(text) : bits + 1;
  return value <= bits ? value : null;
}

/** Are all bits of the four words behind the prefix 0? */
function isNetwork(words: Int32Array, prefix: number): boolean {
  return words.every((word, at) => {
    const bits = Math.min(32, Math.max(0, prefix - at * 32));
    return bits === 32 || (word & (0xffffffff >>> bits)) === 0;
  });
}

function portNumber(text: string, owner: string): number | null {
  if (/^[0-9]{1,5}$/.test(text)) return Number(text) <= PORT_MAX ? Number(text) : null;
  for (const protocol of owner === '' ? TRANSPORTS : [owner]) {
    const port = systemPorts(text, protocol);
    if (port !== null) return port;
  }
  return null;
}
