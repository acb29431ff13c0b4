/** Firewall marks: services without a rule, rules without a service, the kernel's own rules. */
import { formatRule } from '../mark/format';
import { parseRules } from '../mark/parse';
import { systemPorts } from '../mark/portNames';
import type { MarkRule } from '../mark/rule';
import type { AddressFamily, MarkList } from '../protocol';
import type { Facts } from './facts';
import { error, type Finding, ok, warning } from './finding';
import { listed, serviceId } from './names';

const FULL_MASK = 0xffffffff;
/** Marks that are followed from rule to rule; beyond, nothing is said. */
const MARKS_MAX = 4096;

/** Marks that packets may have after the rules; null: too many ways to follow. */
export function possibleMarks(rules: readonly MarkRule[]): ReadonlySet<number> | null {
  const marks = new Set([0]);
  for (const { value, mask, mark } of rules) {
    for (const one of [...marks]) {
      if (mark !== null && !mark.inverted && (one & mark.mask) >>> 0 !== mark.value) continue;
      marks.add(((one & ~mask) ^ value) >>> 0);
    }
    if (marks.size > MARKS_MAX) return null;
  }
  return marks;
}

function rulesOf(marks: MarkList['rules'], family: AddressFamily): MarkRule[] {
  return marks
    .filter((one) => one.family === family)
    .flatMap(({ rule }) => parseRules(rule, family, systemPorts));
}

function commandOf(operation: string, rule: MarkRule): string {
  const family = rule.family === 6 ? '-6 ' : '';
  return `xvs mark ${family}${operation} PREROUTING ${formatRule(rule)}`;
}

export function checkMarks(facts: Facts): Finding[] {
  return ([4, 6] as const).flatMap((family) => {
    const rules = rulesOf(facts.setup.marks, family);
    const wanted = new Set(
      facts.setup.services
        .filter(({ key }) => key.fwmark !== 0 && key.family === family)
        .map(({ key }) => key.fwmark),
    );
    const orphans = rules.filter((rule) => isOrphan(rule, rules, wanted));
    return [
      ...checkServices(facts, family, rules, orphans),
      ...orphans.map((rule) => orphanFinding(rule, wanted)),
      ...checkInterfaces(facts, rules),
      ...(wanted.size > 0 ? checkKernel(facts, family) : []),
    ];
  });
}

/** Sets a mark that neither a service nor another rule asks for. */
function isOrphan(
  rule: MarkRule,
  rules: readonly MarkRule[],
  wanted: ReadonlySet<number>,
): boolean {
  if (rule.mask !== FULL_MASK || wanted.has(rule.value) || rule.value === 0) return false;
  return !rules.some(
    (other) => other !== rule && (other.mark !== null || other.mask !== FULL_MASK),
  );
}

function checkServices(
  facts: Facts,
  family: AddressFamily,
  rules: readonly MarkRule[],
  orphans: readonly MarkRule[],
): Finding[] {
  const possible = possibleMarks(rules);
  if (possible === null) return [];
  return facts.setup.services
    .filter(({ key }) => key.fwmark !== 0 && key.family === family)
    .map(({ key }) => {
      const { fwmark } = key;
      const subject = `service ${serviceId(key)}`;
      if (possible.has(fwmark)) return ok('mark', subject, `a mark rule sets ${fwmark}`);
      const set = [...possible].filter((mark) => mark !== 0);
      const wrong = orphans[0];
      const right = { value: fwmark, mask: FULL_MASK };
      return error(
        'mark-without-rule',
        subject,
        `no mark rule sets ${fwmark}; ` +
          (set.length === 0 ? 'there are none' : `those there are set ${listed(set.map(String))}`),
        'No packet gets its mark, so the service gets none: the host refuses them.',
        wrong === undefined
          ? [
              `xvs mark${family === 6 ? ' -6' : ''} -A PREROUTING -d VIP -p tcp -m multiport ` +
                `--dports 80,443 -j MARK --set-mark ${fwmark}`,
            ]
          : [commandOf('-D', wrong), commandOf('-A', { ...wrong, ...right })],
      );
    });
}

function orphanFinding(rule: MarkRule, wanted: ReadonlySet<number>): Finding {
  const option = rule.family === 6 ? ' -6' : '';
  const have = wanted.size === 0 ? 'no service is by mark' : `there are ${[...wanted].join(', ')}`;
  return warning(
    'mark-without-service',
    `mark ${rule.value}`,
    `a rule sets it, and no service has it; ${have}: ${formatRule(rule)}`,
    'What the rule matches is not balanced by it.',
    [
      `xvsadm -A -f ${rule.value}${option} -s rr   # if it is missing`,
      `${commandOf('-D', rule)}   # if the rule is wrong`,
    ],
  );
}

/** Rules for one interface that is not served. */
function checkInterfaces(facts: Facts, rules: readonly MarkRule[]): Finding[] {
  const names = facts.setup.interfaces.map(({ name }) => name);
  return rules.flatMap((rule) => {
    if (rule.interface === null || rule.interface.inverted) return [];
    const { name } = rule.interface;
    const matches = name.endsWith('+')
      ? names.some((known) => known.startsWith(name.slice(0, -1)))
      : names.includes(name);
    if (matches) return [];
    return [
      warning(
        'mark-matches-nothing',
        `mark ${rule.value}`,
        `its rule is for interface ${name}; xvs serves ${names.join(', ')}: ${formatRule(rule)}`,
        'No packet that a worker sees comes in by that interface, so the rule matches nothing.',
        [commandOf('-D', rule), commandOf('-A', { ...rule, interface: null })],
      ),
    ];
  });
}

function checkKernel(facts: Facts, family: AddressFamily): Finding[] {
  const known = new Set(
    facts.setup.marks.filter((one) => one.family === family).map(({ rule }) => rule),
  );
  const others = (facts.host.kernelMarks ?? []).filter(
    (one) => one.family === family && !known.has(one.rule),
  );
  if (others.length === 0) return [];
  return [
    warning(
      'mark-in-kernel',
      `${others.length} mark rule(s) of the kernel`,
      listed(others.map(({ rule }) => rule)),
      "A service's packets never meet netfilter, so marks that the kernel's rules set do not " +
        'count: xvs has rules of its own, and these are not among them.',
      ['xvs mark --import'],
    ),
  ];
}
