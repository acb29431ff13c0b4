/** The config file: what it becomes, and that every fault in it is named with key and line. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { parseRules } from '#xvs/cli/rules';
import { ConfigError, type ConfigProblem, loadConfig, parseConfig } from '#xvs/control/config';
import { configJsonSchemaText, SCHEMA_FILE } from '#xvs/control/configJsonSchema';
import { parseAddressAndPort } from '#xvs/control/configSchema';

const ROOT = resolve(__dirname, '..', '..', '..', '..');
const MINIMAL = 'interfaces: [{ name: eth0 }]\n';

function problemsOf(text: string): readonly ConfigProblem[] {
  try {
    parseConfig(text, 'xvs.yaml', parseRules);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems;
  }
  assert.fail('the config was accepted');
}

test('a minimal file gets every default', () => {
  assert.deepEqual(parseConfig(MINIMAL, 'xvs.yaml'), {
    socket: '/run/xvs/xvs.sock',
    metrics: { host: '127.0.0.1', port: 9420 },
    web: null,
    log: { level: 'info', format: 'auto' },
    workers: { count: 'auto', cpus: [], mode: 'adaptive', warmUp: true },
    interfaces: [{ name: 'eth0', xdp: 'auto', zeroCopy: 'auto' }],
    connections: { capacity: 1_048_576 },
    timeouts: { tcp: 900, tcpFin: 120, udp: 300 },
    sysctl: {},
    services: [],
    marks: [],
  });
});

test('the example and the files of config/ are accepted', () => {
  const example = loadConfig(join(ROOT, 'config', 'xvs.example.yaml'));
  const defaults = parseConfig(MINIMAL, 'xvs.yaml');
  assert.deepEqual(
    { ...example, interfaces: [], services: [], sysctl: {} },
    { ...defaults, interfaces: [] },
    'the example shows the defaults',
  );
  assert.equal(example.services.length, 3);
  assert.deepEqual(example.services[2]?.localAddresses, ['192.168.0.101', '192.168.0.102']);
  const nat = loadConfig(join(ROOT, 'config', 'nat.yaml'));
  const servers = nat.services[0]?.servers.map(({ server, settings }) => [
    server.address,
    server.port,
    settings.method,
  ]);
  assert.deepEqual(servers, [
    ['192.168.0.10', 80, 'nat'],
    ['192.168.0.20', 80, 'nat'],
  ]);
});

test('config/schema.json is what the schema gives', () => {
  assert.deepEqual(
    JSON.parse(readFileSync(SCHEMA_FILE, 'utf8')),
    JSON.parse(configJsonSchemaText()),
    'run `node dist/control/configJsonSchema.js` and format config/schema.json',
  );
});

test('services in all their forms', () => {
  const text = `${MINIMAL}services:
  - { udp: "[2001:DB8:0:0::1]:53", onePacket: true, netmask: 64, persistent: 60, servers: [
      { address: "[2001:db8::2]", method: nat, weight: 0 },
      { address: 192.0.2.1, method: tun, tunnel: { type: gue, port: 6080, checksum: csum } } ] }
  - { fwmark: 66, ipv6: true, scheduler: sh, schedulerFlags: [2] }
  - { fwmark: 66, servers: [ { address: 192.0.2.1:81, method: dr } ] }
`;
  const [udp, mark6, mark4] = parseConfig(text, 'xvs.yaml').services;
  const key = { family: 6, protocol: 'udp', address: '2001:db8::1', port: 53, fwmark: 0 };
  assert.deepEqual(udp?.service, key);
  assert.deepEqual(udp?.settings, {
    scheduler: 'wlc',
    persistentTimeout: 60,
    netmask: '64',
    onePacket: true,
    schedulerFlags: [false, false, false],
    persistenceEngine: '',
  });
  assert.deepEqual(udp?.servers[0]?.server, { family: 6, address: '2001:db8::2', port: 53 });
  assert.equal(udp?.servers[0]?.settings.weight, 0);
  assert.deepEqual(udp?.servers[1]?.settings.tunnel, { type: 'gue', port: 6080, checksum: 'csum' });
  assert.equal(udp?.servers[1]?.settings.method, 'tunnel');
  assert.deepEqual(mark6?.service, {
    family: 6,
    protocol: 'tcp',
    address: '::',
    port: 0,
    fwmark: 66,
  });
  assert.deepEqual(mark6?.settings.schedulerFlags, [false, true, false]);
  assert.deepEqual(mark4?.servers[0]?.server, { family: 4, address: '192.0.2.1', port: 81 });
});

/** Text after the minimal first line; then key, line and a part of the message. */
const REFUSED: readonly (readonly [string, string, number, string])[] = [
  ['soket: /x', 'soket', 2, 'unknown key; allowed here are socket, metrics'],
  ['socket: relative', 'socket', 2, 'value "relative": an absolute path'],
  [`socket: /${'x'.repeat(107)}`, 'socket', 2, 'at most 107 bytes'],
  ['metrics: on', 'metrics', 2, 'value "on": off or'],
  ['metrics: { listen: 9420 }', 'metrics.listen', 2, 'value 9420: ADDRESS:PORT'],
  ['metrics: { listen: 127.0.0.1 }', 'metrics.listen', 2, 'value "127.0.0.1"'],
  [
    'metrics: { listen: "1.2.3.4:5", port: 1 }',
    'metrics.port',
    2,
    'unknown key; allowed here are listen',
  ],
  ['web: on', 'web', 2, 'value "on": off or'],
  ['web: { listen: localhost:1 }', 'web.listen', 2, 'value "localhost:1": ADDRESS:PORT'],
  ['web: { listen: 0.0.0.0:9421 }', 'web.listen', 2, 'another one with anyAddress: true'],
  ['web: { listen: "[2001:db8::1]:1" }', 'web.listen', 2, 'a loopback address is allowed'],
  ['workers: { count: 255 }', 'workers.count', 2, 'value 255: a whole number from 1 to 254'],
  ['workers: { count: many }', 'workers.count', 2, 'value "many": auto or a whole number'],
  ['workers: { cpus: [-1] }', 'workers.cpus[0]', 2, 'value -1: a whole number from 0 to 1023'],
  ['workers: { warmUp: 5 }', 'workers.warmUp', 2, 'value 5: true or false is allowed'],
  ['workers: { cpus: [1, 1] }', 'workers.cpus', 2, 'value [1,1]: each CPU'],
  ['workers: { count: 2, cpus: [1] }', 'workers.cpus', 2, 'as many as workers.count (2)'],
  ['workers:\n  mode: fast', 'workers.mode', 3, 'allowed are busy, adaptive, interrupt'],
  ['connections: { capacity: 1023 }', 'connections.capacity', 2, 'from 1024 to 16777215'],
  ['connections: { capacity: 16777216 }', 'connections.capacity', 2, 'from 1024 to 16777215'],
  ['connections: 5', 'connections', 2, 'value 5: a mapping'],
  ['timeouts: { tcp: 0 }', 'timeouts.tcp', 2, 'from 1 to 2678400 seconds'],
  ['timeouts: { tcp: 1.5 }', 'timeouts.tcp', 2, 'value 1.5: a whole number'],
  ['sysctl: { bogus: 1 }', 'sysctl.bogus', 2, 'unknown key; allowed here are am_droprate'],
  ['sysctl: { conntrack: 1 }', 'sysctl.conntrack', 2, 'no meaning here: netfilter does not see'],
  ['sysctl: { conn_reuse_mode: 4 }', 'sysctl.conn_reuse_mode', 2, 'from 0 to 3'],
  ['sysctl: { drop_entry: "1" }', 'sysctl.drop_entry', 2, 'value "1": a whole number'],
  ['marks: [ -A x ]', 'marks[0]', 2, '-A x: only PREROUTING is allowed'],
  ['marks: [ 5 ]', 'marks[0]', 2, 'value 5: a list of iptables commands'],
  ['rules: /does/not/exist', 'rules', 2, 'value "/does/not/exist": cannot be read: ENOENT'],
  ['services: [ {} ]', 'services[0]', 2, 'none given: one of tcp, udp, sctp, fwmark'],
  ['services: [ { fwmark: 0 } ]', 'services[0].fwmark', 2, 'from 1 to 4294967295'],
  ['services: [ { tcp: 1.2.3.4 } ]', 'services[0].tcp', 2, 'value "1.2.3.4": "192.0.2.1:80"'],
  ['services: [ { tcp: a:80 } ]', 'services[0].tcp', 2, 'value "a:80"'],
  ['services: [ { tcp: 1.2.3.4:65536 } ]', 'services[0].tcp', 2, 'value "1.2.3.4:65536"'],
  ['services: [ { tcp: 1.2.3.4:0 } ]', 'services[0].tcp', 2, 'with persistent only'],
  [
    'services: [ { tcp: 1.2.3.4:1, onePacket: true } ]',
    'services[0].onePacket',
    2,
    'udp and fwmark',
  ],
  ['services: [ { tcp: 1.2.3.4:1, netmask: 24 } ]', 'services[0].netmask', 2, 'for IPv4 a mask'],
  ['services: [ { tcp: 1.2.3.4:1, ipv6: true } ]', 'services[0].ipv6', 2, 'only with fwmark'],
  ['services: [ { tcp: 1.2.3.4:1, scheduler: RR } ]', 'services[0].scheduler', 2, 'value "RR"'],
  [
    'services:\n  - { tcp: 1.2.3.4:1 }\n  - { tcp: 1.2.3.4:1 }',
    'services[1]',
    4,
    'tcp 1.2.3.4:1 exists already',
  ],
];

