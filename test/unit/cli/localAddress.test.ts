/** Local addresses on the command line, in rules files and config files, applied by difference. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { parseRules } from '#xvs/cli/rules';
import { ConfigError, parseConfig } from '#xvs/control/config';
import { runInProcess } from '../../support/cliGolden';
import { Stand } from './verbs/director';

let stand: Stand;
before(async () => {
  stand = new Stand(1024);
  await stand.open();
});
after(() => stand.close());

async function xvsadm(line: string, stdin = ''): Promise<{ rc: number; out: string; err: string }> {
  const { rc, stdout, stderr } = await runInProcess(line.split(' '), stand.socket, stdin);
  return { rc, out: stdout, err: stderr };
}
async function accepted(line: string): Promise<void> {
  assert.deepEqual(await xvsadm(line), { rc: 0, out: '', err: '' }, line);
}

const SERVICE = '-t 10.0.0.100:80';
const SERVICE6 = '-t [2001:db8::1]:80';
beforeEach(async () => {
  await accepted('-C');
  await accepted(`-A ${SERVICE} -s rr`);
});

const HEAD = 'VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     \n';

test('--get-laddr lists as DPVS does, column for column', async () => {
  await accepted(`--add-laddr ${SERVICE} -z 192.168.100.200 -F eth0`);
  assert.equal(
    (await xvsadm('--get-laddr')).out,
    `${HEAD}10.0.0.100:80        1        \n` +
      '                              192.168.100.200      0          0         \n',
  );
  await accepted(`--add-laddr ${SERVICE} --local-address 192.168.100.3`);
  await accepted('-A -u 10.0.0.100:53');
  assert.equal(
    (await xvsadm(`--get-laddr ${SERVICE} -n`)).out,
    `${HEAD}10.0.0.100:80        2        \n` +
      '                              192.168.100.200      0          0         \n' +
      '                              192.168.100.3        0          0         \n',
  );
  await accepted(`--del-laddr ${SERVICE} -z 192.168.100.200`);
  const { services } = JSON.parse((await xvsadm('--get-laddr --json')).out);
  assert.deepEqual(services[0].localAddresses, [
    { address: '192.168.100.3', conflicts: 0, connections: 0 },
  ]);
  assert.deepEqual(services[1].localAddresses, []);
});

test('what cannot be is refused with thing, value and what is allowed', async () => {
  await accepted(`--add-laddr ${SERVICE} -z 10.1.0.1`);
  await accepted(`-A ${SERVICE6}`);
  const id = 'service tcp 10.0.0.100:80';
  const only4 = "a unicast IPv4 address is allowed, as the service's is IPv4";
  const cases: readonly (readonly [string, number, string])[] = [
    [`--add-laddr ${SERVICE} -z 10.1.0.1`, 255, `${id}: local address 10.1.0.1 exists already`],
    [`--del-laddr ${SERVICE} -z 10.1.0.2`, 255, `${id} has no local address 10.1.0.2`],
    [`--add-laddr ${SERVICE} -z 2001:db8::5`, 255, `${id}: local address "2001:db8::5": ${only4}`],
    [`--add-laddr ${SERVICE} -z 224.0.0.1`, 255, `${id}: local address "224.0.0.1": ${only4}`],
    [
      `--add-laddr ${SERVICE6} -z 10.1.0.1`,
      255,
      'service tcp [2001:db8::1]:80: local address "10.1.0.1": a unicast IPv6 address (RFC 5952) ' +
        "is allowed, as the service's is IPv6",
    ],
    ['--add-laddr -t 10.0.0.9:80 -z 10.1.0.1', 255, 'service tcp 10.0.0.9:80 does not exist'],
    [
      `--add-laddr ${SERVICE} -z nonsense`,
      2,
      "illegal local address `nonsense': an IPv4 or IPv6 address is allowed",
    ],
    [
      `--add-laddr ${SERVICE} -z 10.1.0.3 -F a/b`,
      2,
      "illegal interface `a/b': a name of 1 to 15 characters is allowed",
    ],
    [
      `--add-laddr ${SERVICE}`,
      2,
      "You need to supply the 'local-address' option for the 'add-laddr' command",
    ],
    [
      `-A ${SERVICE} -z 10.1.0.1`,
      2,
      "Illegal 'local-address' option with the 'add-service' command",
    ],
    ['--get-laddr -t 10.0.0.9:80', 1, 'No such service'],
  ];
  for (const [line, rc, err] of cases) {
    assert.deepEqual(await xvsadm(line), { rc, out: '', err: `${err}\n` }, line);
  }
});

test('-S and -R keep --fullnat and local addresses, of both families', async () => {
  await accepted(`-a ${SERVICE} -r 10.2.0.1:9000 --fullnat`);
  await accepted(`--add-laddr ${SERVICE} -z 10.1.0.2`);
  await accepted(`--add-laddr ${SERVICE} -z 10.1.0.1`);
  await accepted(`-A ${SERVICE6} -s rr`);
  await accepted(`--add-laddr ${SERVICE6} -z [2001:DB8:0::7]`);
  const saved = (await xvsadm('-S -n')).out;
  const lines = saved.split('\n').sort();
  assert.deepEqual(lines, [
    '',
    '--add-laddr -t 10.0.0.100:80 -z 10.1.0.1',
    '--add-laddr -t 10.0.0.100:80 -z 10.1.0.2',
    '--add-laddr -t [2001:db8::1]:80 -z 2001:db8::7',
    '-A -t 10.0.0.100:80 -s rr',
    '-A -t [2001:db8::1]:80 -s rr',
    '-a -t 10.0.0.100:80 -r 10.2.0.1:9000 --fullnat -w 1',
  ]);
  const listed = (await xvsadm('--get-laddr')).out;
  await accepted('-C');
  assert.equal((await xvsadm('-R', saved)).rc, 0);
  assert.equal((await xvsadm('--get-laddr')).out, listed);
  assert.equal((await xvsadm('-S -n')).out, saved);
  assert.match((await xvsadm('-Ln')).out, /-> 10\.2\.0\.1:9000 +FullNat 1 /);
});

async function apply(file: string, text: string): Promise<string> {
  writeFileSync(join(stand.folder, file), text);
  const { status, stdout, stderr } = await stand.run(['apply', join(stand.folder, file)]);
  return `${status} ${stdout}${stderr}`;
}

test('xvs apply changes them by difference, rules file and config file alike', async () => {
  const rules = (...addresses: string[]): string =>
    [`-A ${SERVICE} -s rr`, ...addresses.map((one) => `--add-laddr ${SERVICE} -z ${one}`), ''].join(
      '\n',
    );
  assert.match(await apply('rules', rules('10.1.0.1', '10.1.0.2')), /local addresses 2 added, 0 r/);
  const slots = (): Map<string, number> => {
    const [service] = stand.director.services;
    return new Map(service!.localAddresses.map(({ address, slot }) => [address, slot]));
  };
  const before = slots();
  assert.match(await apply('rules', rules('10.1.0.2', '10.1.0.3')), /local addresses 1 added, 1 r/);
  assert.deepEqual([...slots().keys()], ['10.1.0.2', '10.1.0.3']);
  assert.equal(slots().get('10.1.0.2'), before.get('10.1.0.2'), 'what stays is not touched');
  const config =
    'interfaces: [{ name: eth0 }]\nservices:\n' +
    '  - { tcp: 10.0.0.100:80, scheduler: rr, localAddresses: [10.1.0.3, 10.1.0.4],\n' +
    '      servers: [{ address: 10.2.0.1:9000, method: fullnat }] }\n';
  assert.match(await apply('xvs.yaml', config), /local addresses 1 added, 1 removed/);
  assert.deepEqual([...slots().keys()], ['10.1.0.3', '10.1.0.4']);
  assert.doesNotMatch(await apply('xvs.yaml', config), /local addresses/);
  const twice = rules('10.1.0.1', '10.1.0.1');
  assert.match(await apply('rules', twice), /^1 .*rules:3: .*10\.1\.0\.1 is added twice/);
  const early = `--add-laddr ${SERVICE} -z 10.1.0.1\n-A ${SERVICE}\n`;
  assert.match(await apply('rules', early), /^1 .*rules:1: .*--add-laddr before its -A/);
  assert.deepEqual([...slots().keys()], ['10.1.0.3', '10.1.0.4'], 'nothing was changed');
});

test('the config file names key, line and value of a local address that cannot be', () => {
  const text =
    'interfaces: [{ name: eth0 }]\nservices:\n  - tcp: 10.0.0.1:80\n' +
    '    localAddresses: [10.1.0.1, 2001:db8::1, 10.1.0.1]\n';
  assert.throws(
    () => parseConfig(text, 'xvs.yaml', parseRules),
    (error: ConfigError) => {
      assert.ok(error instanceof ConfigError);
      assert.match(
        error.message,
        /xvs\.yaml:4: services\[0\]\.localAddresses\[1\]: .*"2001:db8::1"/,
      );
      assert.match(error.message, /xvs\.yaml:4: services\[0\]\.localAddresses\[2\]: .* twice/);
      return true;
    },
  );
});
