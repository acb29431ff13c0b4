/**
 * `npm run lab`: what a newcomer sees first, and that it leaves nothing behind. A lab that is kept:
 * tour.test.ts.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { executable } from '#xvs/lab/director';
import { ended, eventually, runCommand, startCommand } from '#xvs/lab/process';
import { assertNothingLeft, hostState } from '../support/namespace';
import { whyNoNetwork } from '../support/probe';

const GREETINGS = ['webserver1 192.168.0.10', 'webserver2 192.168.0.20'] as const;
const LAB = [process.execPath, executable('lab')];

function answersIn(output: string): string[] {
  return output.split('\n').filter((line) => /^webserver\d \S+$/.test(line));
}

describe('lab nat', { skip: whyNoNetwork() }, () => {
  test('two real servers answer in turn, the table is shown, nothing is left', async () => {
    const before = hostState();
    const result = await runCommand([...LAB, 'nat']);
    assert.equal(result.status, 0, result.stdout + result.stderr);
    const answers = answersIn(result.stdout);
    assert.equal(answers.length, 4, result.stdout);
    assert.deepEqual([...new Set(answers)].sort(), [
      'webserver1 192.168.0.10',
      'webserver2 192.168.0.20',
    ]);
    assert.equal(answers[0], answers[2]);
    assert.equal(answers[1], answers[3]);
    assert.match(result.stdout, /^TCP {2}172\.25\.254\.100:80 +rr/m);
    assert.match(result.stdout, /^ {2}-> 192\.168\.0\.10:80 +Masq +1 /m);
    assert.match(result.stdout, /^ {2}-> 192\.168\.0\.20:80 +Masq +1 /m);
    await assertNothingLeft(before);
  });

  test('interrupted in the middle, it leaves nothing', async () => {
    const before = hostState();
    const child = startCommand([...LAB, 'nat']);
    const started = () =>
      [...hostState()].some((entry) => !before.has(entry) && entry.includes('xvsd.js'));
    assert.ok(await eventually(started, 20_000), 'the lab does not start its daemon');
    child.kill('SIGINT');
    assert.equal(await ended(child), 130);
    await assertNothingLeft(before);
  });
});

describe('labs with direct routing', { skip: whyNoNetwork() }, () => {
  test('dr: in turn, replies past the director, only what a router changes differs', async () => {
    const before = hostState();
    const result = await runCommand([...LAB, 'dr']);
    assert.equal(result.status, 0, result.stdout + result.stderr);
    const answers = answersIn(result.stdout);
    assert.equal(answers.length, 4, result.stdout);
    assert.deepEqual(answers.slice(0, 2).sort(), [...GREETINGS]);
    assert.deepEqual(answers.slice(2), answers.slice(0, 2));
    const counts = /^switch: (\d+) requests crossed the director, (\d+) replies/m.exec(
      result.stdout,
    );
    // Each request is at least SYN, ACK, GET and FIN; each answer SYN+ACK, data and FIN.
    assert.ok(Number(counts?.[1]) >= 16 && Number(counts?.[2]) >= 12, result.stdout);
    assert.match(result.stdout, /differs in the MACs, the TTL and the IP header checksum only$/m);
    assert.match(result.stdout, /^ {2}-> 192\.168\.0\.10:80 +Route +1 /m);
    await assertNothingLeft(before);
  });

  test('fwmark: HTTP and HTTPS share one round with the mark, and do not without', async () => {
    const before = hostState();
    const result = await runCommand([...LAB, 'fwmark']);
    assert.equal(result.status, 0, result.stdout + result.stderr);
    const answers = answersIn(result.stdout);
    assert.equal(answers.length, 12, result.stdout);
    const pairs = [0, 2, 4, 6, 8, 10].map((at) => answers.slice(at, at + 2));
    for (const [http, https] of pairs.slice(0, 3)) assert.equal(http, https, result.stdout);
    assert.notDeepEqual(pairs[0], pairs[1]);
    assert.deepEqual(pairs[0], pairs[2]);
    for (const pair of pairs.slice(3)) {
      assert.deepEqual([...pair].sort(), [...GREETINGS]);
      assert.deepEqual(pair, pairs[3]);
    }
    assert.match(result.stdout, /^client\$ curl -k https:\/\/192\.168\.0\.200$/m);
    assert.match(result.stdout, /^FWM {2}66 rr/m);
    await assertNothingLeft(before);
  });
});

test('an unknown lab is refused, and the known ones are listed', async () => {
  const result = await runCommand([...LAB, 'nta']);
  assert.equal(result.status, 2);
  assert.match(result.stderr, /unknown lab "nta"/);
  assert.match(result.stderr, /^ {2}nat +\S/m);
});

test('--remove takes only the prefix of a lab', async () => {
  const result = await runCommand([...LAB, '--remove', 'xvs']);
  assert.equal(result.status, 1);
  assert.match(result.stderr, /"xvs" is no lab's prefix/);
});
