/** Firewall marks as `xvs doctor` judges them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnose } from '#xvs/control/doctor/diagnose';
import type { HostFacts } from '#xvs/control/doctor/facts';
import type { Finding } from '#xvs/control/doctor/finding';
import { possibleMarks } from '#xvs/control/doctor/marks';
import { parseRules } from '#xvs/control/mark/parse';
import { facts, server, service, VIP } from '../../../support/doctorFacts';

const MATCH = `-d ${VIP}/32 -p tcp -m tcp --dport 80 -j MARK`;
const BY_MARK = [service([server()], { fwmark: 66, address: '0.0.0.0', port: 0 })];

function wrong(rules: readonly string[], host: Partial<HostFacts> = {}): Finding[] {
  const marks = rules.map((rule) => ({ family: 4 as const, rule }));
  const found = diagnose(facts({ setup: { services: BY_MARK, marks }, host }));
  return found.filter(({ severity }) => severity !== 'ok');
}

test('a rule sets the mark of the service', () => {
  assert.deepEqual(wrong([`${MATCH} --set-xmark 0x42/0xffffffff`]), []);
});

test('no rule at all', () => {
  const [finding, ...others] = wrong([]);
  assert.deepEqual(others, []);
  assert.equal(finding?.check, 'mark-without-rule');
  assert.match(finding!.remedy[0]!, /^xvs mark -A PREROUTING .* -j MARK --set-mark 66$/);
});

test('a rule that sets another mark is to be replaced by one that is right', () => {
  const found = wrong([`${MATCH} --set-xmark 0x43/0xffffffff`]);
  assert.deepEqual(
    found.map(({ severity, check }) => `${severity} ${check}`),
    ['error mark-without-rule', 'warning mark-without-service'],
  );
  assert.deepEqual(found[0]!.remedy, [
    `xvs mark -D PREROUTING ${MATCH} --set-xmark 0x43/0xffffffff`,
    `xvs mark -A PREROUTING ${MATCH} --set-xmark 0x42/0xffffffff`,
  ]);
});

test('marks that rules make together', () => {
  const rules = [
    `${MATCH} --set-xmark 0x40/0xffffffff`,
    '-m mark --mark 0x40 -j MARK --set-xmark 0x2/0x2',
  ];
  assert.deepEqual(wrong(rules), []);
  const parsed = rules.flatMap((rule) => parseRules(rule, 4));
  assert.deepEqual([...possibleMarks(parsed)!], [0, 0x40, 0x42]);
});

test('too many ways to follow say nothing', () => {
  const bits = Array.from({ length: 14 }, (_, bit) => {
    const value = (1 << (bit + 8)).toString(16);
    return `${MATCH} --set-xmark 0x${value}/0x${value}`;
  });
  assert.deepEqual(wrong(bits), []);
});

test('a rule for an interface that is not served', () => {
  const [finding] = wrong([`-d ${VIP}/32 -i eth7 -j MARK --set-xmark 0x42/0xffffffff`]);
  assert.equal(finding?.check, 'mark-matches-nothing');
  assert.deepEqual(
    finding?.remedy[1],
    `xvs mark -A PREROUTING -d ${VIP}/32 -j MARK --set-xmark 0x42/0xffffffff`,
  );
  const plus = `-d ${VIP}/32 -i eth+ -j MARK --set-xmark 0x42/0xffffffff`;
  assert.deepEqual(wrong([plus]), []);
});

test("rules of the kernel's own count for nothing until they are imported", () => {
  const rule = `${MATCH} --set-xmark 0x42/0xffffffff`;
  const kernelMarks = [{ family: 4 as const, rule }];
  const found = wrong([], { kernelMarks });
  assert.deepEqual(
    found.map(({ check }) => check),
    ['mark-without-rule', 'mark-in-kernel'],
  );
  assert.deepEqual(found[1]!.remedy, ['xvs mark --import']);
  assert.deepEqual(wrong([rule], { kernelMarks }), []);
});
