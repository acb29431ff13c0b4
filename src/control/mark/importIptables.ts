/**
 * Mark rules from what `iptables-save -t mangle` or `ip6tables-save -t mangle` print. Rules of
 * PREROUTING are taken; marks that other chains set are told of.
 */
import { formatRule } from './format';
import type { Imported, ImportedRule, LeftRule } from './import';
import { parseMarkLine } from './parse';
import { MarkError, splitWords } from './values';

/** Whether the text holds the mangle table, so that nobody else need be asked about it. */
export function hasMangle(text: string): boolean {
  return /^\*mangle$/m.test(text);
}

export function importIptables(text: string, family: 4 | 6): Imported {
  const rules: ImportedRule[] = [];
  const left: LeftRule[] = [];
  let table = '';
  for (const whole of text.split('\n')) {
    // Counters stand in front when they were asked for (-c).
    const line = whole.replace(/^\[[0-9]+:[0-9]+\] /, '');
    if (line.startsWith('*')) table = line.slice(1);
    if (table !== 'mangle' || !line.startsWith('-A ')) continue;
    const chain = line.split(' ', 2)[1];
    if (chain !== 'PREROUTING' && !/ -j (MARK|CONNMARK) /.test(line)) continue;
    try {
      const parsed = parseMarkLine([family === 6 ? '-6' : '-4', ...splitWords(line)]);
      if (parsed.operation !== 'append') continue;
      for (const rule of parsed.rules) rules.push({ family, rule: formatRule(rule) });
    } catch (error) {
      if (!(error instanceof MarkError)) throw error;
      left.push({ text: line, reason: error.message });
    }
  }
  return { rules, left };
}
