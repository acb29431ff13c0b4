/**
 * Options of a bench: `--name value`, each with its default and what is allowed. An unknown name
 * or a bad value is refused by name.
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
export type Option = NumberOption | ChoiceOption;

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

function check(name: string, option: Option, text: string): string | number {
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
  readonly #values = new Map<string, string | number>();

  /** Throws OptionError. */
  constructor(declared: Readonly<Record<string, Option>>, argv: readonly string[]) {
    const names = Object.keys(declared);
    const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
    let given: Record<string, string | undefined>;
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
      this.#values.set(name, text === undefined ? option.value : check(name, option, text));
    }
  }

  number(name: string): number {
    return Number(this.#values.get(name));
  }

  text(name: string): string {
    return String(this.#values.get(name));
  }
}

export function describeOptions(declared: Readonly<Record<string, Option>>): string {
  return Object.entries(declared)
    .map(([name, option]) => {
      const allowed =
        option.kind === 'number' ? `${option.least} to ${option.most}` : option.choices.join('|');
      return `  --${name} ${allowed}\n      ${option.help} (default ${option.value})\n`;
    })
    .join('');
}
