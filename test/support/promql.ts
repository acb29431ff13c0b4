/** Which metrics an expression of PromQL asks for. */

/** Words of the language that no parenthesis follows. */
const WORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'atan2', 'inf', 'nan']);
/** Those whose parentheses hold names of labels. */
const LABELS = /\b(?:by|without|on|ignoring|group_left|group_right)\b(?:\s*\([^)]*\))?/g;

/** Every name in `expression` that is neither a label, a function nor a word of the language. */
export function metricsOf(expression: string): string[] {
  const bare = expression
    .replaceAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '')
    .replaceAll(/#.*$/gm, '')
    .replaceAll(/\{[^}]*\}/g, ' ')
    .replaceAll(/\[[^\]]*\]/g, ' ')
    .replaceAll(LABELS, ' ');
  const names = [...bare.matchAll(/(?<![\w.:])[A-Za-z_:][\w:]*(?=(\s*\()?)/g)]
    .filter(([, parenthesis]) => parenthesis === undefined)
    .map(([name]) => name)
    .filter((name) => !WORDS.has(name.toLowerCase()));
  return [...new Set(names)];
}
