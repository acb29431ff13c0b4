/**
 * Mark rules from what `nft -j list ruleset` prints (libnftables-json(5)): rules of filter chains
 * that hook prerouting, in the order of the chains' priorities. Each is put into iptables' words
 * and goes through the same parser as a user's rule.
 */
import { formatRule } from './format';
import type { Imported, ImportedRule, LeftRule } from './import';
import { NftRule } from './nftRule';
import { parseMarkLine } from './parse';
import { MarkError } from './values';

type Json = Readonly<Record<string, unknown>>;

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly prio?: number;
}
interface Rule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly comment?: string;
  readonly expr: readonly Json[];
}
interface NamedSet {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly elem?: readonly unknown[];
}

const FAMILIES: Readonly<Record<string, readonly (4 | 6)[]>> = { ip: [4], ip6: [6], inet: [4, 6] };
const VERDICTS = ['accept', 'drop', 'return', 'jump', 'goto', 'queue', 'reject'];

function sets(rule: Rule): boolean {
  return JSON.stringify(rule.expr).includes('"mangle":{"key":{"meta":{"key":"mark"}}');
}

function verdict(rule: Rule): string | undefined {
  return VERDICTS.find((name) => rule.expr.some((statement) => name in statement));
}

/** Of one kind, as "chain"; the list is one of objects with a single key. */
function ofKind<Kind>(objects: readonly Json[], kind: string): Kind[] {
  return objects.flatMap((object) => (kind in object ? [object[kind] as Kind] : []));
}

/** `skipped`: families whose table "mangle" is iptables' own and has been read from there. */
export function importNft(text: string, skipped: ReadonlySet<4 | 6>): Imported {
  const objects = (JSON.parse(text) as { nftables: readonly Json[] }).nftables;
  const found: ImportedRule[] = [];
  const left: LeftRule[] = [];
  const namedSets = ofKind<NamedSet>(objects, 'set');
  const rules = ofKind<Rule>(objects, 'rule');
  const chains = ofKind<Chain>(objects, 'chain')
    .filter(({ hook, family }) => hook === 'prerouting' && Object.hasOwn(FAMILIES, family))
    .sort((first, second) => (first.prio ?? 0) - (second.prio ?? 0));
  for (const { family, table, name } of chains) {
    const own = family === 'ip' ? 4 : 6;
    if (family !== 'inet' && table === 'mangle' && skipped.has(own)) continue;
    const inChain = rules.filter(
      (rule) => rule.family === family && rule.table === table && rule.chain === name,
    );
    const marks = inChain.some(sets);
    for (const rule of inChain) {
      const ends = verdict(rule);
      const shown = `${family} ${table} ${name}: ${JSON.stringify(rule.expr)}`;
      if (ends !== undefined && (marks || ends === 'jump' || ends === 'goto')) {
        left.push({ text: shown, reason: `${ends}: here no rule ends or leaves the chain` });
      } else if (sets(rule)) {
        const named = namedSets.filter((one) => one.family === family && one.table === table);
        take(rule, FAMILIES[family]!, named, shown, found, left);
      }
    }
  }
  return { rules: found, left };
}

function take(
  rule: Rule,
  families: readonly (4 | 6)[],
  named: readonly NamedSet[],
  shown: string,
  found: ImportedRule[],
  left: LeftRule[],
): void {
  try {
    const elements = new Map(named.map(({ name, elem }) => [name, elem ?? []]));
    const reader = new NftRule(families, elements, rule.comment);
    for (const statement of rule.expr) reader.read(statement);
    const parsed = reader.lines().map((words) => parseMarkLine(words));
    for (const line of parsed) {
      if (line.operation !== 'append') continue;
      for (const one of line.rules) found.push({ family: line.family, rule: formatRule(one) });
    }
  } catch (error) {
    if (!(error instanceof MarkError)) throw error;
    left.push({ text: shown, reason: error.message });
  }
}
