/** How findings are printed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { error, ok, warning } from '#xvs/control/doctor/finding';
import { printFindings } from '#xvs/control/doctor/print';

const FINDINGS = [
  error('vip-missing', '10.0.0.1', 'no interface has it', `Nobody ${'answers '.repeat(14)}.`, [
    'ip address add 10.0.0.1/32 dev eth0',
    'or another',
  ]),
  warning('clock-slow', 'hpet', 'slow', 'It costs.', ['echo tsc']),
  ok('tap', 'xvs1', 'takes frames'),
];

test('one finding a block, long texts in lines, then the counts', () => {
  assert.equal(
    printFindings(FINDINGS, false),
    `ERROR vip-missing: 10.0.0.1
  seen  no interface has it
  why   Nobody answers answers answers answers answers answers answers answers answers answers
        answers answers answers answers .
  do    ip address add 10.0.0.1/32 dev eth0
        or another

WARNING clock-slow: hpet
  seen  slow
  why   It costs.
  do    echo tsc

1 error, 1 warning, 1 fine
`,
  );
});

test('what is fine is shown when asked for', () => {
  const text = printFindings(FINDINGS.slice(2), true);
  assert.equal(text, 'ok tap: xvs1: takes frames\n0 errors, 0 warnings, 1 fine\n');
});
