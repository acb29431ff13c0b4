/**
 * Input of `-R`: one command line a line, words divided by white space, the tool's own name
 * dropped wherever it stands, empty lines skipped. Quotes and comments have no meaning, and a last
 * line without a newline is not read: ipvsadm does so, seen in a recorded session.
 */

const OWN_NAMES = new Set(['ipvsadm', 'xvsadm']);

export interface RuleLine {
  /** From 1. */
  readonly number: number;
  readonly words: readonly string[];
}

export function splitRules(text: string): readonly RuleLine[] {
  const lines: RuleLine[] = [];
  for (const [index, line] of text.split('\n').slice(0, -1).entries()) {
    const words = line.split(/[ \t\v\f\r]+/).filter((word) => word !== '' && !OWN_NAMES.has(word));
    if (words.length > 0) lines.push({ number: index + 1, words });
  }
  return lines;
}
