/** `[OFFSET:BYTES] & MASK COMPARISON VALUE` of a filter, and `len COMPARISON VALUE`. */
import type { Comparison, Test, Tree } from './filterTree';
import type { WordReader } from './filterWords';

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  '=': '=',
  '==': '=',
  '!=': '!=',
  '>': '>',
  '>=': '>=',
  '<': '<',
  '<=': '<=',
};
/** tcpdump's names for offsets and for values. */
const OFFSETS: Readonly<Record<string, number>> = {
  tcpflags: 13,
  icmptype: 0,
  icmpcode: 1,
  icmp6type: 0,
  icmp6code: 1,
};
const VALUES: Readonly<Record<string, number>> = {
  'tcp-fin': 0x01,
  'tcp-syn': 0x02,
  'tcp-rst': 0x04,
  'tcp-push': 0x08,
  'tcp-ack': 0x10,
  'tcp-urg': 0x20,
  'tcp-ece': 0x40,
  'tcp-cwr': 0x80,
  'icmp-echoreply': 0,
  'icmp-unreach': 3,
  'icmp-redirect': 5,
  'icmp-echo': 8,
  'icmp-timxceed': 11,
};
const OFFSET_MAX = 4095;
const WHOLE: Readonly<Record<number, number>> = { 1: 0xff, 2: 0xffff, 4: 0xffffffff };

type Field = Pick<Test, 'offset' | 'bytes' | 'comparison' | 'value' | 'mask'>;

/** Reads from '[' on, or after `len` from the comparison on. */
export function parseField(words: WordReader, make: (field: Field) => Tree): Tree {
  const { offset, bytes } = words.take('[') ? index(words) : { offset: 0, bytes: 4 };
  const whole = WHOLE[bytes]!;
  const mask = words.take('&') ? (operand(words) & whole) >>> 0 : whole;
  const sign = words.next();
  if (!Object.hasOwn(COMPARISONS, sign)) {
    return words.refuseLast(`allowed are & and ${Object.keys(COMPARISONS).join(', ')}`);
  }
  return make({ offset, bytes, mask, comparison: COMPARISONS[sign]!, value: operand(words) });
}

/** "13", "0:2" or "tcpflags", and the bracket behind it. */
function index(words: WordReader): { offset: number; bytes: number } {
  const text = words.next();
  const [, first = '', count = '1'] = /^([\w-]+?)(?::([0-9]+))?$/.exec(text) ?? [];
  const offset = Object.hasOwn(OFFSETS, first) ? OFFSETS[first]! : numberOf(first);
  const bytes = Number(count);
  if (offset < 0 || offset > OFFSET_MAX || WHOLE[bytes] === undefined) {
    const names = Object.keys(OFFSETS).join(', ');
    words.refuseLast(
      `an offset from 0 to ${OFFSET_MAX} or ${names} is allowed, with :1, :2 or :4 behind it`,
    );
  }
  words.need(']');
  return { offset, bytes };
}

/** A number or a name, or several in parentheses or without, joined by |. */
function operand(words: WordReader): number {
  const isGrouped = words.take('(');
  let value = constant(words);
  while (words.take('|')) value |= constant(words);
  if (isGrouped) words.need(')');
  return value >>> 0;
}

function constant(words: WordReader): number {
  const text = words.next();
  const value = Object.hasOwn(VALUES, text) ? VALUES[text]! : numberOf(text);
  if (value >= 0) return value;
  return words.refuseLast(`a number or one of ${Object.keys(VALUES).join(', ')} is allowed`);
}

/** -1: none, or more than 32 bits. */
function numberOf(text: string): number {
  const value = /^([0-9]{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : -1;
  return value <= 0xffffffff ? value : -1;
}
