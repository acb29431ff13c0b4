/** `xvs doctor`: lines that make no sense. What it finds is in test/unit/control/doctor and e2e. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Stand } from './director';

let stand: Stand;

before(async () => {
  stand = new Stand(1024);
  await stand.open();
});
after(() => stand.close());

for (const [words, message] of [
  [['eth0'], 'doctor: "eth0" is no option'],
  [['--seconds', 'x'], '--seconds x: 0 to 3600 are allowed'],
  [['--seconds', '1', '--config', 'f'], '--seconds: not with --config, which asks no xvsd'],
] as const) {
  test(`${words.join(' ')}: refused`, async () => {
    const { status, stderr, stdout } = await stand.run(['doctor', ...words]);
    assert.deepEqual([status, stdout, stderr], [2, '', `xvs: ${message}\n`]);
  });
}

test('--help says what each exit status means', async () => {
  const { status, stdout } = await stand.run(['doctor', '--help']);
  assert.equal(status, 0);
  assert.match(stdout, /^usage: xvs doctor/);
  for (const meaning of [
    '0 nothing is wrong',
    '1 no xvsd',
    '2 the line',
    '3 there are warnings',
    '4 there are errors',
  ]) {
    assert.ok(stdout.replaceAll('\n', ' ').includes(meaning), meaning);
  }
});
