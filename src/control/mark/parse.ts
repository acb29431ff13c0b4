/**
 * The part of iptables' command line that marks packets: `-t mangle -A PREROUTING MATCHES -j MARK
 * ...`, also with -I, -D, -F, -L and -S. Source: man iptables, man iptables-extensions.
 */
import type { MarkRule } from './rule';
import { RuleReader } from './ruleReader';
import { MarkError, NO_PORT_NAMES, type PortNames, parseNumber, splitWords } from './values';

const TABLE = 'mangle';
const CHAIN = 'PREROUTING';

/** `family` null: both. A line with several addresses makes several rules. */
export type MarkLine =
  | { readonly operation: 'append'; readonly family: 4 | 6; readonly rules: readonly MarkRule[] }
  | {
      readonly operation: 'insert';
      readonly family: 4 | 6;
      /** From 1. */
      readonly position: number;
      readonly rules: readonly MarkRule[];
    }
  | { readonly operation: 'delete'; readonly family: 4 | 6; readonly rules: readonly MarkRule[] }
  | { readonly operation: 'delete-number'; readonly family: 4 | 6; readonly number: number }
  | { readonly operation: 'flush'; readonly family: 4 | 6 | null }
  | { readonly operation: 'list'; readonly family: 4 | 6 | null };

type Operation = 'append' | 'insert' | 'delete' | 'flush' | 'list';

const COMMANDS: Readonly<Record<string, Operation>> = {
  '-A': 'append',
  '--append': 'append',
  '-I': 'insert',
  '--insert': 'insert',
  '-D': 'delete',
  '--delete': 'delete',
  '-F': 'flush',
  '--flush': 'flush',
  '-L': 'list',
  '--list': 'list',
  '-S': 'list',
  '--list-rules': 'list',
};
/** Of iptables, and without a meaning here: rules are listed in numbers, without counters. */
const IGNORED = new Set([
  '-n',
  '--numeric',
  '-v',
  '--verbose',
  '-x',
  '--exact',
  '--line-numbers',
  '-w',
  '--wait',
]);
const SHORT_FLAGS = new Set(['-n', '-v', '-x', '-w', '-4', '-6', '-F', '-L', '-S']);

/** Words with what getopt allows taken apart: --dport=80, -ptcp, -nL. Values stay as they are. */
function separate(words: readonly string[], takesValue: (option: string) => boolean): string[] {
  const separated: string[] = [];
  for (let at = 0; at < words.length; at++) {
    let word = words[at]!;
    while (SHORT_FLAGS.has(word.slice(0, 2)) && word.length > 2) {
      separated.push(word.slice(0, 2));
      word = `-${word.slice(2)}`;
    }
    const [, name, value] =
      /^(--[a-z-]+)=([\s\S]*)$/.exec(word) ?? /^(-[A-Za-z])([^-][\s\S]*)$/.exec(word) ?? [];
    if (name !== undefined && value !== undefined) separated.push(name, value);
    else separated.push(word);
    if (name === undefined && takesValue(word) && at + 1 < words.length) {
      separated.push(words[++at]!);
    }
  }
  return separated;
}

class LineReader {
  readonly #words: readonly string[];
  readonly #rule: RuleReader;
  #at = 0;
  #operation: Operation | null = null;
  #number: number | null = null;
  #family: 4 | 6 | null = null;
  #inverted = false;

  constructor(words: readonly string[], names: PortNames) {
    this.#rule = new RuleReader(names);
    this.#words = separate(words, (option) => this.#rule.knows(option));
  }

