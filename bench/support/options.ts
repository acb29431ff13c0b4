/**
 * Options of a bench: `--name value`, each with its default and what is allowed, or a bare `--name`
 * that is either given or not. An unknown name or a bad value is refused by name.
 */
import { parseArgs } from 'node:util';

interface NumberOption {
  readonly kind: 'number';
  readonly value: number;
  readonly least: number;
  readonly most: number;
  readonly help: string;
}
interface ChoiceOption {
  readonly kind: 'choice';
  readonly value: string;
  readonly choices: readonly string[];
  /** Several choices with commas between are allowed. */
  readonly several: boolean;
  readonly help: string;
}
interface FlagOption {
  readonly kind: 'flag';
  readonly help: string;
}
interface TextOption {
  readonly kind: 'text';
  readonly value: string;
  /** What the value is, in the help: FILE. */
  readonly word: string;
  readonly help: string;
}
export type Option = NumberOption | ChoiceOption | FlagOption | TextOption;

type ValueOption = Exclude<Option, FlagOption>;

export class OptionError extends Error {}

export function numberOption(value: number, least: number, most: number, help: string): Option {
  return { kind: 'number', value, least, most, help };
}

export function choiceOption(
  value: string,
  choices: readonly string[],
  several: boolean,
  help: string,
): Option {
  return { kind: 'choice', value, choices, several, help };
}

export function flagOption(help: string): Option {
  return { kind: 'flag', help };
}

/** Any text, such as a file's name. */
export function textOption(value: string, word: string, help: string): Option {
  return { kind: 'text', value, word, help };
}

function check(name: string, option: ValueOption, text: string): string | number {
  if (option.kind === 'text') {
    if (text === '') throw new OptionError(`--${name}: a ${option.word} is needed`);
    return text;
  }
  if (option.kind === 'number') {
    const value = Number(text);
    if (text.trim() === '' || !(value >= option.least && value <= option.most)) {
      throw new OptionError(
        `--${name}: '${text}' is not a number from ${option.least} to ${option.most}`,
      );
    }
    return value;
  }
  const words = option.several ? text.split(',') : [text];
  const wrong = words.find((word) => !option.choices.includes(word));
  if (wrong !== undefined) {
    throw new OptionError(`--${name}: '${wrong}' is not one of ${option.choices.join(', ')}`);
  }
  return text;
}

export class Options {
  readonly #values = new Map<string, string | number | boolean>();

  /** Throws OptionError. */
  constructor(declared: Readonly<Record<string, Option>>, argv: readonly string[]) {
    const names = Object.keys(declared);
    const options = Object.fromEntries(
      Object.entries(declared).map(([name, { kind }]) => [
        name,
        { type: kind === 'flag' ? ('boolean' as const) : ('string' as const) },
      ]),
    );
    let given: Record<string, string | boolean | undefined>;
    try {
      given = parseArgs({ args: [...argv], options, strict: true }).values;
    } catch (error) {
      const allowed = names.map((name) => `--${name}`).join(', ');
      throw new OptionError(
        `${error instanceof Error ? error.message : error}\nallowed: ${allowed}`,
      );
    }
    for (const [name, option] of Object.entries(declared)) {
      const text = given[name];
      if (option.kind === 'flag') {
        this.#values.set(name, text === true);
      } else {
        this.#values.set(name, typeof text === 'string' ? check(name, option, text) : option.value);
      }
    }
  }

  number(name: string): number {
    return Number(this.#values.get(name));
  }

  text(name: string): string {
    return String(this.#values.get(name));
  }

  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }
}

export function describeOptions(declared: Readonly<Record<string, Option>>): string {
  return Object.entries(declared)
    .map(([name, option]) => {
      if (option.kind === 'flag') return `  --${name}\n      ${option.help}\n`;
      if (option.kind === 'text') {
        const preset = option.value === '' ? '' : ` (default ${option.value})`;
        return `  --${name} ${option.word}\n      ${option.help}${preset}\n`;
      }
      const allowed =
        option.kind === 'number' ? `${option.least} to ${option.most}` : option.choices.join('|');
      return `  --${name} ${allowed}\n      ${option.help} (default ${option.value})\n`;
    })
    .join('');
}
