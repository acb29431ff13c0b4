/** A filter's text in words, each with its place, and the error that names both. */

export class FilterError extends Error {
  override readonly name = 'FilterError';
}

export interface Word {
  readonly text: string;
  /** Of its first character, from 1. */
  readonly place: number;
}

const LENGTH_MAX = 4096;
/** Operators, or what is between them: names, numbers, addresses with dots and colons. */
const WORD = /\s+|(&&|\|\||==|!=|<=|>=|[()[\]!&|=<>])|([\w.:/-]+)|(.)/gsu;

export function wordsOf(text: string): Word[] {
  if (text.length > LENGTH_MAX) {
    throw new FilterError(`the filter has ${text.length} characters; ${LENGTH_MAX} are allowed`);
  }
  const words: Word[] = [];
  for (const match of text.matchAll(WORD)) {
    const place = match.index + 1;
    if (match[3] !== undefined) {
      throw new FilterError(`filter, character ${place}: "${match[3]}" has no meaning here`);
    }
    const said = match[1] ?? match[2];
    if (said !== undefined) words.push({ text: said, place });
  }
  return words;
}

/** A walk along the words. */
export class WordReader {
  readonly #words: readonly Word[];
  readonly #end: number;
  #at = 0;

  constructor(text: string) {
    this.#words = wordsOf(text);
    this.#end = text.length + 1;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#words.length;
  }

  /** The word `ahead` of the next one; '' behind the end. */
  peek(ahead = 0): string {
    return this.#words[this.#at + ahead]?.text ?? '';
  }

  next(): string {
    const text = this.peek();
    this.#at++;
    return text;
  }

  /** Takes the next word if it is one of these. */
  take(...texts: readonly string[]): boolean {
    const is = !this.isAtEnd && texts.includes(this.peek());
    if (is) this.#at++;
    return is;
  }

  need(text: string): void {
    if (!this.take(text)) this.refuse(`"${text}" is allowed`);
  }

  /** The next word is wrong: says which it is, where it stands, and what is allowed. */
  refuse(allowed: string): never {
    const word = this.#words[this.#at];
    const what = word === undefined ? 'the filter ends' : `"${word.text}"`;
    throw new FilterError(`filter, character ${word?.place ?? this.#end}: ${what}; ${allowed}`);
  }

  /** The same of the word that was taken last. */
  refuseLast(allowed: string): never {
    this.#at--;
    return this.refuse(allowed);
  }
}