  read(): MarkLine {
    const [first] = this.#words;
    if (first === 'iptables' || first === 'ip6tables') {
      this.#at = 1;
      if (first === 'ip6tables') this.#setFamily(6, first);
    }
    while (this.#at < this.#words.length) this.#readOption(this.#words[this.#at++]!);
    if (this.#inverted) throw new MarkError('!: an option to turn round has to follow');
    return this.#finish();
  }

  #readOption(word: string): void {
    const operation = COMMANDS[word];
    if (word === '!') {
      if (this.#inverted) throw new MarkError('! !: one ! is allowed before an option');
      this.#inverted = true;
    } else if (this.#rule.knows(word)) {
      this.#rule.read(word, this.#value(word), this.#inverted);
      this.#inverted = false;
    } else if (this.#inverted) {
      throw new MarkError(`! ${word}: allowed before ${this.#rule.invertible.join(', ')}`);
    } else if (operation !== undefined) this.#readCommand(word, operation);
    else if (word === '-t' || word === '--table') this.#checkTable(word);
    else if (word === '-4' || word === '--ipv4') this.#setFamily(4, word);
    else if (word === '-6' || word === '--ipv6') this.#setFamily(6, word);
    else if (IGNORED.has(word)) {
      if (word.includes('w') && /^[0-9]+$/.test(this.#words[this.#at] ?? '')) this.#at++;
    } else this.#refuse(word);
  }

  #refuse(word: string): never {
    const options = [...Object.keys(COMMANDS), '-t', '-4', '-6', ...this.#rule.options];
    throw new MarkError(`"${word}": unknown; allowed are ${options.join(', ')}`);
  }

  #value(option: string): string {
    const value = this.#words[this.#at++];
    if (value === undefined) throw new MarkError(`${option}: a value is missing`);
    if (value === '!') throw new MarkError(`${option} !: the ! goes before the option`);
    return value;
  }

  #checkTable(option: string): void {
    const table = this.#value(option);
    if (table !== TABLE) throw new MarkError(`${option} ${table}: only ${TABLE} is allowed`);
  }

  #setFamily(family: 4 | 6, word: string): void {
    if (this.#family !== null && this.#family !== family) {
      throw new MarkError(`${word}: IPv${this.#family} was said before`);
    }
    this.#family = family;
  }

  #readCommand(word: string, operation: Operation): void {
    if (this.#operation !== null) {
      throw new MarkError(`${word}: one command is allowed, there is one before it`);
    }
    this.#operation = operation;
    const optional = operation === 'flush' || operation === 'list';
    const next = this.#words[this.#at];
    if (next === undefined || next.startsWith('-') || next === '!') {
      if (optional) return;
      throw new MarkError(`${word}: a chain is missing; only ${CHAIN} is allowed`);
    }
    this.#at++;
    if (next !== CHAIN) throw new MarkError(`${word} ${next}: only ${CHAIN} is allowed`);
    if (operation === 'insert' || operation === 'delete') this.#readPosition(word);
  }

  #readPosition(word: string): void {
    const next = this.#words[this.#at] ?? '';
    if (next === '' || next.startsWith('-') || next === '!') return;
    this.#at++;
    const number = parseNumber(next);
    if (!(number >= 1)) throw new MarkError(`${word} ${CHAIN} ${next}: a rule number is allowed`);
    this.#number = number;
  }

  #finish(): MarkLine {
    const operation = this.#operation;
    if (operation === null) {
      throw new MarkError(`a command is missing; allowed are ${Object.keys(COMMANDS).join(', ')}`);
    }
    const wantsRule = !(
      operation === 'flush' ||
      operation === 'list' ||
      (operation === 'delete' && this.#number !== null)
    );
    if (!wantsRule) {
      const [extra] = this.#rule.given;
      if (extra !== undefined) throw new MarkError(`${extra}: not allowed with this command`);
      if (operation !== 'delete') return { operation, family: this.#family } as MarkLine;
      return { operation: 'delete-number', family: this.#family ?? 4, number: this.#number! };
    }
    const { family, rules } = this.#rule.finish(this.#family);
    if (operation === 'insert') return { operation, family, position: this.#number ?? 1, rules };
    return { operation: operation as 'append' | 'delete', family, rules };
  }
}

/** Reads a command line; throws a MarkError. */
export function parseMarkLine(
  words: readonly string[],
  names: PortNames = NO_PORT_NAMES,
): MarkLine {
  return new LineReader(words, names).read();
}

/** Rules of an -A line in one text, as the configuration has them. Throws a MarkError. */
export function parseAppend(text: string, names: PortNames = NO_PORT_NAMES): readonly MarkRule[] {
  const line = parseMarkLine(splitWords(text), names);
  if (line.operation === 'append') return line.rules;
  throw new MarkError(`operation ${line.operation}: only -A ${CHAIN} is allowed here`);
}

/** Rules of matches and target without command and chain, as formatRule writes them. */
export function parseRules(
  text: string,
  family: 4 | 6,
  names: PortNames = NO_PORT_NAMES,
): readonly MarkRule[] {
  const words = [family === 6 ? '-6' : '-4', '-A', CHAIN, ...splitWords(text)];
  const line = parseMarkLine(words, names);
  return line.operation === 'append' ? line.rules : [];
}
