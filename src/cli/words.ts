/**
 * Reads options out of a command line the way popt does, since that is what scripts written for
 * ipvsadm rely on: letters may be clustered (`-Ln`), an argument may follow its letter at once or
 * after `=`, long words match whole only, a required argument takes the next word even if it
 * begins with a dash, an optional one only if it does not.
 */
import { WORDS, type WordSpec } from './options';

export interface OptionFound {
  readonly spec: WordSpec;
  readonly argument: string | null;
}

export type WordFault = 'unknown option' | 'missing argument' | 'option does not take an argument';

export class WordError extends Error {
  constructor(word: string, fault: WordFault) {
    super(`${word}: ${fault}`);
    this.name = 'WordError';
  }
}

const byLong = new Map<string, WordSpec>();
const byShort = new Map<string, WordSpec>();
for (const spec of WORDS) {
  if (spec.long !== '') byLong.set(spec.long, spec);
  if (spec.short !== '') byShort.set(spec.short, spec);
}

export class WordReader {
  /** Words that are no options, in order. Complete once `next` has answered null. */
  readonly leftovers: string[] = [];
  readonly #words: readonly string[];
  #next = 0;
  #cluster = '';
  #onlyLeftovers = false;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  /** The word read last: what an error message quotes. */
  get lastWord(): string {
    return this.#words[this.#next - 1] ?? '';
  }

  /** The next option, or null at the end of the line. Throws WordError. */
  next(): OptionFound | null {
    while (this.#cluster === '') {
      const word = this.#words[this.#next];
      if (word === undefined) return null;
      this.#next += 1;
      if (this.#onlyLeftovers || word === '-' || !word.startsWith('-')) this.leftovers.push(word);
      else if (word === '--') this.#onlyLeftovers = true;
      else if (word.startsWith('--')) return this.#longOption(word);
      else this.#cluster = word.slice(1);
    }
    return this.#shortOption();
  }

  #longOption(word: string): OptionFound {
    const equals = word.indexOf('=');
    const spec = byLong.get(equals < 0 ? word.slice(2) : word.slice(2, equals));
    if (spec === undefined) throw new WordError(word, 'unknown option');
    return this.#withArgument(spec, equals < 0 ? null : word.slice(equals + 1));
  }

  #shortOption(): OptionFound {
    const letter = this.#cluster.charAt(0);
    const rest = this.#cluster.slice(1);
    this.#cluster = '';
    const spec = byShort.get(letter);
    if (spec === undefined) throw new WordError(this.lastWord, 'unknown option');
    if (spec.argument === 'none' && !rest.startsWith('=')) {
      this.#cluster = rest;
      return { spec, argument: null };
    }
    const attached = rest === '' ? null : rest.startsWith('=') ? rest.slice(1) : rest;
    return this.#withArgument(spec, attached);
  }

  #withArgument(spec: WordSpec, attached: string | null): OptionFound {
    if (spec.argument === 'none') {
      if (attached !== null) throw new WordError(this.lastWord, 'option does not take an argument');
      return { spec, argument: null };
    }
    if (attached !== null) return { spec, argument: attached };
    const word = this.#words[this.#next];
    if (spec.argument === 'optional' && (word === undefined || word.startsWith('-'))) {
      return { spec, argument: null };
    }
    if (word === undefined) throw new WordError(this.lastWord, 'missing argument');
    this.#next += 1;
    return { spec, argument: word };
  }
}
