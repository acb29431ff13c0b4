/** Keys as a terminal in raw mode sends them: control bytes, ECMA-48 sequences, characters. */

const NAMED: Readonly<Record<string, string>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\x1b': 'escape',
  '\x7f': 'backspace',
  '\b': 'backspace',
  '\x03': 'interrupt',
  '\x15': 'clear',
  '\x1a': 'suspend',
  '\x0c': 'redraw',
};

/** Final part of a sequence that begins with ESC [ or ESC O. */
const SEQUENCES: Readonly<Record<string, string>> = {
  A: 'up',
  B: 'down',
  C: 'right',
  D: 'left',
  H: 'home',
  F: 'end',
  Z: 'back-tab',
  '1~': 'home',
  '4~': 'end',
  '5~': 'page-up',
  '6~': 'page-down',
  '7~': 'home',
  '8~': 'end',
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals send them.
const KEY = /\x1b(?:\[|O)([0-9;]*[A-Za-z~])|[\s\S]/gu;

/** A key is its name, or the character itself; sequences that mean nothing here are left out. */
export function keysOf(input: string): string[] {
  const keys: string[] = [];
  for (const [whole, sequence] of input.matchAll(KEY)) {
    const key = sequence === undefined ? (NAMED[whole] ?? whole) : SEQUENCES[sequence];
    if (key !== undefined && (key.length > 1 || key >= ' ')) keys.push(key);
  }
  return keys;
}