for (const [text, key, line, part] of REFUSED) {
  test(`refused: ${text.replaceAll('\n', ' ').slice(0, 70)}`, () => {
    const [problem, ...others] = problemsOf(`${MINIMAL}${text}\n`);
    assert.deepEqual([problem?.key, problem?.line, others], [key, line, []]);
    assert.ok(problem?.message.includes(part), problem?.message);
  });
}

const REFUSED_SERVERS: readonly (readonly [string, string, string])[] = [
  ['address: 1.2.3.5:81, method: dr', 'address', "method dr allows the service's port only"],
  ['address: 1.2.3.5:81, method: tun', 'address', "method tun allows the service's port only"],
  ['address: "[2001:db8::1]:80", method: nat', 'address', "another family than the service's"],
  ['address: x, method: nat', 'address', 'value "x"'],
  ['address: 1.2.3.5, method: masq', 'method', 'allowed are nat, dr, tun, fullnat'],
  ['address: 1.2.3.5, weight: -1', 'weight', 'from 0 to 2147483647'],
  ['address: 1.2.3.5, lowerThreshold: 2, upperThreshold: 1', 'lowerThreshold', 'at most upper'],
  ['address: 1.2.3.5, method: nat, tunnel: {}', 'tunnel', 'with method tun only'],
  ['address: 1.2.3.5, method: tun, tunnel: { type: gue }', 'tunnel', 'a port is needed'],
  ['address: 1.2.3.5, method: tun, tunnel: { port: 5 }', 'tunnel.port', 'type gue only'],
  [
    'address: 1.2.3.5, method: tun, tunnel: { type: gre, checksum: remcsum }',
    'tunnel.checksum',
    'not allowed with type gre',
  ],
];

