/**
 * Input of `-R`: one command line a line, words divided by blanks, the tool's own name dropped
 * wherever it stands, empty lines skipped. Quotes and comments have no meaning. A last line without
 * a newline is not carried out when two blanks or more end it: ipvsadm does so, as recorded.
 */

const OWN_NAMES = new Set(['ipvsadm', 'xvsadm']);

export interface RuleLine {
  /** From 1. */
  readonly number: number;
  readonly words: readonly string[];
}

export function splitRules(text: string): readonly RuleLine[] {
  const lines: RuleLine[] = [];
  const texts = text.split('\n');
  const last = texts.length - 1;
  for (const [index, line] of texts.entries()) {
    if (index === last && /[ \t\r]{2}$/.test(line)) break;
    const words = line.split(/[ \t\r]+/).filter((word) => word !== '' && !OWN_NAMES.has(word));
    if (words.length > 0) lines.push({ number: index + 1, words });
  }
  return lines;
}
