/** `xvs apply`: whole or not at all, by difference, with file and line, and fast. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { isRules } from '#xvs/cli/verbs/apply';
import { startupSettings } from '#xvs/control/applyText';
import { parseConfig } from '#xvs/control/config';
import type { ApplyResult } from '#xvs/control/protocol';
import { SERVICES_MAX } from '#xvs/table/service';
import { type Outcome, Stand } from './director';

/** CPU time of tool and director for 10,000 lines; 100 to 180 ms were seen on a busy machine. */
const LARGE_CPU_MS_MAX = 450;
const LARGE_RUNS = 3;
const CONFIG = 'interfaces: [{ name: eth0 }]\n';
let stand: Stand;

before(async () => {
  stand = new Stand(1024, startupSettings(parseConfig(CONFIG, 'xvs.yaml')));
  await stand.open();
});
after(() => stand.close());
beforeEach(() => stand.director.execute({ command: 'flush' }));

function write(name: string, text: string): string {
  const path = join(stand.folder, name);
  writeFileSync(path, text);
  return path;
}

async function apply(name: string, text: string, ...options: string[]): Promise<Outcome> {
  return stand.run(['apply', ...options, write(name, text)]);
}

function table(): string[] {
  return stand.director.services.map(({ key, settings, servers }) => {
    const names = servers.map((server) => `${server.key.address}*${server.settings.weight}`);
    return `${key.protocol} ${key.address}:${key.port} ${settings.scheduler} ${names.join(' ')}`;
  });
}

const RULES = `# two services
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 192.168.0.10:80 -m -w 1
-a -t 10.0.0.1:80 -r 192.168.0.20:80 -m -w 2
-A -u 10.0.0.1:53 -s rr
--set 100 0 30
`;

test('rules are taken, and the difference is said', async () => {
  const first = await apply('rules', RULES);
  assert.deepEqual(first, {
    status: 0,
    stderr: '',
    stdout:
      'applied: services 2 added, 0 edited, 0 removed; ' +
      'real servers 2 added, 0 edited, 0 removed; timeouts tcp 100, tcpfin 120, udp 30\n',
  });
  const kept = stand.director.services.map(({ slot }) => slot);
  assert.deepEqual(table(), [
    'udp 10.0.0.1:53 rr ',
    'tcp 10.0.0.1:80 rr 192.168.0.20*2 192.168.0.10*1',
  ]);
  const changed = RULES.replace('-w 2', '-w 5').replace(/-a .*0\.10:80.*\n/, '');
  const second = await apply('rules', changed);
  assert.match(
    second.stdout,
    /services 0 added, 0 edited, 0 removed; real servers 0 added, 1 edited, 1 removed\n/,
  );
  assert.deepEqual(
    stand.director.services.map(({ slot }) => slot),
    kept,
    'services that stay keep their slots',
  );
  const third = await apply('rules', '-A -t 10.0.0.9:80 -s rr\n');
  assert.match(
    third.stdout,
    /services 1 added, 0 edited, 2 removed; real servers 0 added, 0 edited, 1 removed\n/,
  );
});

test('the same file again changes nothing', async () => {
  await apply('rules', RULES);
  const again = await apply('rules', RULES);
  assert.equal(
    again.stdout,
    'applied: services 0 added, 0 edited, 0 removed; real servers 0 added, 0 edited, 0 removed\n',
  );
});

test('a config file is taken; what needs a restart is said', async () => {
  const services = 'services: [{ tcp: 10.0.0.1:80, scheduler: rr }]\n';
  const same = await apply('xvs.yaml', CONFIG + services);
  assert.equal(same.status, 0, same.stderr);
  assert.doesNotMatch(same.stdout, /restart/);
  const other = await apply('xvs.yaml', `interfaces: [{ name: eth7 }]\n${services}`);
  assert.match(other.stdout, /^interfaces: differs from what xvsd runs with; a restart/m);
  assert.deepEqual(table(), ['tcp 10.0.0.1:80 rr ']);
});

test('mark rules are part of a config file, and of no rules file', async () => {
  const marks = ['-t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 66'];
  const text = `${CONFIG}marks: ${JSON.stringify(marks)}\n`;
  assert.match((await apply('xvs.yaml', text)).stdout, /; mark rules 1[;\n]/);
  assert.equal(stand.marks.list().rules.length, 1);
  assert.doesNotMatch((await apply('xvs.yaml', text)).stdout, /mark rules/);
  await apply('rules', RULES);
  assert.equal(stand.marks.list().rules.length, 1);
  const wrong = `${CONFIG}marks: []\nservices: [{ tcp: 10.0.0.1:80, scheduler: nonesuch }]\n`;
  assert.equal((await apply('xvs.yaml', wrong)).status, 1);
  assert.equal(stand.marks.list().rules.length, 1);
  assert.match((await apply('xvs.yaml', CONFIG, '--dry-run')).stdout, /; mark rules 0;/);
  assert.equal(stand.marks.list().rules.length, 1);
  assert.match((await apply('xvs.yaml', CONFIG)).stdout, /; mark rules 0;/);
  assert.equal(stand.marks.list().rules.length, 0);
});

test('standard input is a file too', async () => {
  assert.equal((await stand.run(['apply', '-'], '-A -t 10.0.0.1:80 -s rr\n')).status, 0);
  assert.equal((await stand.run(['apply', '-'], `${CONFIG}services: []\n`)).status, 0);
  assert.deepEqual(table(), []);
});