for (const [server, key, part] of REFUSED_SERVERS) {
  test(`refused server: ${server}`, () => {
    const text = `${MINIMAL}services:\n  - tcp: 1.2.3.4:80\n    servers:\n      - { ${server} }\n`;
    const [problem, ...others] = problemsOf(text);
    const expected = [`services[0].servers[0].${key}`, 5, []];
    assert.deepEqual([problem?.key, problem?.line, others], expected);
    assert.ok(problem?.message.includes(part), problem?.message);
  });
}

test('a server that stands twice in its service is refused', () => {
  const servers = '[ { address: 1.2.3.5 }, { address: "1.2.3.5:80" } ]';
  const [problem] = problemsOf(
    `${MINIMAL}services: [ { tcp: 1.2.3.4:80, servers: ${servers} } ]\n`,
  );
  assert.equal(problem?.key, 'services[0].servers[1].address');
});

test('all faults of a file are reported, in the order of lines', () => {
  const text = `interfaces: []
workers: { mode: lazy }
services:
  - { tcp: 1.2.3.4:0 }
  - { tcp: 1.2.3.4:80, servers: [ { address: 1.2.3.5, weight: -1 } ] }
bogus: 1
`;
  assert.deepEqual(
    problemsOf(text).map(({ key, line }) => [line, key]),
    [
      [1, 'interfaces'],
      [2, 'workers.mode'],
      [4, 'services[0].tcp'],
      [5, 'services[1].servers[0].weight'],
      [6, 'bogus'],
    ],
  );
});

