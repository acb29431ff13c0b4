/** The config file's key `marks`: iptables commands, each with -A PREROUTING. */
import { MARK_RULES_MAX } from '../../table/mark';
import type { Source } from '../configSource';
import { parseAppend } from './parse';
import { systemPorts } from './portNames';
import type { MarkRule } from './rule';
import { MarkError } from './values';

/** The rules, in order; what is wrong with a line is noted in `source`. */
export function readMarks(source: Source): readonly MarkRule[] {
  const entries = source.valueAt(['marks']);
  if (!Array.isArray(entries)) return [];
  const rules: MarkRule[] = [];
  for (const [index, entry] of entries.entries()) {
    if (typeof entry !== 'string') continue;
    try {
      rules.push(...parseAppend(entry, systemPorts));
    } catch (error) {
      if (!(error instanceof MarkError)) throw error;
      source.refuse(['marks', index], error.message);
    }
  }
  if (rules.length > MARK_RULES_MAX) {
    source.refuse(['marks'], `${rules.length} rules: at most ${MARK_RULES_MAX} are allowed`);
  }
  return rules;
}
