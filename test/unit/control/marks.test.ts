/** Changes of the mark rules, whole or not at all; the admin socket and `xvs mark` before it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runXvs } from '#xvs/cli/verbs/main';
import { parseConfig } from '#xvs/control/config';
import { Marks, markRoutes } from '#xvs/control/mark/marks';
import { AdminSocket } from '#xvs/control/socket';

const SET = (value: number): string => `-j MARK --set-xmark 0x${value.toString(16)}/0xffffffff`;

interface Held {
  readonly marks: Marks;
  readonly published: (readonly Int32Array[])[];
}

function hold(): Held {
  const published: (readonly Int32Array[])[] = [];
  return { marks: new Marks(['eth0'], (rules) => published.push(rules)), published };
}

function texts(marks: Marks): string[] {
  return marks.list().rules.map(({ family, rule }) => `${family} ${rule}`);
}

test('rules are appended, inserted, deleted and flushed, each family for itself', () => {
  const { marks, published } = hold();
  marks.execute({
    operation: 'append',
    family: 4,
    rules: [SET(1), `-p tcp --dport http ${SET(2)}`],
  });
  marks.execute({ operation: 'append', family: 6, rules: [SET(6)] });
  marks.execute({ operation: 'insert', family: 4, position: 2, rules: [SET(3), SET(4)] });
  assert.deepEqual(texts(marks), [
    `4 ${SET(1)}`,
    `4 ${SET(3)}`,
    `4 ${SET(4)}`,
    `4 -p tcp -m tcp --dport 80 ${SET(2)}`,
    `6 ${SET(6)}`,
  ]);
  marks.execute({
    operation: 'delete',
    family: 4,
    rules: ['-p tcp --dport 80 -j MARK --set-mark 2'],
  });
  marks.execute({ operation: 'delete-number', family: 4, number: 2 });
  assert.deepEqual(texts(marks), [`4 ${SET(1)}`, `4 ${SET(4)}`, `6 ${SET(6)}`]);
  assert.equal(published.length, 5);
  assert.equal(published.at(-1)!.length, 3);
  marks.execute({ operation: 'flush', family: 6 });
  assert.deepEqual(texts(marks), [`4 ${SET(1)}`, `4 ${SET(4)}`]);
  marks.execute({ operation: 'flush', family: null });
  assert.deepEqual(texts(marks), []);
  assert.deepEqual(published.at(-1), []);
});

test('what is refused changes nothing and is not published', () => {
  const { marks, published } = hold();
  marks.execute({ operation: 'append', family: 4, rules: [SET(1)] });
  const refusals: [Parameters<Marks['execute']>[0], RegExp][] = [
    [{ operation: 'append', family: 4, rules: [SET(2), '-j DROP'] }, /-j DROP: only MARK/],
    [{ operation: 'append', family: 4, rules: ['-F'] }, /one command is allowed/],
    [{ operation: 'append', family: 6, rules: [`-s 10.0.0.1 ${SET(2)}`] }, /only IPv6/],
    [{ operation: 'delete', family: 4, rules: [SET(1), SET(2)] }, /there is no such rule/],
    [{ operation: 'delete', family: 6, rules: [SET(1)] }, /there is no such rule/],
    [{ operation: 'delete-number', family: 4, number: 2 }, /rule number 2: 1 to 1 are allowed/],
    [{ operation: 'delete-number', family: 6, number: 1 }, /rule number 1: there are no rules/],
    [{ operation: 'insert', family: 4, position: 3, rules: [SET(2)] }, /1 to 2 are allowed/],
    [
      { operation: 'append', family: 4, rules: new Array<string>(256).fill(SET(2)) },
      /257 mark rules: at most 256/,
    ],
  ];
  for (const [command, message] of refusals) {
    assert.throws(() => marks.execute(command), { name: 'DirectorError', message });
  }
  assert.deepEqual(texts(marks), [`4 ${SET(1)}`]);
  assert.equal(published.length, 1);
});

test('a change that cannot be published is taken back', () => {
  let broken = false;
  const marks = new Marks([], () => {
    if (broken) throw new Error('no map');
  });
  marks.execute({ operation: 'append', family: 4, rules: [SET(1)] });
  broken = true;
  assert.throws(() => marks.execute({ operation: 'flush', family: null }), /no map/);
  assert.deepEqual(texts(marks), [`4 ${SET(1)}`]);
});

const INTERFACES = 'interfaces: [ { name: eth0 } ]\n';

test('a configuration is applied by difference', () => {
  const { marks, published } = hold();
  const config = `${INTERFACES}marks:
  - -t mangle -A PREROUTING -d 192.168.0.200 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 66
  - ip6tables -t mangle -A PREROUTING -d 2001:db8::1 -j MARK --set-mark 66
`;
  assert.equal(marks.replace(parseConfig(config, 'x.yaml').marks), true);
  assert.deepEqual(texts(marks), [
    `4 -d 192.168.0.200/32 -p tcp -m multiport --dports 80,443 ${SET(66)}`,
    `6 -d 2001:db8::1/128 ${SET(66)}`,
  ]);
  assert.equal(marks.replace(parseConfig(config, 'x.yaml').marks), false);
  assert.equal(published.length, 1);
  assert.equal(marks.replace(parseConfig(INTERFACES, 'x.yaml').marks), true);
  assert.deepEqual(texts(marks), []);
});

test('a wrong mark in a configuration is refused with its line', () => {
  const config = `${INTERFACES}marks:
  - -A PREROUTING -j MARK --set-mark 1
  - -A PREROUTING -j ACCEPT
  - -F
`;
  assert.throws(() => parseConfig(config, 'x.yaml'), {
    message:
      'x.yaml:4: marks[1]: -j ACCEPT: only MARK is allowed\n' +
      'x.yaml:5: marks[2]: operation flush: only -A PREROUTING is allowed here',
  });
  const many = `${INTERFACES}marks:\n${'  - -A PREROUTING -j MARK --set-mark 1\n'.repeat(257)}`;
  assert.throws(() => parseConfig(many, 'x.yaml'), /x.yaml:2: marks: 257 rules: at most 256/);
});

describe('xvs mark', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-mark-'));
  const { marks } = hold();
  const nothing = (): never => {
    throw new Error('not asked in this test');
  };
  const socket = new AdminSocket(
    join(folder, 'socket'),
    { services: nothing, connections: nothing, timeouts: nothing, execute: nothing },
    markRoutes(marks),
  );
  before(() => socket.open());
  after(async () => {
    await socket.close();
    rmSync(folder, { recursive: true });
  });

  async function xvs(...words: string[]): Promise<[number, string]> {
    let said = '';
    const write = (text: string): void => {
      said += text;
    };
    const status = await runXvs(['--socket', socket.path, 'mark', ...words], {
      program: 'xvs',
      environment: {},
      stdout: write,
      stderr: write,
      stdin: () => '',
    });
    return [status, said];
  }
  const line = (text: string): string[] => text.split(' ');

  test('adds, lists, deletes and flushes', async () => {
    const rule = '-d 192.168.0.200 -p tcp -m multiport --dports http,https -j MARK --set-mark 66';
    assert.deepEqual(await xvs(...line(`-t mangle -A PREROUTING ${rule}`)), [0, '']);
    assert.deepEqual(await xvs(...line('-6 -A PREROUTING -j MARK --set-mark 1')), [0, '']);
    const shown = `-d 192.168.0.200/32 -p tcp -m multiport --dports 80,443 ${SET(66)}`;
    const four = `-P PREROUTING ACCEPT\n-A PREROUTING ${shown}\n`;
    const six = `-6 -P PREROUTING ACCEPT\n-6 -A PREROUTING ${SET(1)}\n`;
    assert.deepEqual(await xvs('-L'), [0, four + six]);
    assert.deepEqual(await xvs('-S', '-4'), [0, four]);
    assert.deepEqual(await xvs(...line(`-t mangle -D PREROUTING ${rule}`)), [0, '']);
    assert.deepEqual(await xvs('-F', 'PREROUTING'), [0, '']);
    assert.deepEqual(await xvs('-L'), [0, '-P PREROUTING ACCEPT\n']);
  });

  test('says what is wrong: status 2 for the line, 1 when the director refuses', async () => {
    assert.deepEqual(await xvs('-A', 'INPUT'), [2, 'xvs: -A INPUT: only PREROUTING is allowed\n']);
    assert.deepEqual(await xvs('-D', 'PREROUTING', '1'), [
      1,
      'xvs: rule number 1: there are no rules\n',
    ]);
    const [status, help] = await xvs('--help');
    assert.equal(status, 0);
    assert.match(help, /^usage: xvs mark /);
  });
});