test('broken YAML, an empty file and another shape are refused', () => {
  assert.equal(problemsOf('a: 1\na: 2\n')[0]?.line, 2);
  assert.equal(problemsOf('interfaces: [\n')[0]?.key, '');
  assert.equal(problemsOf('')[0]?.key, 'interfaces');
  assert.match(problemsOf('- 1\n')[0]?.message ?? '', /value \[1\]: a mapping/);
});

test('a file that cannot be read says so', () => {
  assert.throws(() => loadConfig('/does/not/exist.yaml'), /exist\.yaml: cannot be read: ENOENT/);
});

test('rules: read from the folder of the config file, first in order', () => {
  const folder = mkdtempSync(join(tmpdir(), 'xvs-config-'));
  try {
    const config = join(folder, 'xvs.yaml');
    writeFileSync(config, `${MINIMAL}rules: rules\nservices: [ { tcp: 1.2.3.4:80 } ]\n`);
    const rules = [
      '# saved by xvsadm-save',
      '-A -t 1.2.3.9:80 -s rr',
      '-a -t 1.2.3.9:80 -r 1.2.3.5:80 -m -w 3',
      '--set 100 0 50',
    ];
    writeFileSync(join(folder, 'rules'), rules.join('\n'));
    const { services, timeouts } = loadConfig(config, parseRules);
    assert.deepEqual(
      services.map(({ service, servers }) => [service.address, servers.length]),
      [
        ['1.2.3.9', 1],
        ['1.2.3.4', 0],
      ],
    );
    assert.equal(services[0]?.servers[0]?.settings.weight, 3);
    assert.deepEqual(timeouts, { tcp: 100, tcpFin: 120, udp: 50 });

    writeFileSync(join(folder, 'rules'), '-A -t 1.2.3.4:80\n-A -t 5\n-L\n-D -t 1.2.3.4:80\n');
    const messages = problemsOf(
      readFileSync(config, 'utf8').replace('rules: ', `rules: ${folder}/`),
    )
      .map(({ key, message }) => `${key}: ${message}`)
      .join('\n');
    assert.match(messages, /rules: .*line 2: illegal virtual server address/);
    assert.match(messages, /rules: .*line 3: only commands that change the table/);
    assert.match(messages, /rules: .*command delete-service: only -A, -a and --set/);
    assert.match(messages, /services\[0\]: tcp 1\.2\.3\.4:80 exists already/);
    assert.throws(() => loadConfig(config), /this program cannot read rules files/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('addresses with ports', () => {
  assert.deepEqual(parseAddressAndPort('1.2.3.4:80'), { family: 4, address: '1.2.3.4', port: 80 });
  assert.deepEqual(parseAddressAndPort('::1'), { family: 6, address: '::1', port: null });
  assert.deepEqual(parseAddressAndPort('[::1]:0'), { family: 6, address: '::1', port: 0 });
  assert.deepEqual(parseAddressAndPort('[::1]'), { family: 6, address: '::1', port: null });
  for (const text of ['', ':80', '[1.2.3.4]:80', '[::1', '1.2.3:80', '1.2.3.4:', 'x']) {
    assert.equal(parseAddressAndPort(text), null, text);
  }
});

test('the web page is off, on a loopback address, or wherever that is said', () => {
  const web = (text: string) => parseConfig(`${MINIMAL}web: ${text}\n`, 'xvs.yaml').web;
  assert.equal(web('off'), null);
  assert.deepEqual(web('{ listen: 127.9.9.9:9421 }'), { host: '127.9.9.9', port: 9421 });
  assert.deepEqual(web('{ listen: "[::1]:9421" }'), { host: '::1', port: 9421 });
  const everywhere = web('{ listen: 0.0.0.0:80, anyAddress: true }');
  assert.deepEqual(everywhere, { host: '0.0.0.0', port: 80 });
});