test('--dry-run says what would be done and does nothing', async () => {
  await apply('rules', RULES);
  const before = table();
  const said = await apply('rules', '-A -t 10.0.0.1:80 -s rr\n', '--dry-run');
  assert.equal(
    said.stdout,
    'delete real server 192.168.0.20:80 of tcp 10.0.0.1:80\n' +
      'delete real server 192.168.0.10:80 of tcp 10.0.0.1:80\n' +
      'delete service udp 10.0.0.1:53\n' +
      'would be done: services 0 added, 0 edited, 1 removed; ' +
      'real servers 0 added, 0 edited, 2 removed\n',
  );
  assert.deepEqual(table(), before);
});

test('--json gives the answer as it came', async () => {
  const said = await apply('rules', RULES, '--json');
  const result = JSON.parse(said.stdout) as ApplyResult;
  assert.deepEqual(result.services, { added: 2, edited: 0, removed: 0 });
  assert.deepEqual(result.plan, []);
});

/** Files with a mistake, and what must be said of each. */
const WRONG: readonly (readonly [name: string, text: string, said: RegExp])[] = [
  ['rules', '-A -t 10.0.0.1:80 -s rr\n\n-a -t 10.0.0.1:80 -r\n', /rules:3: .*-r/],
  ['rules', '-A -t 10.0.0.1:80 -s rr\n-L\n', /rules:2: only commands that change the table/],
  ['rules', '-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:80\n', /rules:2: .*is added twice/],
  ['rules', '-a -t 10.0.0.1:80 -r 10.0.0.2 -m\n', /rules:1: .*-a before its -A/],
  [
    'rules',
    '-A -t 10.0.0.1:80 -s nonesuch\n',
    /rules:1: .*scheduler "nonesuch" is unknown; allowed/,
  ],
  [
    'rules',
    '-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 224.0.0.1:80 -m\n',
    /rules:2: .*the address must be unicast/,
  ],
  ['xvs.yaml', `${CONFIG}srevices: []\n`, /xvs\.yaml:2: srevices: unknown key; allowed here are/],
  ['xvs.yaml', `${CONFIG}services: [\n`, /xvs\.yaml:\d+: /],
  [
    'xvs.yaml',
    `${CONFIG}services:\n  - tcp: 10.0.0.1:80\n    scheduler: nonesuch\n`,
    /xvs\.yaml:3: .*scheduler "nonesuch" is unknown/,
  ],
];

for (const [index, [name, text, said]] of WRONG.entries()) {
  test(`mistake ${index + 1} changes nothing and is named with its place`, async () => {
    await apply('kept', RULES);
    const before = table();
    const outcome = await apply(name, text);
    assert.equal(outcome.status, 1);
    assert.equal(outcome.stdout, '');
    assert.match(outcome.stderr, said);
    assert.deepEqual(table(), before);
  });
}

test('what the tables have no room for is refused before anything changes', async () => {
  await apply('kept', RULES);
  const before = table();
  const lines: string[] = [];
  for (let at = 0; at < SERVICES_MAX; at++) {
    lines.push(`-A -t 10.${at >> 16}.${(at >> 8) & 255}.${at & 255}:80 -s rr\n`);
  }
  const outcome = await apply('rules', lines.join(''));
  assert.equal(outcome.status, 1);
  assert.match(outcome.stderr, /more services are wanted; there is room for \d+\n$/);
  assert.deepEqual(table(), before);
});

function largeRules(services: number, servers: number): string {
  const lines: string[] = [];
  for (let at = 0; at < services; at++) {
    const service = `-t 10.${at >> 8}.${at & 255}.1:80`;
    lines.push(`-A ${service} -s rr\n`);
    for (let server = 1; server <= servers; server++) {
      lines.push(`-a ${service} -r 192.168.${at % 250}.${1 + (server % 250)}:${80 + server} -m\n`);
    }
  }
  return lines.join('');
}

for (const [services, servers] of [
  [1000, 9],
  [10_000, 0],
  [10, 999],
] as const) {
  const lines = services * (servers + 1);
  test(`${lines} lines, ${services} services, are taken whole or not at all`, async () => {
    const text = largeRules(services, servers);
    const wrong = await apply('rules', `${text}-a -t 10.255.0.1:80 -r 192.168.0.1:80 -m\n`);
    assert.match(wrong.stderr, new RegExp(`rules:${lines + 1}: .*-a before its -A`));
    assert.equal(stand.director.serviceCount, 0);
    // What time they take on a quiet machine, the control bench says; this is for what grows.
    let leastMs = Number.POSITIVE_INFINITY;
    for (let run = 0; run < LARGE_RUNS; run++) {
      stand.director.execute({ command: 'flush' });
      const began = process.cpuUsage();
      const outcome = await apply('rules', text);
      const { user, system } = process.cpuUsage(began);
      leastMs = Math.min(leastMs, (user + system) / 1000);
      assert.equal(outcome.status, 0, outcome.stderr);
    }
    assert.equal(stand.director.services.length, services);
    for (const service of stand.director.services) assert.equal(service.servers.length, servers);
    assert.ok(leastMs <= LARGE_CPU_MS_MAX, `it took ${leastMs.toFixed(0)} ms of CPU time`);
  });
}

test('rules and config files are told apart', () => {
  const cases: readonly (readonly [file: string, text: string, rules: boolean])[] = [
    ['x', '# comment\n\n-A -t 1.2.3.4:80\n', true],
    ['x', 'ipvsadm -A -t 1.2.3.4:80\n', true],
    ['x.rules', '--set 1 2 3\n', true],
    ['x.rules', '', true],
    ['-', 'services: []\n', false],
    ['x', '---\ninterfaces: []\n', false],
    ['x', '- a\n- b\n', false],
    ['x.yaml', '-A -t 1.2.3.4:80\n', false],
  ];
  for (const [file, text, rules] of cases)
    assert.equal(isRules(file, text), rules, `${file} ${text}`);
});
